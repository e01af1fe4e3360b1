from __future__ import annotations

import numpy as np
import pytest

from nightreel.recommend.ratings import DatasetError, Likes, find_layout

LAYOUTS = [
    ("ratings.csv", "movies.csv", "MovieLens CSV"),
    ("u.data", "u.item", "MovieLens 100K"),
    ("ml-100k.inter", "ml-100k.item", "RecBole MovieLens 100K"),
]


@pytest.mark.parametrize(("ratings", "movies", "name"), LAYOUTS)
def test_find_layout_recognises(tmp_path, ratings, movies, name):
    (tmp_path / ratings).touch()
    (tmp_path / movies).touch()
    assert find_layout(tmp_path).name == name


@pytest.mark.parametrize(("ratings", "movies", "name"), LAYOUTS)
def test_find_layout_names_missing_movies(tmp_path, ratings, movies, name):
    (tmp_path / ratings).touch()
    with pytest.raises(DatasetError, match=f"has {ratings} but no {movies}"):
        find_layout(tmp_path)


def test_find_layout_says_what_is_supported(tmp_path):
    with pytest.raises(DatasetError, match=r"ratings\.csv and movies\.csv .* or u\.data and u\.item"):
        find_layout(tmp_path)
    with pytest.raises(DatasetError, match="there is no folder"):
        find_layout(tmp_path / "none")


def test_fingerprint_changes_with_either_file(tmp_path):
    (tmp_path / "ratings.csv").write_text("a")
    (tmp_path / "movies.csv").write_text("b")
    layout = find_layout(tmp_path)
    first = layout.fingerprint
    (tmp_path / "movies.csv").write_text("c")
    second = layout.fingerprint
    (tmp_path / "ratings.csv").write_text("d")
    assert len({first, second, layout.fingerprint}) == 3


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
