from __future__ import annotations

from typing import Any

import pytest

from nightreel.bundle.schema import BundleMetadata
from nightreel.recommend.gate import judge


def row(model: str, taste: float | None, ndcg: float, tail: float, **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "model": model,
        "taste": taste,
        "ndcg": ndcg,
        "tail_ndcg": tail,
        "ndcg_error": 0.01,
        "tail_ndcg_error": 0.01,
        "users": 100,
        "tail_users": 100,
        "protocol": "one",
    }
    return fields | changes


def bundle(*rows: dict[str, Any], name: str = "ml-latest-small", **facts: Any) -> BundleMetadata:
    return BundleMetadata(
        run_id="r",
        created="2026-01-01T00:00:00Z",
        dataset={"name": name, **facts},
        parameters={},
        versions={},
        evaluation=list(rows),
        taste={},
        code_revision="unknown",
    )


def ours(familiar: float = 0.45, tail: float = 0.21, **changes: Any) -> list[dict[str, Any]]:
    return [
        row("Nightreel, familiar", 0.0, familiar, 0.19, **changes),
        row("Nightreel, balanced", 0.5, 0.35, tail, **changes),
    ]


def test_judge_passes_what_no_baseline_beats():
    verdict = judge(bundle(*ours(), row("ItemKNN", None, 0.44, 0.20)), None)
    assert verdict.passed
    assert "0.450 familiar" in verdict.reason


@pytest.mark.parametrize(
    ("ndcg", "tail", "passed", "named"),
    [
        (0.469, 0.20, True, ""),
        (0.471, 0.20, False, "ItemKNN has NDCG@10 0.471, the model 0.450 (familiar, over all movies)"),
        (0.44, 0.229, True, ""),
        (0.44, 0.231, False, "ItemKNN has NDCG@10 0.231, the model 0.210 (balanced, in the long tail)"),
    ],
)
def test_judge_refuses_what_a_baseline_beats_beyond_noise(ndcg, tail, passed, named):
    verdict = judge(bundle(*ours(), row("ItemKNN", None, ndcg, tail)), None)
    assert verdict.passed is passed
    assert named in verdict.reason


@pytest.mark.parametrize(
    ("before", "passed"), [((0.45, 0.21), True), ((0.458, 0.21), True), ((0.47, 0.21), False), ((0.45, 0.22), False)]
)
def test_judge_refuses_a_fall_of_more_than_two_percent(before, passed):
    verdict = judge(bundle(*ours()), bundle(*ours(*before)))
    assert verdict.passed is passed
    assert passed or "fell by" in verdict.reason


def test_judge_compares_only_what_was_evaluated_alike():
    candidate = bundle(*ours())
    assert judge(candidate, bundle(*ours(0.9, 0.9), name="ml-32m")).passed
    assert judge(candidate, bundle(*ours(0.9, 0.9, protocol="two"))).passed
    assert judge(candidate, bundle()).passed


def test_judge_refuses_a_model_without_evaluation():
    verdict = judge(bundle(), None)
    assert not verdict.passed
    assert "without evaluation" in verdict.reason


def test_judge_passes_tiny_data_and_says_so():
    few = [*ours(0.1, None, users=12, tail_users=0), row("ItemKNN", None, 0.9, 0.9)]  # type: ignore[arg-type]
    verdict = judge(bundle(*few), None)
    assert verdict.passed
    assert "too few" in verdict.reason


FACTS = {
    "ratings": 1000,
    "users": 100,
    "movies": 50,
    "histogram": {"1": 100, "3": 300, "5": 600},
    "duplicates": 10,
}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, None),
        ({"ratings": 950, "users": 101, "movies": 55}, None),
        ({"ratings": 899}, "the ratings to train on fell from 1,000 to 899"),
        ({"users": 80}, "the users to train on fell from 100 to 80"),
        ({"movies": 40}, "the movies to train on fell from 50 to 40"),
        ({"users": 201}, "the users to train on rose from 100 to 201"),
        ({"histogram": {"1": 100, "3": 200, "5": 700}}, None),
        ({"histogram": {"1": 300, "3": 300, "5": 400}}, "20% of the ratings moved to other stars"),
        ({"histogram": {"10": 1000}}, "100% of the ratings moved to other stars"),
        ({"duplicates": 60}, None),
        ({"duplicates": 200}, "rose from 1.0% to 16.7% of the input"),
    ],
)
def test_judge_refuses_an_input_that_changed_suspiciously(change, named):
    verdict = judge(bundle(*ours(), **(FACTS | change)), bundle(*ours(), **FACTS))
    assert verdict.passed is (named is None)
    assert (named or "Passed") in verdict.reason


def test_judge_compares_the_input_of_one_data_set_only():
    shrunk = bundle(*ours(), **FACTS | {"ratings": 10})
    assert judge(shrunk, bundle(*ours(), name="ml-32m", **FACTS)).passed
    assert judge(shrunk, bundle(*ours())).passed  # published before such facts were noted
    assert judge(shrunk, None).passed


def test_judge_tells_what_was_overridden():
    verdict = judge(bundle(), None, override=True)
    assert verdict.passed
    assert "overridden" in verdict.reason
    assert "without evaluation" in verdict.reason


def test_an_override_changes_nothing_for_a_model_that_passes():
    assert judge(bundle(*ours()), None, override=True) == judge(bundle(*ours()), None)
