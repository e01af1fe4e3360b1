"""Search for the parameters of training: bounded, seeded, and resumed from the file that its results go to.

Each recipe is fitted without the held-out users and judged by the three-seed figures, like the model itself. It is
a choice among many on one split, so the winner's own figure flatters it a little; the model that is then trained is
evaluated on a split of its own seed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from nightreel.recommend.evaluation import FAMILIAR
from nightreel.recommend.taste_model import BALANCED

SPACE: Mapping[str, Sequence[float]] = {
    "rank": (32, 48, 64, 96, 128),
    "reg": (0.01, 0.03, 0.1, 0.3),
    "alpha": (0.5, 1.0, 2.0, 4.0, 8.0),
    "half_like": (0.0, 0.25, 0.5, 0.75),
    "kinship": (0.0, 0.5, 0.75, 1.0, 1.25),
}
"""What is tried of each parameter."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The parameters of training that a search may change."""

    rank: int
    reg: float
    alpha: float
    half_like: float
    kinship: float


def recipes(start: Recipe, *, count: int, seed: int) -> list[Recipe]:
    """Return `count` different recipes, the start first, the others drawn from SPACE; the same seed draws the same."""
    rng = np.random.default_rng(seed)
    limit = int(np.prod([len(values) for values in SPACE.values()]))
    found = [start]
    while len(found) < min(count, limit):
        drawn = {name: values[int(rng.integers(len(values)))] for name, values in SPACE.items()}
        recipe = replace(start, **drawn)  # type: ignore[arg-type]  # the space holds whole ranks
        if recipe not in found:
            found.append(recipe)
    return found


def score_of(evaluation: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return what a recipe is judged by, familiar over all movies and balanced in the tail, and the sum as `score`."""
    at = {row["taste"]: row for row in evaluation if row["taste"] is not None}
    ndcg, tail = float(at[FAMILIAR]["ndcg"] or 0), float(at[BALANCED]["tail_ndcg"] or 0)
    return {"ndcg": ndcg, "tail_ndcg": tail, "score": round(ndcg + tail, 4)}


def run_search(
    tried: Sequence[Recipe],
    judge: Callable[[Recipe], Sequence[Mapping[str, Any]]],
    *,
    results: Path,
    context: str,
    parallel: int,
) -> list[dict[str, Any]]:
    """Judge every recipe, `parallel` at a time, and return a row each, best first, equals in the order given.

    Each result is appended to the file `results` when it is there, under the name of its `context` (data and split);
    what the file already has of this context is not judged again. An error of a judge ends the search after those
    that run; what they found is kept.
    """
    done = {row["recipe"]: row for row in _read(results) if row["context"] == context}
    lock = Lock()
    results.parent.mkdir(parents=True, exist_ok=True)

    def judged(recipe: Recipe) -> None:
        row = {"context": context, "recipe": _name(recipe), **asdict(recipe), **score_of(judge(recipe))}
        with lock, results.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
            done[row["recipe"]] = row

    with ThreadPoolExecutor(max_workers=parallel) as pool:
        waiting = [pool.submit(judged, recipe) for recipe in tried if _name(recipe) not in done]
        try:
            for one in waiting:
                one.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    hidden = ("context", "recipe")
    rows = [{name: v for name, v in done[_name(recipe)].items() if name not in hidden} for recipe in tried]
    return sorted(rows, key=lambda row: -row["score"])


def recipe_of(row: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a row of results."""
    return Recipe(**{name: row[name] for name in Recipe.__dataclass_fields__})


def _name(recipe: Recipe) -> str:
    return json.dumps(asdict(recipe), sort_keys=True)


def _read(results: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a results file; a line that a kill cut off is as if it were not there."""
    if not results.is_file():
        return
    text = results.read_text()
    if text and not text.endswith("\n"):
        results.write_text(text[: text.rfind("\n") + 1])  # or the next result would join on to it
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and {"context", "recipe", "score"} <= row.keys():
            yield row
