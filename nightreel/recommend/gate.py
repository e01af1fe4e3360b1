"""Whether a new model may replace the one that is served.

There are two axes, since what predicts the rest of a list is mostly what everybody likes: each position of the slider
answers for its own. Over all movies the familiar end is judged, in the long tail the balanced middle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nightreel.bundle.schema import BundleMetadata
from nightreel.recommend.evaluation import FAMILIAR
from nightreel.recommend.taste_model import BALANCED

WORST_LOSS = 0.02
"""How much of the published model's NDCG@10 a new one may lose."""

STANDARD_ERRORS = 2.0
"""A baseline is better only when it leads by more than this many standard errors of the paired difference."""

FEWEST_USERS = 30
"""With fewer held-out users the figures are noise: such a model passes, and the verdict says so."""

LEAST_LEFT, MOST_GROWTH = 0.9, 2.0
"""Fewer ratings, users or movies than this share of the published model's, or more, do not come about in a night."""

MOST_MOVED = 0.1
"""How much of the ratings may have moved to other stars (total variation distance of the two histograms)."""

MOST_REPEATS = 0.05
"""How much the share of rows that rate a movie again may have grown."""

AXES = ((FAMILIAR, "ndcg", "familiar, over all movies"), (BALANCED, "tail_ndcg", "balanced, in the long tail"))
"""Slider position, figure and its name: what is held against baselines and the published model."""


@dataclass(frozen=True)
class GateVerdict:
    """Whether the model passed, and why in one sentence."""

    passed: bool
    reason: str


def judge(candidate: BundleMetadata, published: BundleMetadata | None, *, override: bool = False) -> GateVerdict:
    """Judge a model by its input and by its NDCG@10 on both axes; with `override` a refusal is told, not heeded.

    The input may not have shrunk, jumped, or changed its stars or repeats since the published model of its name.

    On neither may it lose to a baseline by more than STANDARD_ERRORS standard errors, nor to the published model by
    more than WORST_LOSS where the two were evaluated alike (same data set, same protocol). A model without evaluation
    is refused; one with fewer than FEWEST_USERS held-out users passes unjudged, for small data has nothing better.
    """
    verdict = _judge(candidate, published)
    if verdict.passed or not override:
        return verdict
    return GateVerdict(True, f"Passed because the gate was overridden, which said: {verdict.reason}")


def _judge(candidate: BundleMetadata, published: BundleMetadata | None) -> GateVerdict:
    for refusal in _changed_input(candidate.dataset, published.dataset if published else {}):
        return GateVerdict(False, refusal)
    ours = [_row_at(candidate, taste) for taste, _, _ in AXES]
    if None in ours:
        return GateVerdict(False, "Refused: the model was trained without evaluation, so nothing speaks for it.")
    users = min(int(row["tail_users"]) for row in ours if row)
    if users < FEWEST_USERS:
        few = f"{users} held-out users are too few to judge by, {FEWEST_USERS} would do"
        return GateVerdict(True, f"Passed unjudged: {few}.")
    for refusal in (*_behind_baselines(candidate), *_behind_published(candidate, published)):
        return GateVerdict(False, refusal)
    figures = [f"{_figure(candidate, taste, name):.3f} {label}" for taste, name, label in AXES]
    return GateVerdict(True, f"Passed: NDCG@10 is {' and '.join(figures)}, behind no baseline.")


def _changed_input(now: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence per fact about the input that no ordinary night explains; a fact that one lacks is skipped."""
    if now.get("name") != before.get("name"):
        return
    for name in ("ratings", "users", "movies"):
        old, new = before.get(name), now.get(name)
        if old and new is not None and not LEAST_LEFT * old <= new <= MOST_GROWTH * old:
            fell = "fell" if new < old else "rose"
            yield f"Refused: the {name} to train on {fell} from {old:,} to {new:,}, more than a night explains."
    if before.get("histogram") and now.get("histogram"):
        moved = _moved(before["histogram"], now["histogram"])
        if moved > MOST_MOVED:
            yield f"Refused: {moved:.0%} of the ratings moved to other stars since the published model."
    old_share, new_share = _repeat_share(before), _repeat_share(now)
    if old_share is not None and new_share is not None and new_share > old_share + MOST_REPEATS:
        yield f"Refused: rows that rate a movie again rose from {old_share:.1%} to {new_share:.1%} of the input."


def _moved(before: Mapping[str, int], now: Mapping[str, int]) -> float:
    """Return the total variation distance of two histograms, 0 (the same shares) to 1."""
    totals = max(sum(before.values()), 1), max(sum(now.values()), 1)
    bins = sorted({*before, *now})
    return sum(abs(before.get(star, 0) / totals[0] - now.get(star, 0) / totals[1]) for star in bins) / 2


def _repeat_share(dataset: Mapping[str, Any]) -> float | None:
    ratings, repeats = dataset.get("ratings"), dataset.get("duplicates")
    return None if not ratings or repeats is None else repeats / (ratings + repeats)


def _row_at(metadata: BundleMetadata, taste: float) -> Mapping[str, Any] | None:
    return next((row for row in metadata.evaluation if row["taste"] == taste), None)


def _figure(metadata: BundleMetadata, taste: float, name: str) -> float:
    row = _row_at(metadata, taste)
    return float(row[name]) if row else 0.0


def _behind_baselines(candidate: BundleMetadata) -> Iterator[str]:
    """Yield a sentence per baseline that leads beyond noise."""
    for taste, name, label in AXES:
        ours = _figure(candidate, taste, name)
        for row in candidate.evaluation:
            lead = row[name] - ours
            if row["taste"] is None and lead > STANDARD_ERRORS * (row[f"{name}_error"] or 0):
                yield f"Refused: {row['model']} has NDCG@10 {row[name]:.3f}, the model {ours:.3f} ({label})."


def _behind_published(candidate: BundleMetadata, published: BundleMetadata | None) -> Iterator[str]:
    """Yield a sentence per axis on which the published model, evaluated alike, is better by more than WORST_LOSS."""
    if published is None or published.dataset.get("name") != candidate.dataset.get("name"):
        return
    for taste, name, label in AXES:
        before, now = _row_at(published, taste), _row_at(candidate, taste)
        if before is None or now is None or before["protocol"] != now["protocol"] or not before[name]:
            continue
        loss = 1 - now[name] / before[name]
        if loss > WORST_LOSS:
            yield f"Refused: NDCG@10 fell by {loss:.1%}, from {before[name]:.3f} to {now[name]:.3f} ({label})."
