from __future__ import annotations

import numpy as np
import pytest

from nightreel.recommend import population
from nightreel.recommend.population import (
    Moments,
    add_kinship,
    describe_movies,
    share_variance,
    span_of,
    typical_variance,
)


def some_likes(
    seed: int, *, users: int = 40, movies: int = 12
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the dense matrix of likes (1) and half-likes (0.5), and the same as user, movie and value, shuffled."""
    rng = np.random.default_rng(seed)
    dense = rng.choice([0, 0, 0.5, 1], size=(users, movies))
    dense[:, 0] = 1
    rows, columns = np.nonzero(dense)
    order = rng.permutation(len(rows))
    return dense, rows[order], columns[order], dense[rows, columns][order]


def test_moments_are_the_weighted_mean_and_covariance():
    rng = np.random.default_rng(1)
    users, likes = rng.normal(size=(50, 4)), rng.integers(1, 30, 50)
    moments = Moments.of_users(users, likes, power=1)
    np.testing.assert_allclose(moments.mean, np.average(users, axis=0, weights=1 / likes))
    expected = np.cov(users.T, aweights=1 / likes, ddof=0)
    np.testing.assert_allclose(moments.covariance, expected, atol=1e-12)


def test_moments_add_up_over_partitions():
    rng = np.random.default_rng(2)
    users, likes = rng.normal(size=(50, 4)), rng.integers(1, 30, 50)
    whole = Moments.of_users(users, likes)
    parts = Moments.of_users(users[:20], likes[:20]) + Moments.of_users(users[20:], likes[20:])
    np.testing.assert_allclose(parts.covariance, whole.covariance, atol=1e-12)


@pytest.mark.parametrize("at_once", [1, 7, 50_000])
def test_moments_of_likes_are_those_of_the_dense_matrix(monkeypatch, at_once):
    monkeypatch.setattr(population, "ROWS_AT_ONCE", at_once)
    dense, users, movies, values = some_likes(3)
    basis = span_of(np.random.default_rng(3).normal(size=(12, 5)))
    found = Moments.of_likes(basis, users=users, movies=movies, values=values)
    expected = Moments.of_users(dense @ basis, dense.sum(axis=1))
    assert found.weight == pytest.approx(expected.weight)
    np.testing.assert_allclose(found.mean, expected.mean, atol=1e-12)
    np.testing.assert_allclose(found.covariance, expected.covariance, atol=1e-12)


def test_with_as_many_factors_as_movies_the_model_is_the_weighted_covariance_of_likes():
    dense, users, movies, values = some_likes(4)
    basis = span_of(np.random.default_rng(4).normal(size=(12, 12)))
    embedding = describe_movies(basis, Moments.of_likes(basis, users=users, movies=movies, values=values).covariance)
    expected = np.cov(dense.T, aweights=dense.sum(axis=1) ** -population.HEAVY_RATERS, ddof=0)
    np.testing.assert_allclose(embedding @ embedding.T, expected, atol=1e-5)


def test_relabelling_movies_changes_nothing():
    _, users, movies, values = some_likes(5)
    factors = np.random.default_rng(5).normal(size=(12, 4))
    features = np.random.default_rng(6).normal(size=(12, 2))
    order = np.random.default_rng(7).permutation(12)
    place = np.argsort(order)

    def similarity(y, rows, kinds):
        basis = span_of(y)
        moments = Moments.of_likes(basis, users=users, movies=rows, values=values)
        embedding = add_kinship(describe_movies(basis, moments.covariance), kinds)
        return embedding @ embedding.T

    before, after = similarity(factors, movies, features), similarity(factors[order], place[movies], features[order])
    np.testing.assert_allclose(after, before[np.ix_(order, order)], atol=1e-5)


def test_describe_movies_bears_fewer_users_than_factors():
    rng = np.random.default_rng(4)
    basis = span_of(rng.normal(size=(9, 8)))
    moments = Moments.of_users(rng.normal(size=(3, 8)), np.ones(3, int))
    embedding = describe_movies(basis, moments.covariance)
    assert np.isfinite(embedding).all()
    np.testing.assert_allclose(embedding @ embedding.T, basis @ moments.covariance @ basis.T, rtol=1e-3, atol=1e-5)


def test_span_bears_fewer_movies_than_factors():
    basis = span_of(np.ones((2, 4)))
    np.testing.assert_allclose(basis @ basis.T, np.eye(2))


def test_typical_variance_is_not_sunk_by_rare_movies():
    variance = np.array([0.2, 0.1])
    assert typical_variance(np.concatenate([variance, np.full(1000, 1e-6)])) == pytest.approx(
        typical_variance(variance), rel=0.01
    )


def test_kinship_adds_to_movies_of_a_kind_and_leaves_the_rest():
    embedding = np.random.default_rng(8).normal(size=(4, 3)).astype(np.float32)
    features = np.array([[0.5], [0.5], [-0.5], [0.0]])
    more = add_kinship(embedding, features) @ add_kinship(embedding, features).T - embedding @ embedding.T
    assert more[0, 1] > 0 > more[0, 2]
    np.testing.assert_allclose(more[3], 0, atol=1e-6)
    assert add_kinship(embedding, features[:, :0]) is embedding


def test_share_variance_finds_what_movies_have_in_common_and_what_each_has_alone(monkeypatch):
    monkeypatch.setattr(population, "OWN_NOISE", 1.0)
    monkeypatch.setattr(population, "NOISE_ROUNDS", 500)
    rng = np.random.default_rng(9)
    common, own = rng.normal(size=(12, 2)), rng.uniform(0.5, 2, 12)
    covariance = common @ common.T + np.diag(own)
    basis = span_of(np.linalg.eigh(covariance)[1][:, -2:])
    shared, alone = share_variance(basis, basis.T @ covariance @ basis, np.diag(covariance))
    np.testing.assert_allclose(np.diag(basis @ shared @ basis.T) + alone, np.diag(covariance), rtol=1e-9)
    assert np.abs(basis @ shared @ basis.T - common @ common.T).mean() < 0.5 * np.abs(np.diag(own)).mean()
    assert (alone > 0).all()


def test_share_variance_takes_nothing_away_where_nothing_is_alone():
    basis = span_of(np.random.default_rng(10).normal(size=(6, 3)))
    covariance = np.diag([3.0, 2.0, 1.0])
    variance = np.diag(basis @ covariance @ basis.T)
    shared, alone = share_variance(basis, covariance, variance)
    np.testing.assert_allclose(shared, covariance, atol=1e-9)
    np.testing.assert_allclose(alone, 0, atol=1e-9)
