"""How tastes vary in the population, and what that says of each movie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Weighted sums over users, which add up over partitions: w, Σ wᵤuᵤ of shape (f,) and Σ wᵤuᵤuᵤᵀ of shape (f, f)."""

    weight: float
    first: Float64
    second: Float64

    @classmethod
    def of_users(cls, factors: npt.NDArray[np.floating], likes: npt.NDArray[np.integer]) -> Self:
        """Sum up user factors (n, f), weighted by 1 / their likes: heavy raters tell less per like."""
        weights = 1 / np.asarray(likes, dtype=np.float64)
        values = np.asarray(factors, dtype=np.float64)
        weighted = values * weights[:, None]
        return cls(float(weights.sum()), weighted.sum(axis=0), weighted.T @ values)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.weight + other.weight, self.first + other.first, self.second + other.second)

    @property
    def mean(self) -> Float64:
        """μ, shape (f,)."""
        return self.first / self.weight

    @property
    def covariance(self) -> Float64:
        """Σ, shape (f, f); singular when there are no more users than factors."""
        return self.second / self.weight - np.outer(self.mean, self.mean)


def describe_movies(
    factors: npt.NDArray[np.floating], moments: Moments
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the embedding E (m, f) with E Eᵀ = Y Σ Yᵀ and the prior Y μ (m,) of movie factors Y (m, f).

    E = Y Σ^½ by the eigenvectors of Σ, strongest first, with eigenvalues that rounding made negative clipped at 0
    (Cholesky fails where Σ is singular). Each eigenvector's largest entry is made positive, so that E is unique.
    """
    values, vectors = np.linalg.eigh(moments.covariance)
    values, vectors = values[::-1].clip(min=0), vectors[:, ::-1]
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.where(vectors[largest, np.arange(len(values))] < 0, -1, 1)
    movies = np.asarray(factors, dtype=np.float64)
    embedding = movies @ (vectors * np.sqrt(values))
    return embedding.astype(np.float32), (movies @ moments.mean).astype(np.float32)
