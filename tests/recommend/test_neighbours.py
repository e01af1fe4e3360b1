from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from nightreel.recommend import neighbours
from nightreel.recommend.neighbours import neighbour_block, unit_rows


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


@pytest.mark.parametrize(("tile", "rows"), [(64, 7), (80, 50), (512, 256), (16, 1)])
@pytest.mark.parametrize("movies", [97, 300])
def test_neighbour_block_agrees_whatever_the_tiles(monkeypatch, *, tile, rows, movies):
    monkeypatch.setattr(neighbours, "TILE_COLUMNS", tile)
    monkeypatch.setattr(neighbours, "BLOCK_ROWS", rows)
    unit = unit_rows(np.random.default_rng(2).normal(size=(movies, 6)).astype(np.float32))
    correlation = unit @ unit.T
    np.fill_diagonal(correlation, -np.inf)
    ids, scores = neighbour_block(unit, start=3, stop=90, count=20)
    np.testing.assert_allclose(scores, -np.sort(-correlation[3:90], axis=1)[:, :20], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(correlation[3:90], ids, axis=1), scores, rtol=1e-5, atol=1e-6)
    assert all(len(set(row)) == 20 for row in ids.tolist())


def test_neighbour_block_of_movies_that_are_all_alike(monkeypatch):
    monkeypatch.setattr(neighbours, "TILE_COLUMNS", 32)
    unit = unit_rows(np.ones((200, 3), np.float32))
    ids, scores = neighbour_block(unit, start=0, stop=200, count=10)
    assert not (ids == np.arange(200)[:, None]).any()
    assert ids.min() >= 0
    np.testing.assert_allclose(scores, 1, rtol=1e-6)


def test_neighbour_block_needs_no_more_memory_for_more_movies():
    def peak(movies: int) -> int:
        unit = unit_rows(np.random.default_rng(2).normal(size=(movies, 2)).astype(np.float32))
        tracemalloc.start()
        neighbour_block(unit, start=0, stop=64, count=5)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    assert peak(8 * neighbours.TILE_COLUMNS) < 1.2 * peak(2 * neighbours.TILE_COLUMNS)
