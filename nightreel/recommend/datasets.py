"""Real ratings to train on: what is on this machine already, or else fetched and checked."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from nightreel.recommend.ratings import DatasetError, find_layout

CITATION = (
    "F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. "
    "ACM Transactions on Interactive Intelligent Systems 5, 4: 19:1-19:19. https://doi.org/10.1145/2827872"
)
_NO_COMMERCE = "GroupLens, University of Minnesota: for research, not for commercial use without permission"
FREE = f"{_NO_COMMERCE}; redistribution allowed under the same terms. Cite: {CITATION}"
RESTRICTED = f"{_NO_COMMERCE}; no redistribution without permission. Cite: {CITATION}"
UNKNOWN_LICENCE = "unknown: ask where these ratings come from before you publish anything made of them"

GROUPLENS = "https://files.grouplens.org/datasets/movielens"
WAIT_SECONDS = 10
RECBOLE = "recbole==1.2.1 --hash=sha256:9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
"""A package whose wheel carries ml-100k; pip checks the hash, nothing of it is installed or imported."""
RECBOLE_MEMBERS = tuple(f"recbole/dataset_example/ml-100k/ml-100k.{kind}" for kind in ("inter", "item"))


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A set that can be fetched by name; `checksum` is algorithm and hex digest of the GroupLens archive."""

    name: str
    ratings: int
    licence: str
    checksum: tuple[str, str] | None = None


DATASETS: Mapping[str, Dataset] = MappingProxyType(
    {
        found.name: found
        for found in (
            Dataset(
                name="ml-latest-small",
                ratings=100_836,
                licence=FREE,
                checksum=("sha256", "696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436"),
            ),
            Dataset(name="ml-100k", ratings=100_000, licence=RESTRICTED),
            Dataset(
                name="ml-25m",
                ratings=25_000_095,
                licence=RESTRICTED,
                checksum=("md5", "6b51fb2759a8657d3bfcbfc42b592ada"),
            ),
            Dataset(
                name="ml-32m",
                ratings=32_000_204,
                licence=FREE,
                checksum=("md5", "d472be332d4daa821edc399621853b57"),
            ),
        )
    }
)


def cache_folder() -> Path:
    """Return where fetched sets are kept: NIGHTREEL_CACHE, or nightreel in the user's cache folder."""
    if own := os.environ.get("NIGHTREEL_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nightreel"


def find_dataset() -> Path:
    """Return a folder of ratings: NIGHTREEL_DATA, the cache, GroupLens, or ml-100k; DatasetError when none is."""
    if named := os.environ.get("NIGHTREEL_DATA"):
        return find_layout(Path(named)).ratings.parent
    cached = [cache_folder() / name for name in DATASETS]
    if there := [folder for folder in cached if folder.is_dir()]:
        return there[0]
    refusals = []
    for name in ("ml-latest-small", "ml-100k"):
        try:
            return fetch(name)
        except DatasetError as error:
            refusals.append(str(error))
    raise DatasetError(f"no ratings found; set NIGHTREEL_DATA to a folder of them ({'; '.join(refusals)})")


def fetch(name: str) -> Path:
    """Return the cached folder of a set, fetched and checked when it is not there; DatasetError when it can't be."""
    if name not in DATASETS:
        raise DatasetError(f"no data set is called {name!r}; known are {', '.join(DATASETS)}")
    target = cache_folder() / name
    if target.is_dir():
        return target
    get: Callable[[Dataset, Path], None] = _from_wheel if name == "ml-100k" else _from_grouplens
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=target.parent) as scratch:
        draft = Path(scratch) / name
        draft.mkdir()
        get(DATASETS[name], draft)
        find_layout(draft)
        try:
            draft.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was faster, and its copy is as good
                raise
    return target


def licence_of(name: str) -> str:
    """Return the licence and citation of a set by name."""
    return DATASETS[name].licence if name in DATASETS else UNKNOWN_LICENCE


def name_of(folder: Path) -> str:
    """Return which set a folder holds, by its README where it has GroupLens', else by its own name."""
    readme = folder / "README.txt"
    opening = readme.read_text("utf-8", errors="replace")[:2000] if readme.is_file() else ""
    named = [name for name in DATASETS if f"({name})" in opening]
    if not named and find_layout(folder).name != "MovieLens CSV":
        named = ["ml-100k"]
    return named[0] if named else folder.resolve().name


def _from_grouplens(dataset: Dataset, folder: Path) -> None:
    url = f"{GROUPLENS}/{dataset.name}.zip"
    archive = folder.parent / "archive.zip"
    try:
        with urllib.request.urlopen(url, timeout=WAIT_SECONDS) as answer, archive.open("wb") as file:  # noqa: S310 (https, fixed)
            shutil.copyfileobj(answer, file)
    except (urllib.error.URLError, OSError) as error:
        raise DatasetError(f"{url} cannot be fetched: {error}") from error
    _check_archive(dataset, archive)
    _extract(
        archive, [f"{dataset.name}/{name}" for name in ("ratings.csv", "movies.csv", "links.csv", "README.txt")], folder
    )


def _check_archive(dataset: Dataset, archive: Path) -> None:
    if dataset.checksum is None:
        return
    algorithm, expected = dataset.checksum
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != expected:
        raise DatasetError(f"the archive of {dataset.name} has {algorithm} {found}, not the known {expected}")


def _from_wheel(_: Dataset, folder: Path) -> None:
    wanted = folder.parent / "wanted.txt"
    wanted.write_text(RECBOLE + "\n")
    options = ["--no-deps", "--require-hashes", "--disable-pip-version-check", "--timeout", str(WAIT_SECONDS)]
    command = [sys.executable, "-m", "pip", "download", *options, "-r", str(wanted), "-d", str(folder.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.parent.glob("recbole-*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise DatasetError(f"ml-100k cannot be fetched: {last}")
    _extract(wheels[0], list(RECBOLE_MEMBERS), folder)


def _extract(archive: Path, members: list[str], folder: Path) -> None:
    """Copy the named members out of a zip file, flat; nothing else of it touches the disk."""
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in members:
                with opened.open(member) as source, (folder / Path(member).name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DatasetError(f"{archive.name} is not the expected archive: {error}") from error
