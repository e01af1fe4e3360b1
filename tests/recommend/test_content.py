from __future__ import annotations

import numpy as np

from nightreel.recommend.content import features_of, movie_features
from nightreel.recommend.titles import Movie

GENRES = [["Drama"], ["Drama", "Horror"], ["Drama"], ["Children", "Drama"], ["Children", "Drama"], []]
YEARS = [1990, 1991, 1950, 1990, 1950, None]


def test_movies_of_a_rare_genre_are_closer_than_those_of_a_common_one():
    alike = movie_features(GENRES, [None] * 6)
    alike = alike @ alike.T
    assert alike[3, 4] > alike[0, 2]
    assert alike[3, 4] > 0 > alike[1, 3]


def test_movies_of_the_same_years_are_close():
    alike = movie_features([[]] * 6, YEARS)
    alike = alike @ alike.T
    assert alike[0, 1] > 0 > alike[0, 2]


def test_a_movie_of_which_nothing_is_known_is_like_no_other():
    np.testing.assert_allclose(movie_features(GENRES, YEARS)[5], 0)


def test_movies_that_nothing_tells_apart_have_no_features():
    assert movie_features([["Drama"]] * 4, [2000] * 4).shape == (4, 0)
    assert movie_features([], []).shape == (0, 0)


def test_features_of_takes_movies_by_id():
    movies = {7: Movie(title="A", year=1950, genres=("Drama",)), 9: Movie(title="B", year=1990, genres=("War",))}
    features = features_of(np.array([7, 8, 9]), movies)
    np.testing.assert_allclose(features[1], 0)
    assert features[0] @ features[2] < 0
