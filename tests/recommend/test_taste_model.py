from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightreel.bundle.taste_path import TastePath, TastePoint
from nightreel.recommend.taste_model import TasteModel, parse_taste

KIN = 2
PATH = TastePath(
    offset=0.1,
    points=[
        TastePoint(taste=0.0, beta=1.0, eta=0.0, noise=0.01, kinship=0.6),
        TastePoint(taste=0.5, beta=0.3, eta=0.25, noise=0.02, kinship=1.0),
        TastePoint(taste=1.0, beta=0.0, eta=0.5, noise=0.05, kinship=1.5),
    ],
    kinship_columns=KIN,
)
PULL = {1.0: -1.0, 2.0: -0.5, 3.0: 0.0, 4.0: 0.5, 5.0: 1.0}


def random_model(seed: int, *, movies: int = 12, factors: int = 4) -> TasteModel:
    rng = np.random.default_rng(seed)
    return TasteModel(
        embedding=rng.normal(scale=0.3, size=(movies, factors)).astype(np.float32),
        prior=rng.uniform(0, 0.9, movies).astype(np.float32),
        residual=rng.uniform(0, 0.05, movies).astype(np.float32),
        path=PATH,
    )


def embedding_at(model: TasteModel, taste: float) -> np.ndarray:
    """Return E in float64 with its kinship columns multiplied as the slider says: K = E Eᵀ."""
    e = model.embedding.astype(np.float64)
    e[:, -KIN:] *= PATH.at(taste).kinship
    return e


def posterior_mean(model: TasteModel, *, seeds: list[int], ratings: list[float], noise: float) -> np.ndarray:
    """Condition the joint Gaussian of all movies and all seed ratings in float64, by its full precision matrix."""
    e = embedding_at(model, 0.0)
    prior = model.prior.astype(np.float64)
    f = e.shape[1]
    # Latent z ~ N(0, I_f); rating j observes e_q·z with its own noise: a Bayesian linear regression.
    spread = noise + model.residual[seeds].astype(np.float64)
    target = np.array([PULL[r] for r in ratings]) * (1 - prior[seeds])
    precision = np.eye(f) + (e[seeds].T / spread) @ e[seeds]
    z = np.linalg.inv(precision) @ (e[seeds].T / spread) @ target
    return prior + e @ z


visits = st.integers(1, 5).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 11), min_size=n, max_size=n, unique=True),
        st.lists(st.sampled_from(sorted(PULL)), min_size=n, max_size=n),
    )
)


@given(seed=st.integers(0, 10_000), visit=visits)
@settings(deadline=None, max_examples=100)
def test_score_familiar_is_the_gaussian_posterior_mean(seed, visit):
    model = random_model(seed)
    seeds, ratings = visit
    scores = model.score(seeds=seeds, ratings=ratings, taste=0.0)
    expected = posterior_mean(model, seeds=seeds, ratings=ratings, noise=0.01)
    np.testing.assert_allclose(scores.values, expected, rtol=2e-4, atol=2e-5)


@given(seed=st.integers(0, 10_000), visit=visits, taste=st.floats(0, 1))
@settings(deadline=None, max_examples=100)
def test_shares_add_up_to_the_score_everywhere_on_the_slider(seed, visit, taste):
    model = random_model(seed)
    seeds, ratings = visit
    point = PATH.at(taste)
    scores = model.score(seeds=seeds, ratings=ratings, taste=taste)
    e = embedding_at(model, taste)
    for row in range(12):
        reason = scores.reason(row)
        own = float(e[row] @ e[row]) + model.offset
        whole = float(scores.values[row]) * own**point.eta
        assert np.isclose(reason.prior, point.beta * model.prior[row], rtol=1e-5, atol=1e-7)
        assert np.isclose(whole, reason.prior + sum(reason.seeds), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("taste", [0.0, 0.3, 0.5, 1.0])
def test_a_three_alone_moves_nothing(taste):
    model = random_model(1)
    with_three = model.score(seeds=[4], ratings=[3], taste=taste).values
    np.testing.assert_array_equal(with_three, model.score(seeds=[], ratings=[], taste=taste).values)


@pytest.mark.parametrize("prior", [0.001, 0.5, 0.95])
@pytest.mark.parametrize("taste", [0.0, 0.5, 1.0])
def test_a_one_lowers_its_neighbours_however_popular_it_is(prior, taste):
    model = random_model(2)
    model.prior = model.prior.copy()
    model.prior[4] = prior
    lift = (
        model.score(seeds=[4], ratings=[1], taste=taste).values - model.score(seeds=[], ratings=[], taste=taste).values
    )
    e = embedding_at(model, taste)
    covariance = e @ e[4]
    assert (np.sign(lift) == -np.sign(covariance)).all()


def test_films_of_a_kind_come_nearer_along_the_slider():
    # Two films that nobody has liked together share the kinship columns alone.
    embedding = np.array([[1, 0, 0.5, 0], [0, 1, 0.5, 0], [0, 1, 0, 0.5]], np.float32)
    prior = np.zeros(3, np.float32)
    model = TasteModel(embedding=embedding, prior=prior, residual=np.zeros_like(prior), path=PATH)
    shares = [model.score(seeds=[0], ratings=[5], taste=taste).reason(1).seeds[0] for taste in (0.0, 0.5, 1.0)]
    assert 0 < shares[0] < shares[1] < shares[2]
    assert model.score(seeds=[0], ratings=[5], taste=1.0).reason(2).seeds[0] == 0


def test_a_prior_above_one_turns_no_like_into_a_dislike():
    model = random_model(3)
    model.prior = np.full(12, 1.2, np.float32)
    liked = model.score(seeds=[4], ratings=[5], taste=0.0).values
    np.testing.assert_array_equal(liked, model.prior)


def test_residual_variance_makes_a_seed_say_less():
    model = random_model(4)
    clear = model.score(seeds=[4], ratings=[5], taste=1.0).reason(5).seeds[0]
    model.residual = np.full(12, 10.0, np.float32)
    vague = model.score(seeds=[4], ratings=[5], taste=1.0).reason(5).seeds[0]
    assert 0 < abs(vague) < abs(clear) / 2


def test_top_is_best_first_without_the_seeds():
    model = random_model(5)
    scores = model.score(seeds=[2, 7], ratings=[5, 4], taste=0.5)
    order = [row for row in np.argsort(-scores.values, kind="stable").tolist() if row not in (2, 7)]
    assert scores.top(4) == order[:4]
    assert scores.top(100) == order
    assert scores.top(0) == []


def test_top_breaks_ties_by_row():
    model = random_model(6)
    scores = model.score(seeds=[0], ratings=[5], taste=0.5)
    scores.values[:] = 1.0
    scores.values[9] = 2.0
    assert scores.top(4) == [9, 1, 2, 3]


def test_a_model_without_variance_answers_with_finite_scores():
    model = TasteModel(
        embedding=np.zeros((3, 2), np.float32),
        prior=np.full(3, 0.5, np.float32),
        residual=np.zeros(3, np.float32),
        path=PATH,
    )
    assert np.isfinite(model.score(seeds=[0], ratings=[5], taste=1.0).values).all()


@pytest.mark.parametrize(
    ("seeds", "ratings", "taste", "sentence"),
    [
        ([1, 1], [5, 5], 0.5, "named twice"),
        ([1], [5, 5], 0.5, "as many ratings"),
        ([12], [5], 0.5, "outside of 0 to 11"),
        ([-1], [5], 0.5, "outside of 0 to 11"),
        ([1], [6], 0.5, "stars"),
        ([1], [float("nan")], 0.5, "stars"),
        ([1], [5], 1.5, "taste"),
    ],
)
def test_score_refuses(seeds, ratings, taste, sentence):
    with pytest.raises(ValueError, match=sentence):
        random_model(7).score(seeds=seeds, ratings=ratings, taste=taste)


@pytest.mark.parametrize(
    ("text", "taste"), [("familiar", 0.0), ("balanced", 0.5), ("adventurous", 1.0), ("0.25", 0.25)]
)
def test_parse_taste_knows_names_and_numbers(text, taste):
    assert parse_taste(text) == taste


@pytest.mark.parametrize("text", ["", "wild", "1.1", "-0.1", "nan", "inf"])
def test_parse_taste_refuses(text):
    with pytest.raises(ValueError, match="neither one of familiar"):
        parse_taste(text)


def test_a_stranger_is_the_same_for_the_same_draw():
    model = TasteModel(
        embedding=np.random.default_rng(3).normal(size=(6, 3)).astype(np.float32),
        prior=np.linspace(0.4, 0.1, 6, dtype=np.float32),
        residual=np.zeros(6, np.float32),
        path=PATH,
    )
    first, again, other = (model.score_stranger(draw=draw, taste=0.5).values for draw in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_likeness_is_the_correlation_drawn_to_nothing_where_little_is_known():
    embedding = np.array([[1, 0], [1, 0], [0.001, 0], [0, 1]], np.float32)
    model = TasteModel(embedding=embedding, prior=np.zeros(4, np.float32), residual=np.zeros(4, np.float32), path=PATH)
    alike = model.likeness(0)
    assert alike[1] > 0.9
    assert 0 < alike[2] < 0.05
    assert alike[3] == 0
