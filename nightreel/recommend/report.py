"""The report of a run: one HTML file with plots that needs nothing beside it, made from a bundle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from nightreel.bundle.reader import Bundle, sha256_of
from nightreel.recommend.evaluation import OURS, quality_table
from nightreel.recommend.plots import Bar, Dot, bars, dots, falling
from nightreel.recommend.report_style import PAGE

INTERVAL = 1.96
"""Standard errors on either side that make 95 % of a normal distribution."""
BANDS = (("the 1 % most rated", 0.0, 0.01), ("the next 9 %", 0.01, 0.1), ("the next 40 %", 0.1, 0.5))
LAST_BAND = ("the other half", 0.5, 1.0)
MOST_TRIALS = 200


COST_NOTE = "In US dollars without tax, up to the moment when the report was written; traffic is not in it."


@dataclass(frozen=True, kw_only=True)
class CostLine:
    """What a machine has cost: US dollars, None where its price is not known."""

    what: str
    hours: float
    cost: float | None


def write_report(bundle: Bundle, target: Path, *, costs: Sequence[CostLine] = (), cost_note: str = COST_NOTE) -> None:
    """Write the report of a bundle, whole or not at all; `cost_note` is the sentence below what the machines cost."""
    draft = target.with_name(f".{target.name}.draft")
    try:
        draft.write_text(render_report(bundle, costs=costs, cost_note=cost_note), encoding="utf-8")
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def render_report(bundle: Bundle, *, costs: Sequence[CostLine] = (), cost_note: str = COST_NOTE) -> str:
    """Return the page. All that is not known is said to be so."""
    metadata = bundle.metadata
    name = str(metadata.dataset.get("name", "unknown"))
    sections = [
        _run(bundle),
        _quality(metadata.evaluation),
        _coverage(metadata.evaluation, len(bundle)),
        _popularity(bundle),
        _search(metadata.details.get("search")),
        _timings(metadata.details.get("timings")),
        _costs(costs, cost_note),
    ]
    return PAGE.format(title=escape(f"Nightreel: {name}, run {metadata.run_id}"), body="\n".join(sections))


def _section(heading: str, *parts: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>{''.join(parts)}</section>"


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _run(bundle: Bundle) -> str:
    metadata = bundle.metadata
    dataset = metadata.dataset
    rejected = dataset.get("rejected") or {}
    facts = {
        "data set": str(dataset.get("name")),
        "ratings": " by ".join(
            f"{dataset[key]:,} {unit}" for key, unit in (("ratings", "ratings"), ("users", "users")) if key in dataset
        ),
        "movies in the model": f"{len(bundle):,}",
        "kept aside": ", ".join(f"{count:,} {reason}" for reason, count in rejected.items()) or "nothing",
        "licence": str(dataset.get("licence", "unknown")),
        "made": metadata.created,
        "code": metadata.code_revision,
        "parameters": ", ".join(f"{key} {value}" for key, value in metadata.parameters.items()),
        "software": ", ".join(f"{key} {value}" for key, value in metadata.versions.items()),
        "SHA-256": sha256_of(bundle.path),
    }
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    return f"<header><h1>Run {escape(metadata.run_id)}</h1><dl>{rows}</dl></header>"


def _quality(evaluation: Sequence[Mapping[str, Any]]) -> str:
    if not evaluation:
        return _section("Quality", _paragraph("This model was not evaluated."))
    known = [row for row in evaluation if row.get("ndcg") is not None and row.get("tail_ndcg") is not None]
    header, *rows = quality_table(evaluation)
    return _section(
        "Quality beside baselines",
        _paragraph(
            "Three liked movies of a user whom the model has not seen are given; the rest of their likes should be "
            "among ten answers (NDCG@10). The long tail leaves the most popular movies out of answers and likes."
        ),
        "<h3>All movies</h3>",
        bars("NDCG@10 over all movies", _quality_bars(evaluation, "ndcg")),
        "<h3>The long tail</h3>",
        bars("NDCG@10 over the long tail", _quality_bars(evaluation, "tail_ndcg")),
        "<h3>Both at once</h3>",
        dots(
            "NDCG@10 over the long tail against NDCG@10 over all movies",
            [Dot(label=_name(row), x=row["ndcg"], y=row["tail_ndcg"], strong=_is_ours(row)) for row in known],
            x_label="NDCG@10, all movies",
            y_label="NDCG@10, long tail",
        ),
        _table(header, rows),
        _paragraph(
            "A thin line is 95 % of the difference to our own position that this column judges, where the run says it."
        ),
    )


def _name(row: Mapping[str, Any]) -> str:
    return str(row.get("model", "unnamed"))


def _is_ours(row: Mapping[str, Any]) -> bool:
    return _name(row).startswith(OURS)


def _quality_bars(evaluation: Sequence[Mapping[str, Any]], figure: str) -> list[Bar]:
    return [_quality_bar(row, figure) for row in evaluation]


def _quality_bar(row: Mapping[str, Any], figure: str) -> Bar:
    value, error = row.get(figure), row.get(f"{figure}_error")
    around = INTERVAL * error if value is not None and error else None
    return Bar(
        label=_name(row),
        value=value,
        text="–" if value is None else f"{value:.3f}",
        low=value - around if value is not None and around is not None else None,
        high=value + around if value is not None and around is not None else None,
        strong=_is_ours(row),
    )


def _coverage(evaluation: Sequence[Mapping[str, Any]], movies: int) -> str:
    if not evaluation:
        return ""
    parts = []
    for heading, figure in (("All movies", "coverage"), ("The long tail", "tail_coverage")):
        rows = [
            Bar(label=_name(row), value=row.get(figure), text=_count(row.get(figure)), strong=_is_ours(row))
            for row in evaluation
        ]
        parts += [f"<h3>{heading}</h3>", bars(f"Movies ever shown: {heading}", rows)]
    asked = max((int(row.get("queries") or 0) for row in evaluation), default=0)
    said = f"How many of the {movies:,} movies were ever among the ten answers to {asked:,} queries."
    return _section("Coverage", _paragraph(said), *parts)


def _count(value: Any) -> str:
    return "–" if value is None else f"{value:,}"


def _popularity(bundle: Bundle) -> str:
    order = np.argsort(-bundle.rating_counts, kind="stable")
    counts = bundle.rating_counts[order].astype(np.int64)
    total = max(int(counts.sum()), 1)
    nearest = bundle.neighbour_scores[order, 0]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    beside = place[bundle.neighbour_ids[order]]
    rows, shares = [], []
    for name, low, high in (*BANDS, LAST_BAND):
        first, last = int(low * len(order)), int(high * len(order))
        if first == last:
            continue
        share = float(counts[first:last].sum()) / total
        among = (beside[first:last] >= first) & (beside[first:last] < last)
        shares.append(Bar(label=name, value=share, text=f"{share:.1%}"))
        rows.append(
            [
                name,
                f"{last - first:,}",
                f"{np.median(counts[first:last]):,.0f}",
                f"{np.mean(bundle.mean_ratings[order[first:last]]):.2f}",
                f"{np.median(nearest[first:last]):.2f}",
                f"{among.mean():.0%}",
            ]
        )
    header = ["movies", "how many", "median ratings", "mean stars", "nearest neighbour", "neighbours of this band"]
    return _section(
        "Popularity",
        "<h3>Share of all ratings</h3>",
        bars("Share of all ratings by popularity band", shares),
        _table(header, rows),
        "<h3>Ratings per movie, by rank</h3>",
        falling("Ratings per movie by rank", counts.tolist(), x_label="rank of the movie", y_label="ratings"),
    )


def _search(trials: Any) -> str:
    """Trials are mappings of one shape with a `score`; their parameters are whatever else they have."""
    if not isinstance(trials, list) or not all(isinstance(trial, Mapping) for trial in trials) or not trials:
        return _section("Search for parameters", _paragraph("This run searched for none: it took those above."))
    scored = [trial for trial in trials if isinstance(trial.get("score"), int | float)]
    ranked = sorted(scored, key=lambda trial: -float(trial["score"]))[:MOST_TRIALS]
    columns = list(dict.fromkeys(key for trial in trials for key in trial if key != "score"))
    rows = [
        Bar(
            label=", ".join(f"{key} {_short(trial[key])}" for key in columns if key in trial)[:34],
            value=float(trial["score"]),
            text=f"{trial['score']:.4f}",
            strong=place == 0,
        )
        for place, trial in enumerate(ranked[:20])
    ]
    table = [[*(_short(trial.get(key, "")) for key in columns), f"{trial['score']:.4f}"] for trial in ranked]
    return _section("Search for parameters", bars("Score of the best trials", rows), _table([*columns, "score"], table))


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _timings(timings: Any) -> str:
    if not isinstance(timings, list) or not timings:
        return _section("Timings", _paragraph("This run did not keep how long its phases took."))
    phases = list(_phases(timings))
    total = sum(seconds for _, seconds in phases)
    rows = [Bar(label=name[:34], value=seconds, text=_duration(seconds)) for name, seconds in phases]
    return _section("Timings", bars("Seconds per phase", rows), _paragraph(f"Together {_duration(total)}."))


def _phases(timings: Sequence[Any]) -> Iterator[tuple[str, float]]:
    for entry in timings:
        if isinstance(entry, Mapping) and isinstance(entry.get("seconds"), int | float):
            yield str(entry.get("phase", "unnamed")), float(entry["seconds"])


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _dollars(amount: float) -> str:
    return f"${amount:.2f}" if amount >= 0.1 else f"${amount:.4f}"


def _costs(costs: Sequence[CostLine], note: str) -> str:
    if not costs:
        return _section("Cost", _paragraph("Not known here: no machine was rented for this run, or none was counted."))
    rows = [
        [line.what, _duration(line.hours * 3600), "unknown" if line.cost is None else _dollars(line.cost)]
        for line in costs
    ]
    known = [line.cost for line in costs if line.cost is not None]
    total = _dollars(sum(known)) + ("" if len(known) == len(costs) else " and what is unknown")
    return _section(
        "Cost",
        bars(
            "US dollars per machine",
            [Bar(label=line.what[:34], value=line.cost, text=row[2]) for line, row in zip(costs, rows, strict=True)],
        ),
        _table(["machine", "time", "cost"], [*rows, ["together", "", total]]),
        _paragraph(note),
    )
