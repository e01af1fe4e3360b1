"""Likes in memory, compressed by user and by movie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from nightreel.recommend.layouts import DatasetError, Layout, find_layout

__all__ = ["DatasetError", "Indices", "Layout", "Likes", "find_layout"]

Indices = npt.NDArray[np.int64]


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
