from __future__ import annotations

import numpy as np
import pytest

from nightreel.recommend.diversity import POOL, number_series, select_diverse, series_name


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Die Hard", "die hard"),
        ("Die Hard 2", "die hard"),
        ("Die Hard: With a Vengeance", "die hard"),
        ("Star Wars: Episode IV - A New Hope", "star wars"),
        ("The Godfather, Part II", "the godfather"),
        ("Rocky III", "rocky"),
        ("Harry Potter and the Goblet of Fire", "harry potter"),
        ("Kill Bill: Vol. 2", "kill bill"),
        ("2001: A Space Odyssey", "2001"),
        ("1984", "1984"),
        ("Up", "up"),
        ("The Matrix", "the matrix"),
    ],
)
def test_series_name(title, name):
    assert series_name(title) == name


def choose(values, *, embedding=None, series=None, allowed=None, count=10):
    values = np.asarray(values, np.float32)
    m = len(values)
    return select_diverse(
        values,
        allowed=np.ones(m, bool) if allowed is None else np.asarray(allowed),
        embedding=np.eye(m, dtype=np.float32) if embedding is None else embedding,
        series=np.arange(m, dtype=np.int32) if series is None else np.asarray(series, np.int32),
        count=count,
    )


def test_movies_that_differ_come_by_their_score():
    assert choose([0.2, 0.9, 0.5]).rows == [1, 2, 0]


def test_a_sequel_waits_for_others():
    assert choose([1.0, 0.99, 0.7, 0.65], series=[0, 0, 1, 2]).rows == [0, 2, 3, 1]


def test_movies_liked_by_the_same_people_wait_as_sequels_do():
    embedding = np.array([[1, 0], [1, 0.01], [0, 1]], np.float32)
    assert choose([1.0, 0.99, 0.7], embedding=embedding).rows == [0, 2, 1]


def test_a_sequel_is_held_back_but_not_banned():
    assert choose([1.0, 0.99, 0.2], series=[0, 0, 1]).rows == [0, 1, 2]


def test_only_allowed_rows_are_chosen():
    assert choose([1.0, 0.9, 0.8], allowed=[False, True, True]).rows == [1, 2]


def test_nothing_allowed_gives_nothing():
    assert choose([1.0, 0.9], allowed=[False, False]).rows == []


def test_a_longer_choice_begins_with_the_shorter_one():
    rng = np.random.default_rng(1)
    values, embedding = rng.normal(size=900), rng.normal(size=(900, 4)).astype(np.float32)
    series = rng.integers(0, 300, 900)
    ten, fifty = (choose(values, embedding=embedding, series=series, count=n).rows for n in (10, 50))
    assert fifty[:10] == ten


def test_what_lies_below_the_floor_has_no_say():
    rng = np.random.default_rng(2)
    values, embedding = rng.normal(size=900), rng.normal(size=(900, 4)).astype(np.float32)
    chosen = choose(values, embedding=embedding)
    above = values >= np.float32(chosen.floor) - 1e-6
    assert above.sum() == POOL
    assert choose(values, embedding=embedding, allowed=above).rows == chosen.rows


def test_scores_below_zero_are_held_back_too():
    assert choose([-0.1, -0.101, -0.12], series=[0, 0, 1]).rows == [0, 2, 1]


def test_number_series_is_equal_within_a_series():
    assert number_series(["Rocky", "Alien", "Rocky II"]).tolist() == [0, 1, 0]
