import subprocess
import sys
from pathlib import Path

import pytest

from nightreel.cluster.packaging import zip_package


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    (folder / "deep").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "deep" / "__init__.py").write_text("ANSWER = 42\n")
    (folder / "notes.txt").write_text("not code")
    return folder


def test_a_zipped_package_can_be_imported(package: Path, tmp_path: Path) -> None:
    archive = zip_package(package, tmp_path / "films.zip")
    code = f"import sys; sys.path.insert(0, {str(archive)!r}); from films.deep import ANSWER; print(ANSWER)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "42\n"


def test_equal_sources_give_equal_bytes(package: Path, tmp_path: Path) -> None:
    first = zip_package(package, tmp_path / "1.zip").read_bytes()
    (package / "__init__.py").touch()
    assert zip_package(package, tmp_path / "2.zip").read_bytes() == first


def test_a_folder_without_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no Python files"):
        zip_package(tmp_path, tmp_path / "none.zip")
