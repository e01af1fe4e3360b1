"""Processes of Airflow die at every step: the night ends well all the same, with one cluster and one Spark job."""

import pytest

from nightreel.cli.demo import Stack
from nightreel.sandbox.faults import Fault
from tests.night.night import Night, Outcome

pytestmark = [pytest.mark.night, pytest.mark.sandbox, pytest.mark.spark, pytest.mark.timeout(1800)]
GOOD = Outcome(colour="success", left=0, spark_runs=1)
MACHINES = 2
SLOW_LAUNCH = Fault(kind="delay", action="RunInstances", seconds=8)
SLOW_END = Fault(kind="delay", action="TerminateInstances", seconds=8)


def ended_well(stack: Stack, night: Night, *, before: str | None) -> None:
    """Green, nothing left, one job, the machines of one cluster, and the new model."""
    assert night.outcome() == GOOD, night.why()
    assert night.machines() == MACHINES
    assert stack.site.served_model() not in (None, before)


def test_worker_killed_while_it_launches(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    stack.sandbox.inject(SLOW_LAUNCH)
    night = begin.begin(stack, seed=1)
    night.reach_call("RunInstances", "launch_cluster")
    night.kill_worker("launch_cluster")
    ended_well(stack, night, before=before)


def test_worker_killed_while_it_bootstraps(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    night = begin.begin(stack, seed=2)
    night.reach("bootstrap_spark", "running")
    night.kill_worker("bootstrap_spark")
    ended_well(stack, night, before=before)


def test_worker_killed_while_it_destroys(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    stack.sandbox.inject(SLOW_END)
    night = begin.begin(stack, seed=3)
    night.reach("destroy_cluster", "running")
    night.kill_worker("destroy_cluster")
    ended_well(stack, night, before=before)


def test_scheduler_killed_while_it_launches(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    stack.sandbox.inject(SLOW_LAUNCH)
    night = begin.begin(stack, seed=4)
    night.reach_call("RunInstances", "launch_cluster")
    night.restart(night.kill("scheduler"))
    ended_well(stack, night, before=before)


def test_scheduler_killed_while_spark_runs(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    night = begin.begin(stack, seed=5)
    night.reach_spark()
    night.restart(night.kill("scheduler"))
    ended_well(stack, night, before=before)


def test_triggerer_killed_while_spark_runs(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    night = begin.begin(stack, seed=6)
    night.reach_spark()
    night.restart(night.kill("triggerer"))
    ended_well(stack, night, before=before)


def test_api_server_killed_while_spark_runs(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    night = begin.begin(stack, seed=7)
    night.reach_spark()
    night.restart(night.kill("api-server"))
    ended_well(stack, night, before=before)


def test_all_of_airflow_killed_while_spark_runs(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    night = begin.begin(stack, seed=8)
    night.reach_spark()
    night.restart(night.kill("api-server", "scheduler", "triggerer", "dag-processor"))
    ended_well(stack, night, before=before)
