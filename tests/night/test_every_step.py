"""Each step of one night fails once and is cleared, the way an operator does it; in the end there is one good model."""

import pytest

from nightreel.cli.demo import Stack
from tests.night.night import Night

pytestmark = [pytest.mark.night, pytest.mark.sandbox, pytest.mark.spark, pytest.mark.timeout(3600)]
STEPS = {
    "plan": "plan",
    "collect_ratings": "collect_ratings",
    "approve_cost": "approve_cost",
    "launch_cluster": "launch_cluster",
    "bootstrap_spark": "bootstrap_spark",
    "train_similarity": "train_similarity",
    # By now the cluster is gone, and the trained bundle with it.
    "fetch_bundle": "launch_cluster",
    "quality_gate": "quality_gate",
    "publish_bundle": "publish_bundle",
    "destroy_cluster": "destroy_cluster",
    "verdict": "verdict",
}
"""The steps that fail one after the other, and what is cleared then."""


def test_every_step_failed_once_and_cleared(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    night = begin.begin(stack, seed=18)
    for step, cleared in STEPS.items():
        night.reach(step, "running")
        night.fail(step)
        assert night.outcome().colour == "failed", step
        if step not in ("publish_bundle", "destroy_cluster", "verdict"):
            assert stack.site.served_model() == before
        night.clear(cleared)
        night.begins_again()
    outcome = night.outcome()
    assert (outcome.colour, outcome.left) == ("success", 0), night.why()
    assert stack.site.served_model() not in (None, before)
