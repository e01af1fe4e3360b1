"""One contract for every model: on a checkerboard of two crowds, a seed's crowd comes before the other."""

from __future__ import annotations

import numpy as np
import pytest

from nightreel.recommend.baselines import FactorCosine, ItemKNN, MostPopular, Ranker
from nightreel.recommend.evaluation import TasteRanker
from nightreel.recommend.population import Moments, describe_movies
from nightreel.recommend.ratings import Likes
from nightreel.recommend.taste_model import DEFAULT_PATH, TasteModel


def factorise(likes: Likes, rank: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Return user and movie factors of the like matrix by its singular values."""
    dense = np.zeros((likes.user_count, likes.movie_count))
    dense[likes.users, likes.movies] = 1
    left, values, right = np.linalg.svd(dense, full_matrices=False)
    return left[:, :rank] * values[:rank], right[:rank].T.astype(np.float32)


def rankers(likes: Likes) -> list[Ranker]:
    users, movies = factorise(likes)
    embedding, prior = describe_movies(movies, Moments.of_users(users, likes.activity))
    model = TasteModel(embedding=embedding, prior=prior, residual=np.zeros_like(prior), path=DEFAULT_PATH)
    ours = [TasteRanker(model, name=str(taste), taste=taste) for taste in (0.0, 0.25, 0.5, 1.0)]
    return [*ours, ItemKNN(likes), ItemKNN(likes, shrink=50), FactorCosine(movies)]


@pytest.mark.parametrize("which", range(7))
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
