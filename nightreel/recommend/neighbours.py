"""The most similar movies of each movie, a block of rows at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

BLOCK_BYTES = 96 * 2**20
BYTES_PER_PAIR = 12
"""A block of correlations (float32) and their partial order (int64)."""


def unit_rows(embedding: Float32) -> Float32:
    """Scale each row to length 1, so that a product of two rows is their correlation; rows without variance stay 0."""
    lengths = np.linalg.norm(embedding, axis=1, keepdims=True)
    return np.divide(embedding, lengths, out=np.zeros_like(embedding), where=lengths > 0)


def block_rows(movies: int) -> int:
    """Return how many rows of the (movies × movies) matrix a block may have to stay within BLOCK_BYTES."""
    return max(1, BLOCK_BYTES // (BYTES_PER_PAIR * max(movies, 1)))


def neighbour_block(unit: Float32, *, start: int, stop: int, count: int) -> tuple[npt.NDArray[np.int32], Float32]:
    """Return ids and correlations, both (stop − start, count), of the nearest movies of rows start to stop.

    `unit` is (m, f) with rows of length 1 and count < m. Best first, equals by row, never the movie itself.
    """
    rows = np.arange(start, stop)
    correlations = unit[start:stop] @ unit.T
    correlations[np.arange(stop - start), rows] = -np.inf
    nearest = np.argpartition(-correlations, count - 1, axis=1)[:, :count]
    scores = np.take_along_axis(correlations, nearest, axis=1)
    order = np.lexsort((nearest, -scores), axis=1)
    ids = np.take_along_axis(nearest, order, axis=1).astype(np.int32)
    return ids, np.take_along_axis(scores, order, axis=1).clip(-1, 1)
