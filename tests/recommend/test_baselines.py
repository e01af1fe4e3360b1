"""One contract for every model: on a checkerboard of two crowds, a seed's crowd comes before the other."""

from __future__ import annotations

import numpy as np
import pytest

from nightreel.recommend.baselines import Ease, FactorCosine, ItemKNN, MostPopular, Ranker
from nightreel.recommend.evaluation import TasteRanker
from nightreel.recommend.ratings import Likes
from tests.recommend.made_models import model_of


def rankers(likes: Likes) -> list[Ranker]:
    movies, model = model_of(likes)
    ours = [TasteRanker(model, name=str(taste), taste=taste) for taste in (0.0, 0.25, 0.5, 1.0)]
    ease = Ease(likes, regularisation=10)
    return [*ours, ItemKNN(likes), ItemKNN(likes, shrink=50), ease, FactorCosine(movies)]


@pytest.mark.parametrize("which", range(8))
@pytest.mark.parametrize("seeds", [[0], [3, 7], [12, 15, 19]])
def test_the_seeds_crowd_comes_first(checkerboard, which, seeds):
    ranker = rankers(checkerboard)[which]
    scores = np.array(ranker.scores_for(seeds), dtype=float)
    scores[seeds] = -np.inf
    crowd = seeds[0] // 10
    best = np.argsort(-scores, kind="stable")[: 10 - len(seeds)]
    assert {row // 10 for row in best.tolist()} == {crowd}, ranker.name


def test_most_popular_ranks_by_likes_whatever_the_seeds(checkerboard):
    scores = MostPopular(checkerboard).scores_for([0])
    np.testing.assert_array_equal(scores, checkerboard.popularity)


@pytest.mark.parametrize("shrink", [0, 10])
def test_item_knn_agrees_with_the_dense_formula(checkerboard, shrink):
    dense = np.zeros((60, 20))
    dense[checkerboard.users, checkerboard.movies] = 1
    together = dense.T @ dense
    norm = np.sqrt(np.diag(together))
    similarity = together / (np.outer(norm, norm) + shrink)
    np.fill_diagonal(similarity, 0)
    scores = ItemKNN(checkerboard, shrink=shrink).scores_for([2, 13])
    np.testing.assert_allclose(scores, similarity[2] + similarity[13], rtol=1e-5)


def test_ease_agrees_with_ridge_regression_on_the_other_movies(checkerboard):
    dense = np.zeros((60, 20))
    dense[checkerboard.users, checkerboard.movies] = 1
    scores = Ease(checkerboard, regularisation=5).scores_for([2])
    others = np.delete(dense, 7, axis=1)  # movie 7 by all others, of which 2 is the third
    weights = np.linalg.solve(others.T @ others + 5 * np.eye(19), others.T @ dense[:, 7])
    assert scores[7] == pytest.approx(weights[2], rel=1e-3)


def test_ease_gives_movies_that_nobody_likes_no_score(checkerboard):
    likes = Likes(checkerboard.users, 2 * checkerboard.movies, 60, 40)
    scores = Ease(likes, regularisation=5).scores_for([4, 5])
    np.testing.assert_allclose(scores[::2], Ease(checkerboard, regularisation=5).scores_for([2]), rtol=1e-5)
    assert not scores[1::2].any()
