from __future__ import annotations

from threading import Barrier

import pytest

from nightreel.recommend.search import SPACE, Recipe, recipe_of, recipes, run_search

START = Recipe(rank=64, reg=0.03, alpha=1.0, half_like=0.5, kinship=1.0)


def evaluation(recipe):
    figure = recipe.rank / 1000 + recipe.reg / 10
    return [{"taste": 0.0, "ndcg": figure, "tail_ndcg": 0}, {"taste": 0.5, "ndcg": 0, "tail_ndcg": figure / 2}]


def test_recipes_begin_with_the_start_are_bounded_and_repeat_themselves():
    found = recipes(START, count=12, seed=1)
    assert found[0] == START
    assert len(set(found)) == 12
    assert found == recipes(START, count=12, seed=1) != recipes(START, count=12, seed=2)
    assert all(getattr(recipe, name) in values for recipe in found[1:] for name, values in SPACE.items())


def test_the_best_comes_first(tmp_path):
    tried = recipes(START, count=6, seed=1)
    rows = run_search(tried, evaluation, results=tmp_path / "found.jsonl", context="a", parallel=2)
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert recipe_of(rows[0]) == max(tried, key=lambda recipe: recipe.rank / 1000 + recipe.reg / 10)


def test_an_interrupted_search_goes_on_where_it_was(tmp_path):
    tried, results, asked = recipes(START, count=5, seed=1), tmp_path / "found.jsonl", []

    def dies_at_the_third(recipe):
        asked.append(recipe)
        if len(asked) >= 3:
            raise OSError("the executor is gone")
        return evaluation(recipe)

    with pytest.raises(OSError, match="executor"):
        run_search(tried, dies_at_the_third, results=results, context="a", parallel=1)
    with results.open("a") as file:
        file.write('{"context": "a", "recipe": "cut o')
    rest = []
    rows = run_search(tried, lambda r: rest.append(r) or evaluation(r), results=results, context="a", parallel=1)
    assert sorted(rest, key=tried.index) == tried[2:]
    assert len(rows) == 5
    assert run_search(tried, lambda recipe: pytest.fail("again"), results=results, context="a", parallel=1) == rows


def test_results_of_other_data_do_not_count(tmp_path):
    tried, results, asked = recipes(START, count=2, seed=1), tmp_path / "found.jsonl", []
    run_search(tried, evaluation, results=results, context="a", parallel=1)
    run_search(tried, lambda r: asked.append(r) or evaluation(r), results=results, context="b", parallel=1)
    assert asked == tried


def test_recipes_are_judged_side_by_side(tmp_path):
    meeting = Barrier(3)  # passes only when three judges are at work at once

    def judge(recipe):
        meeting.wait(timeout=30)
        return evaluation(recipe)

    tried = recipes(START, count=3, seed=1)
    assert len(run_search(tried, judge, results=tmp_path / "found.jsonl", context="a", parallel=3)) == 3
