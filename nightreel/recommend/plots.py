"""Plots as inline SVG: no script, no font, nothing that is fetched. Colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LABELS, VALUES = 720, 210, 70
BAR, GAP = 18, 8
HEIGHT, MARGIN = 260, 46
NAMES = 190


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: what it is, its value, what to write behind it, and an interval where one is known."""

    label: str
    value: float | None
    text: str
    low: float | None = None
    high: float | None = None
    strong: bool = False


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Draw horizontal bars from nought, one below the other; a missing value has its text alone."""
    ends = [end for row in rows for end in (row.value, row.high) if end is not None]
    longest = max([*ends, 0.0]) or 1.0
    scale = (WIDTH - LABELS - VALUES) / longest
    height = len(rows) * (BAR + GAP) + GAP
    parts = [_bar(row, GAP + place * (BAR + GAP), scale) for place, row in enumerate(rows)]
    return _svg(title, height, "".join(parts))


def _bar(row: Bar, top: float, scale: float) -> str:
    middle = top + BAR / 2
    value = max(row.value or 0.0, 0.0)
    kind = "bar strong" if row.strong else "bar"
    end = LABELS + max(value, row.high or 0.0) * scale
    parts = [
        f'<text class="label" x="{LABELS - 8}" y="{middle:.1f}">{escape(row.label)}</text>',
        f'<rect class="{kind}" x="{LABELS}" y="{top:.1f}" width="{value * scale:.1f}" height="{BAR}"/>',
        f'<text class="value" x="{end + 8:.1f}" y="{middle:.1f}">{escape(row.text)}</text>',
    ]
    if row.low is not None and row.high is not None:
        left, right = LABELS + max(row.low, 0.0) * scale, LABELS + row.high * scale
        parts.append(f'<path class="interval" d="M{left:.1f} {middle:.1f}H{right:.1f}"/>')
    return "".join(parts)


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One point: its place and what it is."""

    label: str
    x: float
    y: float
    strong: bool = False


def dots(title: str, points: Sequence[Dot], *, x_label: str, y_label: str) -> str:
    """Draw points in a plane that holds them all; axes start at nought.

    Names stand in a column beside it, highest point first, each with a line to its point: points may lie close.
    """
    right = max([point.x for point in points], default=1.0) * 1.05 or 1.0
    top = max([point.y for point in points], default=1.0) * 1.05 or 1.0
    plane = _Plane(right=right, top=top, width=WIDTH - NAMES)
    parts = [plane.axes(x_label, y_label, [f"{right * part:.2f}" for part in (0.25, 0.5, 0.75, 1)], f"{top:.2f}")]
    step = min(22.0, (HEIGHT - 30) / max(len(points), 1))
    for place, point in enumerate(sorted(points, key=lambda point: -point.y)):
        x, y = plane.place(point.x, point.y)
        line, beside = 30 + step * place, WIDTH - NAMES - 10
        kind = "dot strong" if point.strong else "dot"
        parts.append(f'<path class="leader" d="M{x:.1f} {y:.1f}L{beside} {line:.1f}"/>')
        parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        parts.append(f'<text class="name" x="{beside + 5}" y="{line:.1f}">{escape(point.label)}</text>')
    return _svg(title, HEIGHT + MARGIN, "".join(parts))


def falling(title: str, values: Sequence[float], *, x_label: str, y_label: str) -> str:
    """Draw values that fall with their rank, both on logarithmic axes: a power law is a straight line."""
    ranked = sorted((value for value in values if value > 0), reverse=True)
    if len(ranked) < 2:
        return ""
    plane = _Plane(right=math.log10(len(ranked)), top=max(math.log10(ranked[0]), 0.1))
    last = len(ranked) - 1
    ranks = sorted({round(last ** (step / 100)) for step in range(101)} | {0})
    path = " ".join(
        "{:.1f},{:.1f}".format(*plane.place(math.log10(rank + 1), max(math.log10(ranked[rank]), 0))) for rank in ranks
    )
    marks = [f"{10 ** (plane.right * part):,.0f}" for part in (0.25, 0.5, 0.75, 1)]
    axes = plane.axes(x_label, y_label, marks, f"{ranked[0]:,.0f}")
    return _svg(title, HEIGHT + MARGIN, f'{axes}<polyline class="line" points="{path}"/>')


@dataclass(frozen=True, kw_only=True)
class _Plane:
    right: float
    top: float
    width: float = WIDTH

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point is on the picture."""
        return MARGIN + x / self.right * (self.width - 2 * MARGIN), HEIGHT - y / self.top * (HEIGHT - 30)

    def axes(self, x_label: str, y_label: str, marks: Sequence[str], highest: str) -> str:
        """Both axes, four marks along the first and the greatest value on the second."""
        step = (self.width - 2 * MARGIN) / len(marks)
        texts = [
            f'<text class="mark" x="{MARGIN + step * (place + 1):.1f}" y="{HEIGHT + 16}">{escape(mark)}</text>'
            for place, mark in enumerate(marks)
        ]
        return (
            f'<path class="axis" d="M{MARGIN} 20V{HEIGHT}H{self.width - MARGIN}"/>'
            f'<text class="mark high" x="{MARGIN - 6}" y="34">{escape(highest)}</text>'
            f'<text class="name" x="{MARGIN}" y="12">{escape(y_label)}</text>'
            f'<text class="mark" x="{self.width / 2}" y="{HEIGHT + 36}">{escape(x_label)}</text>' + "".join(texts)
        )


def _svg(title: str, height: float, content: str) -> str:
    return (
        f'<svg role="img" viewBox="0 0 {WIDTH} {height:.0f}" aria-label="{escape(title, quote=True)}">'
        f"<title>{escape(title)}</title>{content}</svg>"
    )
