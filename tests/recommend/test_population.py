from __future__ import annotations

import numpy as np

from nightreel.recommend.population import Moments, describe_movies


def test_moments_are_the_weighted_mean_and_covariance():
    rng = np.random.default_rng(1)
    users, likes = rng.normal(size=(50, 4)), rng.integers(1, 30, 50)
    moments = Moments.of_users(users, likes)
    np.testing.assert_allclose(moments.mean, np.average(users, axis=0, weights=1 / likes))
    expected = np.cov(users.T, aweights=1 / likes, ddof=0)
    np.testing.assert_allclose(moments.covariance, expected, atol=1e-12)


def test_moments_add_up_over_partitions():
    rng = np.random.default_rng(2)
    users, likes = rng.normal(size=(50, 4)), rng.integers(1, 30, 50)
    whole = Moments.of_users(users, likes)
    parts = Moments.of_users(users[:20], likes[:20]) + Moments.of_users(users[20:], likes[20:])
    np.testing.assert_allclose(parts.covariance, whole.covariance, atol=1e-12)


def test_describe_movies_factors_the_covariance():
    rng = np.random.default_rng(3)
    movies = rng.normal(size=(9, 5))
    moments = Moments.of_users(rng.normal(size=(40, 5)), np.ones(40, int))
    embedding, prior = describe_movies(movies, moments)
    np.testing.assert_allclose(embedding @ embedding.T, movies @ moments.covariance @ movies.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(prior, movies @ moments.mean, rtol=1e-5)


def test_describe_movies_bears_fewer_users_than_factors():
    rng = np.random.default_rng(4)
    movies = rng.normal(size=(9, 8))
    moments = Moments.of_users(rng.normal(size=(3, 8)), np.ones(3, int))
    embedding, _ = describe_movies(movies, moments)
    assert np.isfinite(embedding).all()
    np.testing.assert_allclose(embedding @ embedding.T, movies @ moments.covariance @ movies.T, rtol=1e-3, atol=1e-5)
