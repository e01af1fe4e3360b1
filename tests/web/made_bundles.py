"""A small bundle whose right answers are known: three kinds of movies that have nothing to do with each other."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nightreel.bundle.schema import BundleMetadata
from nightreel.bundle.writer import write_bundle

CHILDREN = [
    ("Toy Story", 1995),
    ("The Lion King", 1994),
    ("Aladdin", 1992),
    ("Toy Story 2", 1999),
    ("Beauty and the Beast", 1991),
    ("WALL·E", 2008),
    ("Aladdin and the King of Thieves", 1996),
    ("Babe", 1995),
    ("Ratatouille", 2007),
    ("Bambi", 1942),
    ("Dumbo", 1941),
    ("Up", 2009),
    ("Monsters, Inc.", 2001),
    ("Fantasia", 1940),
]
SPACE = [
    ("The Matrix", 1999),
    ("Blade Runner", 1982),
    ("Blade Runner 2049", 2017),
    ("E.T. the Extra-Terrestrial", 1982),
    ("2001: A Space Odyssey", 1968),
    ("Alien", 1979),
    ("Star Wars: Episode IV - A New Hope", 1977),
    ("Star Wars: Episode V - The Empire Strikes Back", 1980),
    ("Apollo 13", 1995),
    ("Solaris", 1972),
    ("Stalker", 1979),
    ("Gattaca", 1997),
]
DRAMA = [
    ("Amélie", 2001),
    ("Emma", 1996),
    ("Emma", 1996),
    ("Schindler's List", 1993),
    ("The Godfather", 1972),
    ("Casablanca", 1942),
    ("Vertigo", 1958),
    ("Rear Window", 1954),
    ("Gilda", None),
    ("Notorious", 1946),
    ("La Strada", 1954),
    ("Øya", 2011),
]
KINDS = ((CHILDREN, ["Animation", "Children"]), (SPACE, ["Sci-Fi"]), (DRAMA, ["Drama"]))
ALTERNATES = {"La Strada": ["The Road"], "Amélie": ["Le Fabuleux destin d'Amélie Poulain"]}
TASTE_PATH = {
    "offset": 0.1,
    "points": [
        {"taste": 0.0, "beta": 1.0, "eta": 0.0, "noise": 0.01},
        {"taste": 1.0, "beta": 0.0, "eta": 0.25, "noise": 0.01},
    ],
}
NEIGHBOURS = 3

MOVIES = [(title, year, genres) for movies, genres in KINDS for title, year in movies]
IDS = {title: 100 + row for row, (title, _, _) in enumerate(MOVIES)}
"""Movie ids by title (of the two Emmas the second)."""


@dataclass(frozen=True)
class MadeBundle:
    """The bytes of a bundle and its names."""

    body: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    @property
    def content_digest(self) -> str:
        return f"sha-256=:{base64.b64encode(hashlib.sha256(self.body).digest()).decode()}:"

    def with_nan(self) -> MadeBundle:
        """The same bundle with the first movie's prior not a number."""
        return self._changed(_prior().astype("<f4").tobytes(), np.array([np.nan], "<f4").tobytes())

    def with_neighbour_out_of_range(self) -> MadeBundle:
        """The same bundle with the first movie's best neighbour beyond the last row."""
        return self._changed(_neighbour_ids().astype("<i4").tobytes(), np.array([len(MOVIES)], "<i4").tobytes())

    def _changed(self, column: bytes, start: bytes) -> MadeBundle:
        assert self.body.count(column) == 1
        return MadeBundle(self.body.replace(column, start + column[len(start) :]))


def make_bundle(path: Path, *, run_id: str = "first", dataset: str = "made up", **columns: Any) -> MadeBundle:
    """Write the bundle, valid unless `columns` say otherwise, and return it."""
    count = len(MOVIES)
    fields = {
        "movie_id": np.arange(100, 100 + count),
        "title": [title for title, _, _ in MOVIES],
        "year": [year for _, year, _ in MOVIES],
        "genres": [genres for _, _, genres in MOVIES],
        "alternate_titles": [ALTERNATES.get(title, []) for title, _, _ in MOVIES],
        "imdb_id": [None] * count,
        "tmdb_id": [None] * count,
        "rating_count": 1000 - 10 * np.arange(count),
        "mean_rating": np.full(count, 3.5),
        "embedding": _embedding(),
        "prior": _prior(),
        "residual": np.zeros(count),
        "neighbour_ids": _neighbour_ids(),
        "neighbour_scores": np.tile([0.9, 0.8, 0.7], (count, 1)),
    }
    metadata = BundleMetadata(
        run_id=run_id,
        created="2026-01-01T00:00:00Z",
        dataset={"name": dataset, "fingerprint": "0" * 64, "licence": "none", "ratings": 1, "users": 1},
        parameters={},
        versions={},
        evaluation=[{"model": "most popular", "ndcg": 0.1}],
        taste=TASTE_PATH,
        code_revision="unknown",
    )
    write_bundle(path, columns=fields | columns, metadata=metadata)
    return MadeBundle(path.read_bytes())


def _embedding() -> np.ndarray:
    """One factor per kind, so that movies of different kinds are not correlated at all."""
    kinds = np.repeat(np.arange(len(KINDS)), [len(movies) for movies, _ in KINDS])
    return np.eye(len(KINDS))[kinds] * np.linspace(0.3, 0.2, len(MOVIES))[:, None]


def _prior() -> np.ndarray:
    return np.linspace(0.4, 0.05, len(MOVIES))


def _neighbour_ids() -> np.ndarray:
    rows = np.arange(len(MOVIES))[:, None]
    return (rows + np.arange(1, 1 + NEIGHBOURS)) % len(MOVIES)
