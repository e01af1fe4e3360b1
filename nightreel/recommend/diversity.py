"""Ten different movies rather than seven sequels.

Greedy selection by maximal marginal relevance (Carbonell & Goldstein 1998): each next movie is the one with the best
score after a penalty for resembling one that was chosen before it. Two movies resemble each other by the correlation of
their likes, and wholly when they belong to one series.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

POOL = 400
"""How many of the best movies compete; more than anybody turns pages for."""
ALIKE_FROM = 0.9
"""The correlation from which two movies count as alike; below it a movie is not held back at all."""
STRENGTH = 0.4
"""How far a wholly alike movie falls, in parts of the best score."""

_ENDING = re.compile(
    r"(\s*:.*|\s+-\s.*|\s+and the\s.*|,?\s+(part|vol\.?|volume|chapter|episode)\s.*|\s+\d{1,2}|\s+[ivx]{1,4})$",
    re.IGNORECASE,
)


def series_name(title: str) -> str:
    """Return what the titles of a series share: "Die Hard 2" and "Die Hard: With a Vengeance" are "die hard"."""
    name = title.strip()
    while (shorter := _ENDING.sub("", name)) and shorter != name:
        name = shorter
    return name.casefold()


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The chosen rows, best first, and the score below which nothing had a say in the choice."""

    rows: list[int]
    floor: float


def select_diverse(
    values: Float32,
    *,
    allowed: npt.NDArray[np.bool_],
    embedding: Float32,
    series: npt.NDArray[np.int32],
    count: int,
) -> Selection:
    """Choose up to `count` of the allowed rows; the first of a longer choice are those of a shorter one.

    `values` are scores (m,), `embedding` is (m, f), `series` has equal numbers (m,) for movies of one series.
    """
    pool = _best(values, allowed, POOL)
    if count < 1 or not len(pool):
        return Selection(rows=[], floor=np.inf)
    scores = values[pool].astype(np.float64)
    vectors, family = embedding[pool], series[pool]
    lengths = np.sqrt(np.einsum("if,if->i", vectors, vectors))[:, None]
    unit = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    strength = STRENGTH * abs(scores[0])
    alike = np.zeros(len(pool))
    chosen: list[int] = []
    for _ in range(min(count, len(pool))):
        left = scores - strength * alike
        left[chosen] = -np.inf
        best = int(left.argmax())
        chosen.append(best)
        near = np.minimum((unit @ unit[best] - ALIKE_FROM) / (1 - ALIKE_FROM), 1)
        near[family == family[best]] = 1
        np.maximum(alike, near, out=alike)  # what is negative in `near` stays below
    return Selection(rows=pool[chosen].tolist(), floor=float(scores[-1]) if len(pool) == POOL else -np.inf)


def _best(values: Float32, allowed: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.intp]:
    """Return the best allowed rows, best first, ties in row order."""
    open_values = np.where(allowed, values, -np.inf)
    last = np.partition(open_values, -count)[-count] if len(values) > count else -np.inf
    rows = np.flatnonzero(allowed & (open_values >= last))
    best: npt.NDArray[np.intp] = rows[np.lexsort((rows, -values[rows]))][:count]
    return best


def number_series(titles: Sequence[str]) -> npt.NDArray[np.int32]:
    """Return one number per title (m,), equal for titles of one series."""
    numbers: dict[str, int] = {}
    return np.fromiter((numbers.setdefault(series_name(title), len(numbers)) for title in titles), np.int32)
