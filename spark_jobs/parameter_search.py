"""Try parameters of training side by side on the executors; each fit spreads over all of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from pyspark.sql import DataFrame

import preferences
from nightreel.recommend.ratings import DatasetError
from nightreel.recommend.search import Recipe, recipe_of, recipes, run_search

Evaluate = Callable[[DataFrame, argparse.Namespace], list[dict[str, Any]]]


def use_the_best(
    ratings: DataFrame, options: argparse.Namespace, evaluate: Evaluate, *, context: str
) -> list[dict[str, Any]]:
    """Judge `options.search` recipes, set the options to the best and return the table, best first.

    The split is another than the one that the trained model is evaluated on. DatasetError when nobody can be asked.
    """

    def judge(recipe: Recipe) -> list[dict[str, Any]]:
        own = argparse.Namespace(**vars(options) | asdict(recipe) | {"seed": options.seed + 1})
        likes = preferences.graded(ratings, threshold=own.like_threshold, half=own.half_like).persist()
        rows = evaluate(likes, own)
        likes.unpersist()
        if not rows:
            raise DatasetError("too few users have enough likes to search for parameters; leave out --search")
        return rows

    start = Recipe(**{field.name: getattr(options, field.name) for field in fields(Recipe)})
    found = run_search(
        recipes(start, count=options.search, seed=options.seed),
        judge,
        results=options.search_results or options.out.with_suffix(".search.jsonl"),
        context=f"{context}, {options.iterations} rounds, likes from {options.like_threshold}, seed {options.seed}",
        parallel=options.search_parallel,
    )
    vars(options).update(asdict(recipe_of(found[0])))
    return found
