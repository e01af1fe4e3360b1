"""Ratings that nobody gave, like MovieLens' in what costs time: few movies have most of them, and tastes are planted.

Every user has a main taste and a second one, out of a few; a taste prefers the movies that lie near it in a space of
planted factors. How much is rated follows a log-normal law per user and a power law per movie. A block of users is made
by its own seeded generator, so that blocks are independent of each other, of their order and of the memory there is.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from nightreel.recommend.datasets import GENERATED_MARK
from nightreel.recommend.layouts import DatasetError

BLOCK_ROWS = 1_000_000
LEAST_PER_USER = 20
"""As in MovieLens, whose users are left out below it."""
TASTES, FACTORS = 24, 8
MAIN_TASTE = 0.7
HEAD_SLOPE, TAIL_SLOPE, TAIL_FROM = 0.5, 2.0, 0.03
"""Popularity falls by one power of the rank at first and by another from that share of the movies on, as MovieLens'."""
PREFERENCE = 0.8
SPREAD = 1.0
"""Standard deviation of the logarithm of ratings per user."""
FIRST_SECOND, LAST_SECOND = 789_652_009, 1_697_000_000
GENRES = ["Action", "Comedy", "Crime", "Drama", "Fantasy", "Horror", "Romance", "Sci-Fi"]
SCHEMA = pa.schema(
    [("userId", pa.int32()), ("movieId", pa.int32()), ("rating", pa.float32()), ("timestamp", pa.int64())]
)
FORMS = ("csv", "parquet")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class World:
    """What is to be generated; the same values give the same ratings. DatasetError for what can not be."""

    ratings: int
    users: int
    movies: int
    seed: int = 7

    def __post_init__(self) -> None:
        most = self.users * (self.movies // 4)
        least = self.users * min(LEAST_PER_USER, self.movies // 4)
        if self.users < 1 or self.movies < 4 or not least <= self.ratings <= most:
            raise DatasetError(
                f"{self.ratings:,} ratings of {self.movies:,} movies by {self.users:,} users can not be: expected 4 "
                f"movies or more, and {LEAST_PER_USER} ratings per user up to a quarter of the movies ({most:,} in all)"
            )

    @classmethod
    def like_movielens(cls, ratings: int, *, users: int | None, movies: int | None, seed: int) -> World:
        """Choose users and movies as MovieLens has them at this size, where they are not given."""
        movies = movies or max(100, min(250_000, round(1.35 * ratings**0.62)))
        users = users or max(1, ratings // min(160, max(LEAST_PER_USER, movies // 6)))
        return cls(ratings=ratings, users=users, movies=movies, seed=seed)

    @cached_property
    def movie_factors(self) -> Floats:
        """Planted factors, (movies, FACTORS)."""
        rng = np.random.default_rng([self.seed, 1])
        return rng.normal(scale=1 / math.sqrt(FACTORS), size=(self.movies, FACTORS))

    @cached_property
    def taste_factors(self) -> Floats:
        """Where each taste lies, (TASTES, FACTORS)."""
        return np.random.default_rng([self.seed, 2]).normal(size=(TASTES, FACTORS))

    @cached_property
    def popularity(self) -> Floats:
        """Weight of each movie by the power law, in a random order, (movies,)."""
        ranks = np.random.default_rng([self.seed, 3]).permutation(self.movies)
        weights: Floats = 1 / ((ranks + 5) ** HEAD_SLOPE * (1 + ranks / (TAIL_FROM * self.movies)) ** TAIL_SLOPE)
        return weights

    @cached_property
    def _cumulated(self) -> Floats:
        """For each taste the chances of the movies, added up, (TASTES, movies)."""
        liking = np.exp(2 * PREFERENCE * self.taste_factors @ self.movie_factors.T)
        chances = np.cumsum(liking * self.popularity, axis=1)
        return chances / chances[:, -1:]

    @property
    def blocks(self) -> int:
        """How many blocks the users are cut into."""
        return min(self.users, -(-self.ratings // BLOCK_ROWS))

    def block(self, number: int) -> pa.RecordBatch:
        """Generate one block: its share of users, with exactly its share of ratings, by user and movie."""
        rng = np.random.default_rng([self.seed, 4, number])
        first, last = (self.users * part // self.blocks for part in (number, number + 1))
        counts = self._counts(rng, users=last - first, rows=self._rows_before(last) - self._rows_before(first))
        tastes = rng.integers(TASTES, size=(last - first, 2))
        owners, movies = self._draw(rng, counts, tastes)
        stars = self._stars(rng, owners, movies, tastes)
        times = self._times(rng, counts, owners)
        return pa.record_batch(
            [
                pa.array((first + owners + 1).astype(np.int32)),
                pa.array((movies + 1).astype(np.int32)),
                pa.array(stars),
                pa.array(times),
            ],
            schema=SCHEMA,
        )

    def _rows_before(self, user: int) -> int:
        return self.ratings * user // self.users

    def _counts(self, rng: np.random.Generator, *, users: int, rows: int) -> Ints:
        """Ratings per user: log-normal above the least, never more than a quarter of the movies, `rows` in all."""
        least, most = min(LEAST_PER_USER, self.movies // 4, rows // users), self.movies // 4
        wished = rng.lognormal(sigma=SPREAD, size=users)
        counts = np.zeros(users, np.int64)
        missing = rows - least * users
        while missing > 0:  # what a capped user can not take, the others do
            open_to = counts < most - least
            share = np.where(open_to, wished, 0)
            more = np.floor(missing * share / share.sum()).astype(np.int64)
            if not more.any():
                more[rng.choice(np.flatnonzero(open_to), size=min(missing, int(open_to.sum())), replace=False)] = 1
            counts = np.minimum(counts + more, most - least)
            missing = rows - least * users - int(counts.sum())
        return counts + least

    def _draw(self, rng: np.random.Generator, counts: Ints, tastes: Ints) -> tuple[Ints, Ints]:
        """Draw that many movies per user, each once: again and again for those who lack some."""
        done, kept, short, extra = list[Ints](), np.empty(0, np.int64), np.arange(len(counts)), 1.4
        while short.size:
            lacking = counts[short] - np.bincount(kept // self.movies, minlength=len(counts))[short]
            owners = np.repeat(short, np.ceil(lacking * extra).astype(np.int64) + 4)
            drawn = np.unique(owners * self.movies + self._sample(rng, owners, tastes))
            fresh = drawn[np.isin(drawn, kept, invert=True)] if kept.size else drawn
            # Any of too many may go, but not always the movies with the highest numbers.
            fresh = fresh[np.argsort((fresh // self.movies << 32) + rng.integers(2**32, size=len(fresh)))]
            owner = fresh // self.movies
            room = np.zeros(len(counts), np.int64)
            room[short] = lacking
            place = np.arange(len(fresh)) - np.searchsorted(owner, np.arange(len(counts)))[owner]
            kept = np.concatenate([kept, fresh[place < room[owner]]])
            full = np.bincount(kept // self.movies, minlength=len(counts)) >= counts
            ready = full[kept // self.movies]
            done.append(kept[ready])
            kept, short, extra = kept[~ready], short[~full[short]], extra * 2
        pairs = np.sort(np.concatenate(done))
        return pairs // self.movies, pairs % self.movies

    def _sample(self, rng: np.random.Generator, owners: Ints, tastes: Ints) -> Ints:
        """Draw a movie per owner by the chances of one of their tastes."""
        chosen = np.where(rng.random(len(owners)) > MAIN_TASTE, tastes[owners, 1], tastes[owners, 0])
        # Sorted, the search walks through memory instead of jumping; the order among a user's draws means nothing.
        movies = np.empty(len(owners), np.int64)
        for taste in range(TASTES):
            mine = np.flatnonzero(chosen == taste)
            places = np.sort(rng.random(len(mine)))
            movies[rng.permutation(mine)] = np.searchsorted(self._cumulated[taste], places)
        return np.minimum(movies, self.movies - 1)

    def _stars(self, rng: np.random.Generator, owners: Ints, movies: Ints, tastes: Ints) -> npt.NDArray[np.float32]:
        """Half stars: how good the movie is, how kind the user, how near the movie lies to their tastes, and chance."""
        goodness = np.random.default_rng([self.seed, 5]).normal(scale=0.4, size=self.movies)
        kindness = rng.normal(scale=0.3, size=len(tastes))
        likes = self.taste_factors[tastes]
        own = MAIN_TASTE * likes[:, 0] + (1 - MAIN_TASTE) * likes[:, 1]
        near = np.einsum("rf,rf->r", own[owners], self.movie_factors[movies])
        raw = 3.2 + goodness[movies] + kindness[owners] + PREFERENCE * near + rng.normal(scale=0.7, size=len(owners))
        stars: npt.NDArray[np.float32] = (np.round(raw * 2) / 2).clip(0.5, 5).astype(np.float32)
        return stars

    @staticmethod
    def _times(rng: np.random.Generator, counts: Ints, owners: Ints) -> Ints:
        """A user rates within some days of a day of their own."""
        day = rng.integers(FIRST_SECOND, LAST_SECOND, size=len(counts))
        return day[owners] + rng.integers(0, 30 * 86_400, size=len(owners))


def write_world(world: World, folder: Path, *, form: str) -> Iterator[int]:
    """Write a folder in MovieLens' layout, block by block; yields the rows written so far. `form` is of FORMS.

    DatasetError when the folder is not empty. Nothing under the ratings' own name is there before all is.
    """
    if form not in FORMS:
        raise DatasetError(f"{form!r} is no form of ratings; supported are {' and '.join(FORMS)}")
    if folder.exists() and any(folder.iterdir()):
        raise DatasetError(f"{folder} is not empty: name another folder, nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    _write_readme(world, folder)
    _write_movies(world, folder / "movies.csv")
    target = folder / f"ratings.{form}"
    draft = folder / f".{target.name}.draft"
    done = 0
    try:
        with _writer(draft, form) as writer:
            for number in range(world.blocks):
                batch = world.block(number)
                writer.write_batch(batch)
                done += batch.num_rows
                yield done
        draft.rename(target)
    finally:
        draft.unlink(missing_ok=True)


def _writer(path: Path, form: str) -> pyarrow.csv.CSVWriter | pq.ParquetWriter:
    if form == "csv":
        options = pyarrow.csv.WriteOptions(quoting_style="none", quoting_header="none")
        return pyarrow.csv.CSVWriter(path, SCHEMA, write_options=options)
    return pq.ParquetWriter(path, SCHEMA, compression="zstd")


def _write_movies(world: World, path: Path) -> None:
    strongest = np.argmax(world.movie_factors, axis=1)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("movieId", "title", "genres"))
        for movie in range(world.movies):
            writer.writerow((movie + 1, f"Generated {movie + 1} ({1950 + movie % 75})", GENRES[strongest[movie]]))


def _write_readme(world: World, folder: Path) -> None:
    (folder / "README.txt").write_text(
        f"{GENERATED_MARK}: nobody gave these ratings, and what is measured with them says how fast\n"
        "something is, not how good.\n\n"
        f"{world.ratings:,} ratings of {world.movies:,} movies by {world.users:,} users, seed {world.seed}.\n"
        f"Few movies have most of the ratings (a power law), and {TASTES} tastes with {FACTORS} factors are planted.\n"
    )
