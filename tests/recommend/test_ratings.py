from __future__ import annotations

import numpy as np

from nightreel.recommend.ratings import Likes


def test_likes_sort_pairs_and_drop_repeats():
    likes = Likes.from_pairs(np.array([1, 0, 1]), np.array([2, 1, 2]), user_count=2, movie_count=3)
    assert list(zip(likes.users.tolist(), likes.movies.tolist(), strict=True)) == [(0, 1), (1, 2)]


def test_likes_agree_with_the_dense_matrix():
    dense = np.random.default_rng(3).random((30, 12)) < 0.3
    users, movies = np.nonzero(dense)
    likes = Likes.from_pairs(users, movies, user_count=30, movie_count=12)
    together = dense.T.astype(int) @ dense
    np.testing.assert_array_equal(likes.popularity, dense.sum(axis=0))
    np.testing.assert_array_equal(likes.activity, dense.sum(axis=1))
    for movie in range(12):
        np.testing.assert_array_equal(likes.fans_of(movie), np.flatnonzero(dense[:, movie]))
        np.testing.assert_array_equal(likes.co_occurrence(movie), together[movie])
    np.testing.assert_array_equal(likes.movies_of(4), np.flatnonzero(dense[4]))
