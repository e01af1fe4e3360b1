"""Pack Python sources for the nodes."""

import zipfile
from pathlib import Path

# Zip files can not hold an earlier moment; a fixed one makes equal sources give equal bytes, shipped only once.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def zip_package(package: Path, target: Path) -> Path:
    """Pack a package's Python files into `target`, ready for spark-submit's `--py-files`.

    Pure Python needs no wheel to be importable, so nodes need no installer. Raises FileNotFoundError for a folder
    without Python files.
    """
    sources = sorted(package.rglob("*.py"))
    if not sources:
        raise FileNotFoundError(f"{package} holds no Python files to ship")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in sources:
            member = zipfile.ZipInfo(str(Path(package.name) / source.relative_to(package)), date_time=_EPOCH)
            archive.writestr(member, source.read_bytes(), compress_type=zipfile.ZIP_DEFLATED)
    return target
