"""Ratings on disk (which layout a folder has) and likes in memory (compressed by user and by movie)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


class DatasetError(ValueError):
    """A folder or a name that is no usable set of ratings: what was looked for and what is supported."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a folder keeps ratings and movies, and in which form.

    All layouts have user, movie, rating in stars and time as the first four columns of the ratings file.
    """

    name: str
    ratings: Path
    movies: Path
    links: Path | None
    separator: str
    header: bool
    encoding: str

    @property
    def files(self) -> list[Path]:
        """What the job reads of the folder, and nothing else that may lie there."""
        readme = self.ratings.with_name("README.txt")  # tells which data set it is
        known = [self.ratings, self.movies, self.links, readme if readme.is_file() else None]
        return [file for file in known if file is not None]

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hex over the ratings and the movies file: names this very data."""
        digest = hashlib.sha256()
        for path in (self.ratings, self.movies):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


SUPPORTED = (
    ("MovieLens CSV", "ratings.csv", "movies.csv", ",", True, "utf-8"),
    ("MovieLens 100K", "u.data", "u.item", "\t", False, "latin-1"),
    ("RecBole MovieLens 100K", "ml-100k.inter", "ml-100k.item", "\t", True, "utf-8"),
)


def find_layout(folder: Path) -> Layout:
    """Recognise the layout of a folder; DatasetError when it has none of the supported ones."""
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}; expected one with {_supported()}")
    for name, ratings, movies, separator, header, encoding in SUPPORTED:
        if not (folder / ratings).is_file():
            continue
        if not (folder / movies).is_file():
            raise DatasetError(f"{folder} has {ratings} but no {movies} beside it, which names the movies")
        links = folder / "links.csv"
        return Layout(
            name=name,
            ratings=folder / ratings,
            movies=folder / movies,
            links=links if name == "MovieLens CSV" and links.is_file() else None,
            separator=separator,
            header=header,
            encoding=encoding,
        )
    raise DatasetError(f"{folder} has no ratings that can be read; expected {_supported()}")


def _supported() -> str:
    return " or ".join(f"{ratings} and {movies} ({name})" for name, ratings, movies, *_ in SUPPORTED)


@dataclass(frozen=True)
class Likes:
    """Who likes what: pairs of user and movie indices, each pair once, sorted by user, then movie."""

    users: Indices
    movies: Indices
    user_count: int
    movie_count: int

    @classmethod
    def from_pairs(cls, users: Indices, movies: Indices, *, user_count: int, movie_count: int) -> Self:
        """Sort the pairs and drop repeats."""
        keys = np.unique(users.astype(np.int64) * movie_count + movies)
        return cls(keys // movie_count, keys % movie_count, user_count, movie_count)

    def __len__(self) -> int:
        return len(self.users)

    @cached_property
    def popularity(self) -> Indices:
        """Likes per movie, int64 (movie_count,)."""
        return np.bincount(self.movies, minlength=self.movie_count)

    @cached_property
    def activity(self) -> Indices:
        """Likes per user, int64 (user_count,)."""
        return np.bincount(self.users, minlength=self.user_count)

    @cached_property
    def _user_starts(self) -> Indices:
        return np.concatenate([[0], np.cumsum(self.activity)])

    @cached_property
    def _fans(self) -> tuple[Indices, Indices]:
        order = np.argsort(self.movies, kind="stable")
        return self.users[order], np.concatenate([[0], np.cumsum(self.popularity)])

    def movies_of(self, user: int) -> Indices:
        """Movies that a user likes, ascending."""
        return self.movies[self._user_starts[user] : self._user_starts[user + 1]]

    def fans_of(self, movie: int) -> Indices:
        """Users who like a movie, ascending."""
        users, starts = self._fans
        return users[starts[movie] : starts[movie + 1]]

    def co_occurrence(self, movie: int) -> Indices:
        """For every movie, how many users like both it and this one (at the movie itself: its popularity)."""
        together = [self.movies_of(user) for user in self.fans_of(movie).tolist()]
        pooled = np.concatenate(together) if together else np.empty(0, np.int64)
        return np.bincount(pooled, minlength=self.movie_count)
