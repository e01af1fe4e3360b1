"""Whether a new model may replace the one that is served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightreel.bundle.schema import BundleMetadata
from nightreel.recommend.evaluation import OURS
from nightreel.recommend.taste_model import DEFAULT_TASTE

WORST_LOSS = 0.02
"""How much of the published model's NDCG@10 a new one may lose."""

STANDARD_ERRORS = 2.0
"""A baseline is better only when it leads by more than this many standard errors of the paired difference."""

FEWEST_USERS = 30
"""With fewer held-out users the figures are noise: such a model passes, and the verdict says so."""


@dataclass(frozen=True)
class GateVerdict:
    """Whether the model passed, and why in one sentence."""

    passed: bool
    reason: str


def judge(candidate: BundleMetadata, published: BundleMetadata | None) -> GateVerdict:
    """Judge a model by its NDCG@10 over all movies at the slider's default.

    It must not lose to any baseline by more than STANDARD_ERRORS standard errors, nor to the published model by more
    than WORST_LOSS where the two were evaluated alike (same data set, same protocol). A model without evaluation is
    refused; one with fewer than FEWEST_USERS held-out users passes unjudged, for small data has nothing better.
    """
    ours = default_row(candidate)
    if ours is None:
        return GateVerdict(False, "Refused: the model was trained without evaluation, so nothing speaks for it.")
    if ours["ndcg"] is None or ours["users"] < FEWEST_USERS:
        few = f"{ours['users']} held-out users are too few to judge by, {FEWEST_USERS} would do"
        return GateVerdict(True, f"Passed unjudged: {few}.")
    if refusal := _behind_a_baseline(candidate, ours) or _behind_the_published(candidate, ours, published):
        return GateVerdict(False, refusal)
    rivals = [row for row in candidate.evaluation if row["taste"] is None]
    best = max(rivals, key=lambda row: row["ndcg"], default=None)
    beside = f" beside {best['ndcg']:.3f} of the best baseline, {best['model']}" if best else ""
    return GateVerdict(True, f"NDCG@10 is {ours['ndcg']:.3f}{beside}.")


def default_row(metadata: BundleMetadata) -> Mapping[str, Any] | None:
    """Return the evaluation of our model at the slider's default, or None."""
    rows = (row for row in metadata.evaluation if str(row["model"]).startswith(OURS) and row["taste"] == DEFAULT_TASTE)
    return next(rows, None)


def _behind_a_baseline(candidate: BundleMetadata, ours: Mapping[str, Any]) -> str | None:
    for row in candidate.evaluation:
        if row["taste"] is not None:
            continue
        lead = row["ndcg"] - ours["ndcg"]
        if lead > STANDARD_ERRORS * (row["behind_ours_error"] or 0):
            return f"Refused: {row['model']} has NDCG@10 {row['ndcg']:.3f}, the model {ours['ndcg']:.3f}."
    return None


def _behind_the_published(
    candidate: BundleMetadata, ours: Mapping[str, Any], published: BundleMetadata | None
) -> str | None:
    before = default_row(published) if published else None
    if published is None or before is None or before["ndcg"] is None:
        return None
    alike = published.dataset.get("name") == candidate.dataset.get("name") and before["protocol"] == ours["protocol"]
    if alike and ours["ndcg"] < before["ndcg"] * (1 - WORST_LOSS):
        loss = 1 - ours["ndcg"] / before["ndcg"]
        return f"Refused: NDCG@10 fell by {loss:.1%} from the published {before['ndcg']:.3f} to {ours['ndcg']:.3f}."
    return None
