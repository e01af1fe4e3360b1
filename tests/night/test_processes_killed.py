"""Processes of Airflow die at every step: the night ends well all the same, with one cluster and one Spark job."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nightreel.cli.demo import Stack
from nightreel.sandbox.faults import Fault
from tests.night.night import Night, Outcome

pytestmark = [pytest.mark.night, pytest.mark.sandbox, pytest.mark.spark, pytest.mark.timeout(1800)]
GOOD = Outcome(colour="success", left=0, spark_runs=1)
MACHINES = 2
SLOW_LAUNCH = Fault(kind="delay", action="RunInstances", seconds=8)
SLOW_END = Fault(kind="delay", action="TerminateInstances", seconds=8)
OTHER_STEPS = (
    "plan",
    "collect_ratings",
    "approve_cost",
    "train_similarity",
    "fetch_bundle",
    "quality_gate",
    "publish_bundle",
    "verdict",
)


@contextmanager
def ends_well(stack: Stack, begin: type[Night], *, seed: int, fault: Fault | None = None) -> Iterator[Night]:
    """A night in which something dies; green, nothing left, one job, the machines of one cluster, and a new model."""
    before = stack.site.served_model()
    if fault:
        stack.sandbox.inject(fault)
    night = begin.begin(stack, seed=seed)
    yield night
    assert night.outcome() == GOOD, night.why()
    assert night.machines() == MACHINES
    assert stack.site.served_model() not in (None, before)


def test_worker_killed_while_it_launches(stack: Stack, begin: type[Night]) -> None:
    with ends_well(stack, begin, seed=1, fault=SLOW_LAUNCH) as night:
        night.reach_call("RunInstances", "launch_cluster")
        night.kill_worker("launch_cluster")


def test_worker_killed_while_it_bootstraps(stack: Stack, begin: type[Night]) -> None:
    with ends_well(stack, begin, seed=2) as night:
        night.reach("bootstrap_spark", "running")
        night.kill_worker("bootstrap_spark")


def test_worker_killed_while_it_destroys(stack: Stack, begin: type[Night]) -> None:
    with ends_well(stack, begin, seed=3, fault=SLOW_END) as night:
        night.reach("destroy_cluster", "running")
        night.kill_worker("destroy_cluster")


def test_worker_killed_at_every_other_step(stack: Stack, begin: type[Night]) -> None:
    with ends_well(stack, begin, seed=9) as night:
        for step in OTHER_STEPS:
            night.kill_worker(step)
        night.end()
        assert all(night.tries(step) > 1 for step in OTHER_STEPS)


def test_scheduler_killed_while_it_launches(stack: Stack, begin: type[Night]) -> None:
    with ends_well(stack, begin, seed=4, fault=SLOW_LAUNCH) as night:
        night.reach_call("RunInstances", "launch_cluster")
        night.restart(night.kill("scheduler"))


@pytest.mark.parametrize(
    ("seed", "parts"),
    [
        (5, ("scheduler",)),
        (6, ("triggerer",)),
        (7, ("api-server",)),
        (8, ("api-server", "scheduler", "triggerer", "dag-processor")),
    ],
    ids=["scheduler", "triggerer", "api-server", "all"],
)
def test_killed_while_spark_runs(stack: Stack, begin: type[Night], seed: int, parts: tuple[str, ...]) -> None:
    with ends_well(stack, begin, seed=seed) as night:
        night.reach_spark()
        night.restart(night.kill(*parts))
