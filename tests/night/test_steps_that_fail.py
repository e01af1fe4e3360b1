"""A step fails: the colour says so, nothing is left, the old model serves; cleared, the night ends well."""

from pathlib import Path

import pytest

from nightreel.cli.demo import Stack
from nightreel.sandbox.faults import Fault
from tests.night.night import Night, Outcome

pytestmark = [pytest.mark.night, pytest.mark.sandbox, pytest.mark.spark, pytest.mark.timeout(1800)]
GOOD = Outcome(colour="success", left=0, spark_runs=1)
RED_BEFORE_SPARK = Outcome(colour="failed", left=0, spark_runs=0)


def test_launch_not_permitted_then_cleared(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    stack.sandbox.inject(Fault(action="RunInstances", after=1, code="UnauthorizedOperation"))
    night = begin.begin(stack, seed=11)
    assert night.outcome() == RED_BEFORE_SPARK
    assert (night.tries("launch_cluster"), stack.site.served_model()) == (1, before)
    assert "give the launcher's role this permission" in night.log("launch_cluster")
    night.clear("launch_cluster")
    night.begins_again()
    assert night.outcome() == GOOD
    assert stack.site.served_model() != before


def test_quota_refused(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    stack.sandbox.inject(Fault(action="RunInstances", code="VcpuLimitExceeded"))
    night = begin.begin(stack)
    assert night.outcome() == RED_BEFORE_SPARK
    assert (night.tries("launch_cluster"), stack.site.served_model()) == (1, before)
    assert "ask for a higher vCPU quota" in night.log("launch_cluster")


def test_no_capacity_for_a_while(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    # The AWS library tries each call several times by itself, and the launch every zone.
    stack.sandbox.inject(Fault(action="RunInstances", code="InsufficientInstanceCapacity", times=10_000))
    night = begin.begin(stack, seed=12)
    night.reach("launch_cluster", "up_for_retry")
    stack.sandbox.clear_faults()
    assert night.outcome() == GOOD, night.why()
    assert night.tries("launch_cluster") > 1
    assert stack.site.served_model() != before


def test_training_fails_then_mended_and_cleared(stack: Stack, begin: type[Night], ratings: Path) -> None:
    before = stack.site.served_model()
    [spoilt] = [file for file in ratings.iterdir() if file.name in ("ratings.csv", "ml-100k.inter")]
    good = spoilt.read_text()
    spoilt.write_text(good.splitlines()[0] + "\nnothing but rubbish\n")
    try:
        night = begin.begin(stack, seed=13)
        assert (night.outcome().colour, night.outcome().left, stack.site.served_model()) == ("failed", 0, before)
    finally:
        spoilt.write_text(good)
    night.clear("train_similarity", only_failed=True)
    night.begins_again()
    assert (night.outcome().colour, night.outcome().left) == ("failed", 0)
    assert "clear launch_cluster with everything downstream" in night.log("train_similarity")
    night.clear("train_similarity")
    night.begins_again()
    assert (night.outcome().colour, night.outcome().left) == ("success", 0), night.why()
    assert stack.site.served_model() != before


def test_driver_killed_in_mid_training(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    night = begin.begin(stack, seed=14)
    night.reach_spark()
    night.kill_driver()
    assert night.outcome() == Outcome(colour="success", left=0, spark_runs=2), night.why()
    assert stack.site.served_model() != before


def test_masters_machine_dies_in_mid_training(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    night = begin.begin(stack, seed=15)
    night.reach_spark()
    stack.sandbox.crash(night.instance("master"))
    outcome = night.outcome()
    assert (outcome.colour, outcome.left, stack.site.served_model()) == ("failed", 0, before)
    assert "clear launch_cluster with everything downstream" in night.log("train_similarity")


def test_disk_full_on_the_worker(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    night = begin.begin(stack, seed=16)
    night.folder.mkdir(parents=True, exist_ok=True)
    (night.folder / "similarity.arrow.part").symlink_to("/dev/full")
    assert night.outcome() == Outcome(colour="failed", left=0, spark_runs=1)
    assert stack.site.served_model() == before
    assert "No space left on device" in night.log("fetch_bundle")


def test_teardown_not_permitted_and_the_reaper_mops_up(stack: Stack, begin: type[Night]) -> None:
    stack.sandbox.inject(Fault(action="TerminateInstances", code="UnauthorizedOperation", times=100))
    night = begin.begin(stack, seed=17)
    outcome = night.outcome()
    assert (outcome.colour, night.states()["destroy_cluster"]) == ("failed", "failed")
    assert outcome.left > 0
    stack.sandbox.clear_faults()
    night.expire()
    assert night.reap() == "success"
    assert night.outcome().left == 0
