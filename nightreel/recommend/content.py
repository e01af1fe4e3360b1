"""What is known of a movie besides who likes it: genres and year, as features.

Few people rate a rare movie. What they leave open, its kind and its time narrow down: two movies with the same
genres, or from the same years, are liked together a little more than by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from nightreel.recommend.titles import Movie

Float64 = npt.NDArray[np.float64]

GENRE_WEIGHT, YEAR_WEIGHT = 0.45, 0.1
"""Standard deviation that genres and years explain, as a share of what a movie's likes do.

Less of genres foresees a few likes more; with this much, three films for children are answered with some for children.
"""

YEARS = np.arange(1920.0, 2031.0, 5.0)
YEAR_WIDTH = 5.0
ROUNDING = 1e-9


def features_of(movie_ids: npt.NDArray[np.integer], movies: Mapping[int, Movie]) -> Float64:
    """Return the features (m, d) of movies by id; a movie that is not described has zeros."""
    known = [movies.get(movie_id) for movie_id in movie_ids.tolist()]
    return movie_features(
        [movie.genres if movie else () for movie in known], [movie.year if movie else None for movie in known]
    )


def movie_features(genres: Sequence[Sequence[str]], years: Sequence[int | None]) -> Float64:
    """Return features (m, d) of movies, centred; none (m, 0) where nothing tells two movies apart.

    Genres count by how rare they are (inverse document frequency) and years as bumps around every fifth one. The two
    have length GENRE_WEIGHT and YEAR_WEIGHT before the mean is taken off; what is not known has zeros there.
    """
    both = np.concatenate([GENRE_WEIGHT * _by_genre(genres), YEAR_WEIGHT * _by_year(years)], axis=1)
    return both[:, np.abs(both).max(axis=0, initial=0) > ROUNDING]


def _by_genre(genres: Sequence[Sequence[str]]) -> Float64:
    names = sorted({name for own in genres for name in own})
    place = {name: column for column, name in enumerate(names)}
    found = np.zeros((len(genres), len(names)))
    for row, own in enumerate(genres):
        found[row, [place[name] for name in own]] = 1
    return _centred(found * np.log(max(len(genres), 1) / (1 + found.sum(axis=0))).clip(min=0))


def _by_year(years: Sequence[int | None]) -> Float64:
    known = np.array([np.nan if year is None else year for year in years], dtype=np.float64)
    bumps = np.exp(-0.5 * ((known[:, None] - YEARS) / YEAR_WIDTH) ** 2)
    return _centred(np.nan_to_num(bumps))


def _centred(features: Float64) -> Float64:
    """Scale rows to length 1 and take the mean of those that have any off them."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    known = lengths[:, 0] > 0
    unit = np.divide(features, lengths, out=np.zeros_like(features), where=lengths > 0)
    if known.any():
        unit[known] -= unit[known].mean(axis=0)
    return unit
