"""What every model must beat: what everybody likes, what is liked together, and cosine of the same factors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nightreel.recommend.neighbours import unit_rows
from nightreel.recommend.ratings import Likes

Scored = npt.NDArray[Any]


class Ranker(Protocol):
    """Anything that scores all movies, shape (m,), for someone who likes the seed rows."""

    name: str

    def scores_for(self, seeds: Sequence[int]) -> Scored:
        """Return one score per movie; seeds need not be left out."""
        ...


class MostPopular:
    """The movies with most likes, whoever asks."""

    name = "most popular"

    def __init__(self, likes: Likes) -> None:
        self._popularity = likes.popularity.astype(np.float64)

    def scores_for(self, seeds: Sequence[int]) -> Scored:
        """Return the number of likes."""
        return self._popularity


class ItemKNN:
    """Cosine of like columns, Σ over seeds of c(i, q) / (√(nᵢ n_q) + shrink): Deshpande & Karypis 2004, shrunk."""

    def __init__(self, likes: Likes, *, shrink: float = 0) -> None:
        self.name = f"ItemKNN, shrink {shrink:g}" if shrink else "ItemKNN"
        self._likes = likes
        self._shrink = shrink
        self._similar = cache(self._similar_to)

    def _similar_to(self, seed: int) -> Scored:
        popularity = self._likes.popularity
        scale = np.sqrt(popularity * float(popularity[seed])) + self._shrink
        together = self._likes.co_occurrence(seed).astype(np.float64)
        similar: Scored = np.divide(together, scale, out=np.zeros(len(scale)), where=scale > 0)
        similar[seed] = 0
        return similar.astype(np.float32)

    def scores_for(self, seeds: Sequence[int]) -> Scored:
        """Return the summed similarity to the seeds."""
        return np.sum([self._similar(seed) for seed in seeds], axis=0)


class Ease:
    """The linear autoencoder without a diagonal, B = I − P · diag(1/P), P = (XᵀX + λI)⁻¹: Steck 2019, algorithm 1.

    A dense inverse over the movies that anybody likes, the others have no weights: for at most MOST_MOVIES. It is made
    when the first scores are asked for.
    """

    MOST_MOVIES = 20_000

    def __init__(self, likes: Likes, *, regularisation: float) -> None:
        self.name = f"EASE, λ {regularisation:g}"
        self._likes = likes
        self._regularisation = regularisation
        self._liked = np.flatnonzero(likes.popularity)
        self._place = np.full(likes.movie_count, -1)
        self._place[self._liked] = np.arange(len(self._liked))

    @cached_property
    def _weights(self) -> Scored:
        gram = np.empty((len(self._liked),) * 2, np.float32)
        for row, movie in enumerate(self._liked.tolist()):
            gram[row] = self._likes.co_occurrence(movie)[self._liked]
        gram[np.diag_indices_from(gram)] += np.float32(self._regularisation)
        inverse: Scored = np.linalg.inv(gram)
        inverse /= -np.diag(inverse).copy()  # in place: at 20,000 movies a copy more is 1.6 GB
        np.fill_diagonal(inverse, 0)
        return inverse

    def scores_for(self, seeds: Sequence[int]) -> Scored:
        """Return the seeds' rows summed up."""
        places = self._place[list(seeds)]
        scores = np.zeros(self._likes.movie_count, np.float32)
        scores[self._liked] = self._weights[places[places >= 0]].sum(axis=0)
        return scores


class FactorCosine:
    """Summed cosine of movie factors (m, f) to the seeds: what most tutorials do."""

    name = "cosine of factors"

    def __init__(self, factors: npt.NDArray[np.float32]) -> None:
        self._unit = unit_rows(factors)

    def scores_for(self, seeds: Sequence[int]) -> Scored:
        """Return the summed cosine to the seeds."""
        return self._unit @ self._unit[list(seeds)].sum(axis=0)
