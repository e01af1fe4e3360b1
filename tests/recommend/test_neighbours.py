from __future__ import annotations

import numpy as np
import pytest

from nightreel.recommend.neighbours import BLOCK_BYTES, BYTES_PER_PAIR, block_rows, neighbour_block, unit_rows


@pytest.mark.parametrize("step", [1, 4, 30])
def test_neighbour_blocks_agree_with_the_whole_matrix(step):
    embedding = np.random.default_rng(1).normal(size=(30, 5)).astype(np.float32)
    unit = unit_rows(embedding)
    covariance = embedding @ embedding.T
    deviation = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(deviation, deviation)
    np.fill_diagonal(correlation, -np.inf)
    for start in range(0, 30, step):
        stop = min(start + step, 30)
        ids, scores = neighbour_block(unit, start=start, stop=stop, count=6)
        np.testing.assert_array_equal(ids, np.argsort(-correlation[start:stop], axis=1)[:, :6])
        np.testing.assert_allclose(scores, -np.sort(-correlation[start:stop], axis=1)[:, :6], rtol=1e-5)


def test_neighbour_block_with_all_other_movies():
    unit = unit_rows(np.eye(3, dtype=np.float32))
    ids, scores = neighbour_block(unit, start=0, stop=3, count=2)
    assert ids.tolist() == [[1, 2], [0, 2], [0, 1]]
    assert not scores.any()


def test_a_movie_without_variance_is_correlated_with_nothing():
    embedding = np.array([[1, 0], [0, 0], [1, 1]], np.float32)
    ids, scores = neighbour_block(unit_rows(embedding), start=1, stop=2, count=2)
    assert ids.tolist() == [[0, 2]]
    assert scores.tolist() == [[0, 0]]


def test_block_rows_keep_a_block_within_its_memory():
    assert block_rows(62_000) * 62_000 * BYTES_PER_PAIR <= BLOCK_BYTES
    assert block_rows(10**9) == 1
