"""How tastes vary in the population, and what that says of each movie.

ALS gives the movies' factors Y. What is built on them here: every user is placed in their span by least squares, with
half-likes counting half, and mean and covariance of those places make up the model. That is closer to how often movies
are liked together than the covariance of ALS' own user factors, which its regularisation shrinks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.floating]
Indices = npt.NDArray[np.integer]

HEAVY_RATERS = 0.5
"""A user counts by likes^-HEAVY_RATERS in the covariance: heavy raters tell less per like, but tell of rare movies."""

KINSHIP = 1.0
"""How much the features add: 1 is what did best for ten answers that also look like recommendations."""

OWN_NOISE = 0.9
"""How much of what a movie's likes do not share with others is taken out of the covariance."""

NOISE_ROUNDS = 5
"""How often the two parts of the variance are worked out from each other."""

ROWS_AT_ONCE = 50_000


@dataclass(frozen=True)
class Moments:
    """Weighted sums over users, which add up over partitions: w, Σ wᵤuᵤ of shape (f,) and Σ wᵤuᵤuᵤᵀ of shape (f, f)."""

    weight: float
    first: Float64
    second: Float64

    @classmethod
    def of_users(cls, places: Numbers, likes: Numbers, *, power: float = HEAVY_RATERS) -> Self:
        """Sum up users at `places` (n, f), weighted by `likes`^-power."""
        weights = np.asarray(likes, dtype=np.float64) ** -power
        values = np.asarray(places, dtype=np.float64)
        weighted = values * weights[:, None]
        return cls(float(weights.sum()), weighted.sum(axis=0), weighted.T @ values)

    @classmethod
    def of_likes(cls, basis: Float64, *, users: Indices, movies: Indices, values: Numbers) -> Self:
        """Place users in the span of an orthonormal `basis` (m, f) by what they like, and sum up the places.

        One like, of strength `values`, per user and movie row, in any order. Memory is bounded by ROWS_AT_ONCE likes
        and the longest list of one user.
        """
        order = np.lexsort((movies, users))
        users, movies, values = users[order], movies[order], np.asarray(values, dtype=np.float64)[order]
        starts = np.flatnonzero(np.diff(users, prepend=users[:1] - 1))
        cuts = starts[np.flatnonzero(np.diff(starts // ROWS_AT_ONCE, prepend=-1))]
        sums = cls(0.0, np.zeros(basis.shape[1]), np.zeros((basis.shape[1],) * 2))
        for low, high in zip(cuts, [*cuts[1:], len(users)], strict=True):
            own = starts[(starts >= low) & (starts < high)] - low
            weights = values[low:high]
            places = np.add.reduceat(basis[movies[low:high]] * weights[:, None], own, axis=0)
            sums += cls.of_users(places, np.add.reduceat(weights, own))
        return sums

    def __add__(self, other: Moments) -> Self:
        return type(self)(self.weight + other.weight, self.first + other.first, self.second + other.second)

    @property
    def mean(self) -> Float64:
        """μ, shape (f,)."""
        return self.first / self.weight

    @property
    def covariance(self) -> Float64:
        """Σ, shape (f, f); singular when there are no more users than factors."""
        return self.second / self.weight - np.outer(self.mean, self.mean)


def span_of(factors: Numbers) -> Float64:
    """Return an orthonormal basis (m, f) of the columns of movie factors Y (m, f): Y = basis · R."""
    return (
        np.linalg.qr(np.asarray(factors, dtype=np.float64))[0] if len(factors) >= factors.shape[1] else _wide(factors)
    )


def _wide(factors: Numbers) -> Float64:
    """With fewer movies than factors every movie is an axis of its own; the rest stays empty."""
    return np.eye(len(factors), factors.shape[1])


def share_variance(basis: Float64, covariance: Float64, variance: Float64) -> tuple[Float64, Float64]:
    """Part what movies have in common from what each has alone: principal axis factoring (Harman 1976, chapter 8).

    Users in the span of a basis B (m, f) have the `covariance` (f, f), likes of a movie the `variance` (m,). In their
    covariance each movie also varies with itself alone, by D (m,), as users like it or not for no reason that others
    share: B Σ Bᵀ + D. Returns Σ (f, f), of which OWN_NOISE of BᵀDB is taken out, and D.
    """
    alone = np.zeros(len(basis))
    shared = covariance
    for _ in range(NOISE_ROUNDS):
        shared = _without_negative(covariance - OWN_NOISE * (basis.T * alone) @ basis)
        alone = np.maximum(variance - np.einsum("if,if->i", basis @ shared, basis), 0)
    return shared, alone


def _without_negative(symmetric: Float64) -> Float64:
    values, vectors = np.linalg.eigh(symmetric)
    clipped: Float64 = (vectors * values.clip(min=0)) @ vectors.T
    return clipped


def describe_movies(basis: Float64, covariance: Float64) -> npt.NDArray[np.float32]:
    """Return the embedding E (m, f) with E Eᵀ = B Σ Bᵀ of a basis B (m, f) and the covariance Σ of users in it.

    E = B Σ^½ by the eigenvectors of Σ, strongest first, with eigenvalues that rounding made negative clipped at 0
    (Cholesky fails where Σ is singular). Each eigenvector's largest entry is made positive, so that E is unique.
    """
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1].clip(min=0), vectors[:, ::-1]
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.where(vectors[largest, np.arange(len(values))] < 0, -1, 1)
    return (basis @ (vectors * np.sqrt(values))).astype(np.float32)


def typical_variance(variance: Numbers) -> float:
    """Return the contraharmonic mean ΣKᵢᵢ² / ΣKᵢᵢ: the variance of the movies that have any.

    Unlike the median it does not sink with every rare movie that a catalogue adds.
    """
    total = float(variance.sum(dtype=np.float64))
    return float(np.square(variance, dtype=np.float64).sum()) / total if total > 0 else 0.0


def add_kinship(
    embedding: npt.NDArray[np.float32], features: Float64, *, strength: float = KINSHIP
) -> npt.NDArray[np.float32]:
    """Return E with the features (m, d) as further columns: movies of a kind are liked together, whoever rated them.

    They add to a movie's standard deviation in proportion to its own, so that what nobody likes stays unlikely.
    """
    if not features.shape[1] or strength == 0:
        return embedding
    variance = np.square(embedding, dtype=np.float64).sum(axis=1)
    scale = strength * np.sqrt(variance)
    return np.concatenate([embedding, (features * scale[:, None]).astype(np.float32)], axis=1)
