from __future__ import annotations

import numpy as np
import pytest

from nightreel.recommend.baselines import MostPopular
from nightreel.recommend.evaluation import (
    MAX_QUERIES,
    MIN_TARGETS,
    SEEDS,
    TRIPLES_PER_USER,
    Query,
    best_rows,
    evaluate,
    head_of,
    judge_ranker,
    quality_table,
    split_users,
    standard_error,
)
from nightreel.recommend.ratings import Likes
from tests.recommend.made_models import model_of

NOTHING = np.zeros(20, dtype=bool)


class Fixed:
    """A ranker that answers with the rows that it is given, best first."""

    name = "fixed"

    def __init__(self, *rows):
        self.scores = np.zeros(20)
        self.scores[list(rows)] = np.arange(len(rows), 0, -1)

    def scores_for(self, seeds):
        return self.scores


def query(*targets, seeds=(0, 1, 2), user=0):
    return Query(user, np.array(seeds), np.array(targets))


def test_split_holds_out_a_fifth_and_repeats_itself(checkerboard):
    split = split_users(checkerboard, seed=1)
    asking = {q.user for q in split.queries}
    assert len(asking) == 12
    assert not asking & set(split.training.users.tolist())
    assert len(split.training) == sum(checkerboard.activity[u] for u in range(60) if u not in asking)
    again = split_users(checkerboard, seed=1)
    assert [q.seeds.tolist() for q in split.queries] == [q.seeds.tolist() for q in again.queries]
    assert {q.user for q in split_users(checkerboard, seed=2).queries} != asking


def test_split_hardly_changes_when_a_user_joins(checkerboard):
    users, movies = np.append(checkerboard.users, [60] * 10), np.append(checkerboard.movies, np.arange(0, 20, 2))
    joined = Likes.from_pairs(users, movies, user_count=61, movie_count=20)
    was, now = (
        {(q.user, n % TRIPLES_PER_USER): q.seeds.tolist() for n, q in enumerate(split_users(likes, seed=1).queries)}
        for likes in (checkerboard, joined)
    )
    stayed = was.keys() & now.keys()
    assert len(stayed) >= (12 - 1) * TRIPLES_PER_USER
    assert {key: was[key] for key in stayed} == {key: now[key] for key in stayed}


def test_models_judged_by_different_users_are_told_apart(checkerboard):
    one, same, other = (split_users(checkerboard, seed=seed).protocol for seed in (1, 1, 2))
    assert one == same != other


def test_split_asks_with_all_of_a_users_likes(checkerboard):
    split = split_users(checkerboard, seed=1)
    assert len(split.queries) == 12 * TRIPLES_PER_USER
    for q in split.queries:
        assert len(q.seeds) == SEEDS
        assert sorted([*q.seeds, *q.targets]) == checkerboard.movies_of(q.user).tolist()


def test_split_leaves_out_users_with_few_likes():
    users = np.repeat(np.arange(50), SEEDS + MIN_TARGETS - 1)
    movies = np.tile(np.arange(SEEDS + MIN_TARGETS - 1), 50)
    likes = Likes.from_pairs(users, movies, user_count=50, movie_count=20)
    assert split_users(likes, seed=1).queries == []


def test_split_bounds_the_queries():
    many = MAX_QUERIES * 6
    users, movies = np.repeat(np.arange(many), 8), np.tile(np.arange(8), many)
    likes = Likes.from_pairs(users, movies, user_count=many, movie_count=20)
    assert len(split_users(likes, seed=1).queries) == MAX_QUERIES


def test_judge_gives_one_for_the_perfect_order():
    judged = judge_ranker(Fixed(3, 4, 5, 6, 7), [query(3, 4, 5, 6, 7)], hidden=NOTHING)
    assert judged.ndcg.tolist() == [1.0]
    assert judged.recall.tolist() == [1.0]
    assert judged.shown == 10


def test_judge_discounts_by_rank():
    judged = judge_ranker(Fixed(10, 3), [query(3, 4, 5, 6, 7, seeds=(0, 1, 8))], hidden=NOTHING)
    gains = 1 / np.log2(np.arange(2, 12))
    order = [10, 3, 2, 4, 5, 6, 7, 9, 11, 12]  # ties by row, without the seeds
    found = np.isin(order, [3, 4, 5, 6, 7])
    assert judged.ndcg[0] == pytest.approx((found * gains).sum() / gains[:5].sum())


def test_judge_takes_the_head_out_of_answers_and_targets():
    hidden = NOTHING.copy()
    hidden[[3, 4]] = True
    judged = judge_ranker(Fixed(3, 4, 5, 6, 7), [query(3, 4, 5, 6, 7), query(3, 4, 5, 6, 9)], hidden=hidden)
    assert judged.ndcg[0] == 1.0
    only_two_left = judge_ranker(Fixed(3), [query(3, 4, 5, 6)], hidden=hidden)
    assert len(only_two_left.ndcg) == 0


def test_best_rows_breaks_ties_by_row_and_leaves_out():
    excluded = NOTHING.copy()
    excluded[2] = True
    assert best_rows(np.ones(20), excluded).tolist() == [0, 1, 3, 4, 5, 6, 7, 8, 9, 10]
    assert best_rows(np.ones(3), np.array([False, True, False])).tolist() == [0, 2]


def test_head_holds_a_third_of_the_likes():
    assert np.flatnonzero(head_of(np.array([1, 50, 1, 30, 18]))).tolist() == [1]
    assert np.flatnonzero(head_of(np.full(10, 10))).tolist() == [0, 1, 2, 3]


def test_standard_error_counts_a_user_once():
    rng = np.random.default_rng(1)
    differences = rng.normal(size=400)
    independent = standard_error(np.arange(400), differences)
    assert independent == pytest.approx(differences.std(ddof=1) / 20, rel=1e-6)
    # The same 400 numbers five times over tell nothing new.
    repeated = standard_error(np.repeat(np.arange(400), 5), np.repeat(differences, 5))
    assert repeated == pytest.approx(independent, rel=1e-6)
    assert standard_error(np.zeros(3, int), np.ones(3)) is None


def test_evaluate_has_a_row_per_model_and_ours_wins_on_the_checkerboard(checkerboard):
    split = split_users(checkerboard, seed=1)
    training = split.training
    factors, model = model_of(training)
    rows = evaluate(split, model=model, factors=factors)
    assert [row["taste"] for row in rows] == [0.0, 0.5, 0.75, 1.0, None, None, None, None, None]
    by_name = {row["model"]: row for row in rows}
    popular = by_name["most popular"]
    assert by_name["Nightreel, balanced"]["ndcg"] > popular["ndcg"] + 3 * popular["ndcg_error"] > 0
    assert by_name["Nightreel, familiar"]["ndcg_error"] == 0
    assert all(row["users"] == 12 for row in rows)
    assert popular["ndcg_low"] < popular["ndcg"] < popular["ndcg_high"]
    alone = judge_ranker(MostPopular(training), split.queries, hidden=NOTHING)
    assert popular["ndcg"] == round(float(alone.ndcg.mean()), 4)
    table = quality_table(rows)
    assert len(table) == 10
    assert {len(line) for line in table} == {7}
