"""Given one to five movies that a visitor rated, what else they would like, and why.

A visitor's taste is Gaussian around the population's: the prior of movie i is pᵢ, the covariance of predicted
preferences K = E Eᵀ. Ratings of the seeds q condition it (Rasmussen & Williams 2006, eq. 2.19):

    α = (K[q,q] + s² I + D_q)⁻¹ (t − p[q]),   liftᵢ = K[i,q]·α,   scoreᵢ = (β pᵢ + liftᵢ) / (Kᵢᵢ + c)^η

Some columns of E are what movies of a kind have in common; multiplied by κ they add κ² of their product to K. The
slider moves β, η, s² and κ along the bundle's path.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from nightreel.bundle.reader import Bundle
from nightreel.bundle.taste_path import TastePath, TastePoint
from nightreel.recommend.population import typical_variance

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

TASTES = {"familiar": 0.0, "balanced": 0.5, "curious": 0.75, "adventurous": 1.0}
BALANCED = TASTES["balanced"]
"""Where the model leads its baselines both over all movies and in the long tail."""
DEFAULT_TASTE = TASTES["curious"]
"""Where the page starts: near the best in the tail, with answers that look like recommendations."""
LOWEST_RATING, HIGHEST_RATING = 0.5, 5.0
LIKENESS_GROUND = 0.1
"""The variance, in parts of the score's offset, below which a movie is not known well enough to be like another."""

RELATIVE_PATH = TastePath(
    offset=0.35,
    points=(
        TastePoint(taste=TASTES["familiar"], beta=1.0, eta=0.0, noise=0.3, kinship=0.8),
        TastePoint(taste=BALANCED, beta=0.7, eta=0.12, noise=0.4, kinship=0.85),
        TastePoint(taste=DEFAULT_TASTE, beta=0.3, eta=0.3, noise=0.5, kinship=1.45),
        TastePoint(taste=TASTES["adventurous"], beta=0.1, eta=0.3, noise=0.5, kinship=0.9),
    ),
)
"""Familiar is best at predicting the rest of somebody's likes, adventurous finds what fewer people know; balanced leads
simpler methods on both. Where the page starts, genres and years count most, so that films of a kind are answered with
films of that kind.

Its noise is in typical variances of a movie, so that it fits dense and sparse data. Found on ml-latest-small and
ml-100k, over two splits each.
"""


def parse_taste(text: str) -> float:
    """Return the slider position for a name or a number in [0, 1]; ValueError otherwise."""
    if text in TASTES:
        return TASTES[text]
    try:
        taste = float(text)
    except ValueError:
        taste = math.nan
    if not 0 <= taste <= 1:
        raise ValueError(f"taste {text!r} is neither one of {', '.join(TASTES)} nor a number between 0 and 1")
    return taste


def rating_pull(ratings: Sequence[float]) -> Float64:
    """Return c(r) for ratings in stars: 1 for five, 0 for three, −1 for one, linear between."""
    values = np.asarray(ratings, dtype=np.float64)
    if not ((values >= LOWEST_RATING) & (values <= HIGHEST_RATING)).all():
        raise ValueError(f"ratings must lie between {LOWEST_RATING} and {HIGHEST_RATING} stars, not {list(ratings)}")
    return (values - 3) / 2


def path_for(embedding: Float32, *, kinship_columns: int, relative: TastePath = RELATIVE_PATH) -> TastePath:
    """Return the slider's path in the units of this embedding (m, f), whose last columns are kinship."""
    typical = typical_variance(np.einsum("if,if->i", embedding, embedding))
    return replace(relative.with_noise_times(typical or 1.0), kinship_columns=kinship_columns)


@dataclass(frozen=True, kw_only=True)
class Reason:
    """The parts that a movie's score is the sum of, before the division by its own variance.

    `prior` is "popular with everybody"; `seeds` has one share per seed in order, negative for "in spite of".
    """

    prior: float
    seeds: tuple[float, ...]


class Scores:
    """Every movie's score for one visitor, and the reason behind each."""

    def __init__(
        self,
        *,
        values: Float32,
        seeds: Sequence[int],
        prior_shares: Float32,
        embedding: Float32,
        seed_vectors: Float64,
        weights: Float64,
    ) -> None:
        self.values = values
        self._seeds = list(seeds)
        self._prior_shares = prior_shares
        self._embedding = embedding
        self._seed_vectors = seed_vectors
        self._weights = weights

    def top(self, count: int) -> list[int]:
        """Return the rows of the best movies, best first, seeds left out, ties in row order."""
        values = self.values.copy()
        values[self._seeds] = -np.inf
        count = max(0, min(count, len(values) - len(self._seeds)))
        if count == 0:
            return []
        # Everything as good as the last place competes, so that ties there go by row too.
        candidates = np.flatnonzero(values >= np.partition(values, -count)[-count])
        order = np.lexsort((candidates, -values[candidates]))
        best: list[int] = candidates[order][:count].tolist()
        return best

    def reason(self, row: int) -> Reason:
        """Return the shares of one row: the prior's β pᵢ and K[i,q]·α per seed."""
        return self.reasons([row])[0]

    def reasons(self, rows: Sequence[int]) -> list[Reason]:
        """Return the reason of each row."""
        covariance = self._embedding[rows].astype(np.float64) @ self._seed_vectors.T
        parts = zip(self._prior_shares[rows].tolist(), (covariance * self._weights).tolist(), strict=True)
        return [Reason(prior=prior, seeds=tuple(shares)) for prior, shares in parts]


class TasteModel:
    """The bundle's model, ready to answer (arrays are shared with the mapped file, not copied)."""

    def __init__(self, *, embedding: Float32, prior: Float32, residual: Float32, path: TastePath) -> None:
        self.embedding = embedding
        self.prior = prior
        self.residual = residual
        self.path = path
        self.variance: Float32 = np.einsum("if,if->i", embedding, embedding)
        kin = embedding[:, embedding.shape[1] - path.kinship_columns :]
        self._kin_variance: Float32 = np.einsum("if,if->i", kin, kin)
        smallest = float(np.finfo(np.float32).tiny)  # a model without any variance must not divide by nothing
        self.offset = max(path.offset * typical_variance(self.variance), smallest)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Self:
        """Take the model out of an opened bundle."""
        return cls(
            embedding=bundle.embedding,
            prior=bundle.prior,
            residual=bundle.residual,
            path=bundle.metadata.taste_path,
        )

    def score(self, *, seeds: Sequence[int], ratings: Sequence[float], taste: float) -> Scores:
        """Score all movies for a visitor who rated the rows `seeds` (each once) with `ratings` (1–5 stars).

        Without seeds the answer is the prior's. ValueError for a row named twice, a row or rating out of range,
        or unequal lengths.
        """
        rows = self._checked_rows(seeds, ratings)
        point = self.path.at(taste)
        chosen = self.embedding[rows].astype(np.float64)
        # K = E diag(1, …, κ², …) Eᵀ: with the seeds' side of it scaled, the other side is the mapped file as it is.
        seed_vectors = chosen * self._scale(point) ** 2
        noise = np.diag(point.noise + self.residual[rows].astype(np.float64))
        # A prior above 1, possible for a factor model, leaves no way up: a like then says nothing new.
        evidence = rating_pull(ratings) * np.maximum(1 - self.prior[rows].astype(np.float64), 0)
        weights: Float64 = np.linalg.solve(seed_vectors @ chosen.T + noise, evidence)
        prior_shares, values = self._combine(point, (weights @ seed_vectors).astype(np.float32))
        return Scores(
            values=values,
            seeds=seeds,
            prior_shares=prior_shares,
            embedding=self.embedding,
            seed_vectors=seed_vectors,
            weights=weights,
        )

    def score_stranger(self, *, draw: int, taste: float) -> Scores:
        """Score all movies for somebody made up: a taste drawn from the population's, the same for the same `draw`."""
        point = self.path.at(taste)
        factors = self.embedding.shape[1]
        drawn = np.random.default_rng(draw).standard_normal(factors) * self._scale(point)
        prior_shares, values = self._combine(point, drawn.astype(np.float32))
        return Scores(
            values=values,
            seeds=[],
            prior_shares=prior_shares,
            embedding=self.embedding,
            seed_vectors=np.zeros((0, factors)),
            weights=np.zeros(0),
        )

    def likeness(self, row: int) -> Float32:
        """Return every movie's correlation with one (m,), drawn towards 0 where little is known of a movie.

        Without that, movies that one and the same person liked once would be everybody's nearest neighbours.
        """
        ground = np.float32(LIKENESS_GROUND * self.offset)
        known = (self.variance + ground) * (self.variance[row] + ground)
        alike: Float32 = np.divide(self.embedding @ self.embedding[row], np.sqrt(known), dtype=np.float32)
        return alike

    def _combine(self, point: TastePoint, direction: Float32) -> tuple[Float32, Float32]:
        """Return β pᵢ and the scores (m,) of a taste that lies `direction` (f,) from the population's."""
        prior_shares: Float32 = np.float32(point.beta) * self.prior
        values: Float32 = prior_shares + self.embedding @ direction
        if point.eta:
            values *= np.exp(np.float32(-point.eta) * np.log(self.variance_at(point) + np.float32(self.offset)))
        return prior_shares, values

    def variance_at(self, point: TastePoint) -> Float32:
        """Return Kᵢᵢ (m,) at a point of the slider."""
        variance: Float32 = self.variance + np.float32(point.kinship**2 - 1) * self._kin_variance
        return np.maximum(variance, 0)  # rounding may take a movie without likes below

    def _scale(self, point: TastePoint) -> Float64:
        """Return what the columns of the embedding are multiplied by, (f,): κ for kinship, 1 for the others."""
        scale = np.ones(self.embedding.shape[1])
        scale[len(scale) - self.path.kinship_columns :] = point.kinship
        return scale

    def _checked_rows(self, seeds: Sequence[int], ratings: Sequence[float]) -> npt.NDArray[np.intp]:
        rows = np.asarray(seeds, dtype=np.intp)
        if len(rows) != len(ratings):
            raise ValueError(f"{len(rows)} seed movies need as many ratings, not {len(ratings)}")
        if len(set(rows.tolist())) != len(rows):
            raise ValueError(f"a seed movie is named twice in {list(seeds)}")
        if ((rows < 0) | (rows >= len(self.prior))).any():
            raise ValueError(f"a seed row lies outside of 0 to {len(self.prior) - 1}: {list(seeds)}")
        return rows
