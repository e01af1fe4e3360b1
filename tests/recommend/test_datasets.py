from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nightreel.recommend import datasets
from nightreel.recommend.datasets import DATASETS, cache_folder, fetch, find_dataset, licence_of, name_of
from nightreel.recommend.layouts import DatasetError, find_layout


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("NIGHTREEL_CACHE", str(folder))
    monkeypatch.delenv("NIGHTREEL_DATA", raising=False)
    return folder


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def grouplens(tmp_path, monkeypatch):
    """A stand-in for GroupLens that serves the folder which it yields."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(datasets, "GROUPLENS", f"http://127.0.0.1:{server.server_port}")
        yield folder
        server.shutdown()
        thread.join()


def archive(members: dict[str, str]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as opened:
        for name, text in members.items():
            opened.writestr(name, text)
    return made.getvalue()


MEMBERS = {f"ml-32m/{name}": "x" for name in ("ratings.csv", "movies.csv", "links.csv", "README.txt")}


def serve(folder: Path, monkeypatch, content: bytes, checksum: str | None = None) -> None:
    (folder / "ml-32m.zip").write_bytes(content)
    digest = checksum or hashlib.md5(content, usedforsecurity=False).hexdigest()
    known = {**DATASETS, "ml-32m": replace(DATASETS["ml-32m"], checksum=("md5", digest))}
    monkeypatch.setattr(datasets, "DATASETS", known)


def test_fetch_downloads_once_and_keeps_the_named_files_only(grouplens, cache, monkeypatch):
    serve(grouplens, monkeypatch, archive(MEMBERS | {"ml-32m/tags.csv": "y", "../evil": "z"}))
    folder = fetch("ml-32m")
    assert folder == cache / "ml-32m"
    assert sorted(path.name for path in folder.iterdir()) == ["README.txt", "links.csv", "movies.csv", "ratings.csv"]
    (grouplens / "ml-32m.zip").unlink()
    assert fetch("ml-32m") == folder
    assert [path.name for path in cache.iterdir()] == ["ml-32m"]


@pytest.mark.parametrize(
    ("content", "checksum", "sentence"),
    [
        (archive(MEMBERS), "0" * 32, "not the known 000"),
        (archive({"other": "x"}), None, "is not the expected archive"),
        (b"no zip", None, "is not the expected archive"),
    ],
)
def test_fetch_refuses_and_caches_nothing(grouplens, cache, monkeypatch, *, content, checksum, sentence):
    serve(grouplens, monkeypatch, content, checksum)
    with pytest.raises(DatasetError, match=sentence):
        fetch("ml-32m")
    assert list(cache.iterdir()) == []


def test_fetch_says_that_the_server_has_it_not(grouplens):
    with pytest.raises(DatasetError, match=r"ml-25m\.zip cannot be fetched.*404"):
        fetch("ml-25m")


def test_fetch_names_the_known_sets():
    with pytest.raises(DatasetError, match="no data set is called 'ml-7'; known are ml-latest-small, ml-100k, ml-1m"):
        fetch("ml-7")


def test_find_dataset_prefers_the_named_folder(tmp_path, cache, monkeypatch):
    own = tmp_path / "own"
    for folder in (own, cache / "ml-100k"):
        folder.mkdir(parents=True)
        (folder / "ratings.csv").touch()
        (folder / "movies.csv").touch()
    assert find_dataset() == cache / "ml-100k"
    monkeypatch.setenv("NIGHTREEL_DATA", str(own))
    assert find_dataset() == own


def test_find_dataset_refuses_a_named_folder_without_ratings(tmp_path, monkeypatch):
    monkeypatch.setenv("NIGHTREEL_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match="no ratings that can be read"):
        find_dataset()


def test_find_dataset_tries_one_source_after_the_other(monkeypatch, cache):
    def refuse(dataset, folder):
        raise DatasetError(f"{dataset.name} is away")

    monkeypatch.setattr(datasets, "_from_grouplens", refuse)
    monkeypatch.setattr(datasets, "_from_wheel", refuse)
    with pytest.raises(DatasetError, match=r"set NIGHTREEL_DATA .*ml-latest-small is away; ml-100k is away"):
        find_dataset()
    assert list(cache.iterdir()) == []


def test_cache_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.delenv("NIGHTREEL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "nightreel"


def test_name_of_reads_the_readme_or_the_folder(tmp_path):
    folder = tmp_path / "my-ratings"
    folder.mkdir()
    (folder / "ratings.csv").touch()
    (folder / "movies.csv").touch()
    assert name_of(find_layout(folder)) == "my-ratings"
    assert "unknown" in licence_of("my-ratings")
    (folder / "README.txt").write_text("This dataset (ml-latest-small) describes 5-star rating")
    assert name_of(find_layout(folder)) == "ml-latest-small"
    assert "Harper" in licence_of("ml-latest-small")


def test_name_of_generated_ratings_says_so(tmp_path):
    (tmp_path / "ratings.csv").touch()
    (tmp_path / "movies.csv").touch()
    (tmp_path / "README.txt").write_text(f"{datasets.GENERATED_MARK}: nobody gave them")
    assert name_of(find_layout(tmp_path)) == "generated"
    assert "nobody gave them" in licence_of("generated")


def test_name_of_own_data_is_the_file(tmp_path):
    file = tmp_path / "plays.2026.csv"
    file.write_text("a,b\n")
    assert name_of(find_layout(file, columns={"user": "a", "movie": "b"})) == "plays"


def test_fetch_takes_10m_out_of_the_folder_that_it_has_there(grouplens, monkeypatch):
    content = archive({"ml-10M100K/ratings.dat": "1::1::5::1", "ml-10M100K/movies.dat": "1::Heat (1995)::Crime"})
    (grouplens / "ml-10m.zip").write_bytes(content)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(
        datasets, "DATASETS", {**DATASETS, "ml-10m": replace(DATASETS["ml-10m"], checksum=("md5", digest))}
    )
    assert sorted(path.name for path in fetch("ml-10m").iterdir()) == ["movies.dat", "ratings.dat"]
