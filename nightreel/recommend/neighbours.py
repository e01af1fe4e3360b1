"""The most similar movies of each movie, a tile of the correlation matrix at a time.

One product of matrices gives a tile; choosing from it must not cost more than making it. A plain partition of every
row does, many times over. So the columns of a tile are folded: every column of the fold holds the greatest of FOLD
correlations. A movie among the best is the greatest of its fold or stands beside one among the best, so only folds
that can beat what a row has already are looked into, and those are few after the first tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

BLOCK_ROWS = 128
TILE_COLUMNS = 16_384
"""A tile has 8 MiB: great enough for a fast product, small enough for a cache, whatever the number of movies."""
FOLD = 16


def unit_rows(embedding: Float32) -> Float32:
    """Scale each row to length 1, so that a product of two rows is their correlation; rows without variance stay 0."""
    lengths = np.linalg.norm(embedding, axis=1, keepdims=True)
    return np.divide(embedding, lengths, out=np.zeros_like(embedding), where=lengths > 0)


def neighbour_block(unit: Float32, *, start: int, stop: int, count: int) -> tuple[Int32, Float32]:
    """Return ids and correlations, both (stop − start, count), of the nearest movies of rows start to stop.

    `unit` is (m, f) with rows of length 1, may be a mapped file, and count < m. Best first, never the movie itself.
    Works on BLOCK_ROWS rows at a time.
    """
    ends = [(first, min(first + BLOCK_ROWS, stop)) for first in range(start, stop, BLOCK_ROWS)]
    blocks = [_nearest(unit, start=first, stop=last, count=count) for first, last in ends]
    return np.concatenate([ids for ids, _ in blocks]), np.concatenate([scores for _, scores in blocks])


def _nearest(unit: Float32, *, start: int, stop: int, count: int) -> tuple[Int32, Float32]:
    chosen = np.ascontiguousarray(unit[start:stop])
    best = _Best.none(len(chosen), count)
    tile = np.empty((len(chosen), _padded(min(TILE_COLUMNS, len(unit)))), np.float32)
    for left in range(0, len(unit), TILE_COLUMNS):
        right = min(left + TILE_COLUMNS, len(unit))
        correlations = tile[:, : _padded(right - left)]
        np.matmul(chosen, unit[left:right].T, out=correlations[:, : right - left])
        correlations[:, right - left :] = -np.inf
        own = np.arange(max(start, left), min(stop, right))
        correlations[own - start, own - left] = -np.inf
        best.improve(correlations, left=left)
    order = np.lexsort((best.ids, -best.scores), axis=1)
    return np.take_along_axis(best.ids, order, axis=1), np.take_along_axis(best.scores, order, axis=1).clip(-1, 1)


def _padded(columns: int) -> int:
    return -(-columns // FOLD) * FOLD


def _where(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """As `nonzero` of a matrix, several times faster."""
    found = np.flatnonzero(mask)
    row = found // mask.shape[1]
    return row, found - row * mask.shape[1]


@dataclass
class _Best:
    """The best of every row so far, in any order: ids and scores, both (rows, count)."""

    ids: Int32
    scores: Float32

    @classmethod
    def none(cls, rows: int, count: int) -> _Best:
        return cls(np.full((rows, count), -1, np.int32), np.full((rows, count), -np.inf, np.float32))

    def improve(self, correlations: Float32, *, left: int) -> None:
        """Take in a tile, (rows, a multiple of FOLD), whose first column is movie `left`."""
        rows, columns = correlations.shape
        folded = correlations.reshape(rows, FOLD, columns // FOLD)
        greatest = folded.max(axis=1)
        bound = self.scores.min(axis=1)
        count = self.ids.shape[1]
        if np.isneginf(bound).any() and greatest.shape[1] > count:
            # So many folds have one as good as this: what is worse can not be among the best.
            enough = np.partition(greatest, -count, axis=1)[:, -count]
            bound = np.maximum(bound, np.nextafter(enough, np.float32(-np.inf)))
        row, place = _where(greatest > bound[:, None])
        if not len(row):
            return
        values = folded[row, :, place]
        which, fold = _where(values > bound[row][:, None])
        owner = row[which]  # ascending, as `row` is
        counts = np.bincount(owner, minlength=rows)
        column = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        ids = np.full((rows, int(counts.max())), -1, np.int32)
        scores = np.full(ids.shape, -np.inf, np.float32)
        ids[owner, column] = left + place[which] + greatest.shape[1] * fold
        scores[owner, column] = values[which, fold]
        self._keep(ids, scores)

    def _keep(self, ids: Int32, scores: Float32) -> None:
        """Keep the best of what is there and what came."""
        count = self.ids.shape[1]
        ids, scores = np.hstack([self.ids, ids]), np.hstack([self.scores, scores])
        kept = np.argpartition(scores, scores.shape[1] - count, axis=1)[:, scores.shape[1] - count :]
        self.ids, self.scores = np.take_along_axis(ids, kept, axis=1), np.take_along_axis(scores, kept, axis=1)
