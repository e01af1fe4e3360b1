"""How good models are, as numbers ready to be drawn: beside their baselines, and from night to night.

Evaluations come with a bundle, so nothing is taken for granted: what is no number is not drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OURS = "Nightreel"
FIGURES = (("ndcg", "all films"), ("tail_ndcg", "long tail"))
WIDTH, HEIGHT, MARGIN = 600, 110, 8
MOST_ROWS, MOST_LETTERS = 40, 80


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One figure of one model; `width` in percent of the longest bar there is."""

    kind: str
    value: float
    width: float


@dataclass(frozen=True, kw_only=True)
class QualityRow:
    """One model's figures."""

    name: str
    ours: bool
    bars: Sequence[Bar]
    recall: float | None
    shown: int | None


def number(value: Any) -> float | None:
    """Return a finite number ≥ 0, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) and found >= 0 else None


def quality_rows(evaluation: Iterable[Mapping[str, Any]]) -> list[QualityRow]:
    """Return one row per model of an evaluation, ours first as it stands there."""
    rows = list(evaluation)[:MOST_ROWS]
    values = [found for row in rows for key, _ in FIGURES if (found := number(row.get(key))) is not None]
    longest = max(values, default=0.0) or 1.0
    return [
        QualityRow(
            name=(name := str(row.get("model", "unnamed"))[:MOST_LETTERS]),
            ours=name.startswith(OURS),
            bars=[
                Bar(kind=kind, value=found, width=round(100 * found / longest, 2))
                for key, kind in FIGURES
                if (found := number(row.get(key))) is not None
            ],
            recall=number(row.get("recall")),
            shown=None if (shown := number(row.get("coverage"))) is None else int(shown),
        )
        for row in rows
    ]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line over the nights: SVG coordinates of its points, and its last value."""

    name: str
    source: str
    points: Sequence[tuple[float, float]]
    last: float

    @property
    def path(self) -> str:
        """The points as SVG writes them."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


def nightly_lines(evaluations: Sequence[Iterable[Mapping[str, Any]]]) -> list[Line]:
    """Return how NDCG@10 went from model to model, oldest first: our best position, and the best baseline."""
    series = {
        ("Nightreel", "ours"): [_best(evaluation, ours=True) for evaluation in evaluations],
        ("best baseline", "baseline"): [_best(evaluation, ours=False) for evaluation in evaluations],
    }
    highest = max((value for values in series.values() for value in values if value is not None), default=0.0) or 1.0
    step = (WIDTH - 2 * MARGIN) / max(len(evaluations) - 1, 1)

    def place(night: int, value: float) -> tuple[float, float]:
        return MARGIN + night * step, HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * value / highest

    lines = []
    for (name, source), values in series.items():
        known = [(night, value) for night, value in enumerate(values) if value is not None]
        if known:
            points = [place(night, value) for night, value in known]
            lines.append(Line(name=name, source=source, points=points, last=known[-1][1]))
    return lines


def _best(evaluation: Iterable[Mapping[str, Any]], *, ours: bool) -> float | None:
    rows = [row for row in evaluation if str(row.get("model", "")).startswith(OURS) == ours]
    return max((found for row in rows if (found := number(row.get("ndcg"))) is not None), default=None)
