"""The DAG's shape: what must hold for the run's colour to be honest and the cluster to go."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from airflow.sdk import CronTriggerTimetable
from airflow.sdk.definitions.deadline import DeadlineReference
from airflow.sdk.exceptions import AirflowFailException
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables import trigger
from airflow.timetables.base import TimeRestriction

import nightly_retraining
import reap_expired_clusters
from nightreel.airflow.plan import longest_duration

DAG = nightly_retraining.dag
README = Path(__file__).parents[2] / "README.md"
ORDER = [
    "plan",
    "collect_ratings",
    "approve_cost",
    "launch_cluster",
    "bootstrap_spark",
    "train_similarity",
    "fetch_bundle",
    "quality_gate",
    "publish_bundle",
]


def task(name: str) -> Any:
    return DAG.get_task(name)


def test_steps_come_one_after_the_other() -> None:
    for earlier, later in pairwise(ORDER):
        assert later in task(earlier).downstream_task_ids


@pytest.mark.parametrize("setup", ["plan", "launch_cluster", "bootstrap_spark"])
def test_teardown_runs_whichever_setup_failed(setup: str) -> None:
    assert task(setup).is_setup
    assert "destroy_cluster" in task(setup).downstream_task_ids


@pytest.mark.parametrize("name", ["destroy_cluster", "verdict"])
def test_a_failed_teardown_fails_the_run(name: str) -> None:
    assert task(name).is_teardown
    assert task(name).on_failure_fail_dagrun


def test_verdict_comes_last() -> None:
    assert task("verdict").downstream_task_ids == set()
    assert task("verdict").upstream_task_ids >= {"destroy_cluster", "publish_bundle"}


def test_publishing_does_not_hold_the_cluster() -> None:
    assert "publish_bundle" not in task("destroy_cluster").upstream_task_ids
    assert "quality_gate" not in task("destroy_cluster").upstream_task_ids


def test_no_run_timeout_skips_the_teardown() -> None:
    assert DAG.dagrun_timeout is None


def test_one_run_at_a_time_every_night() -> None:
    assert (DAG.max_active_runs, DAG.catchup) == (1, False)
    assert isinstance(DAG.timetable, CronTriggerTimetable)


def test_every_task_is_bounded() -> None:
    assert all(isinstance(each.execution_timeout, timedelta) for each in DAG.tasks)


def test_default_lifetime_covers_all_retries() -> None:
    lifetime = timedelta(hours=DAG.params["lifetime_hours"])
    assert longest_duration(DAG.tasks) <= lifetime


def test_form_can_be_submitted_as_it_is() -> None:
    DAG.params.validate()


def test_dag_explains_itself() -> None:
    assert all(f"**{name}**" in DAG.doc_md for name in DAG.task_ids)


def test_the_readme_draws_every_task() -> None:
    _, picture, *_ = README.read_text().split("## How it fits together")[1].split("```")
    assert [name for name in DAG.task_ids if name not in picture] == []


def test_setting_it_up_waits_for_the_next_night(monkeypatch: pytest.MonkeyPatch) -> None:
    timetable = DagSerialization.from_dict(DagSerialization.to_dict(DAG)).timetable
    # A minute after the hour of the schedule is when Airflow would still make up for the night that has passed.
    monkeypatch.setattr(trigger, "utcnow", lambda: datetime(2026, 5, 1, 3, 1, tzinfo=UTC))
    first = timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(None, None, catchup=False)
    )
    assert first is not None
    assert first.run_after == datetime(2026, 5, 2, 3, 0, tzinfo=UTC)


def test_a_run_asks_before_it_launches() -> None:
    assert "launch_cluster" in task("approve_cost").downstream_task_ids
    assert task("approve_cost").response_timeout == timedelta(hours=1)


def test_the_deadline_is_told_by_a_module_that_can_be_imported() -> None:
    [alert] = DAG.deadline if isinstance(DAG.deadline, list) else [DAG.deadline]
    assert alert.callback.path == "nightreel.airflow.notify.deadline_missed"
    assert alert.interval == timedelta(hours=3)
    # Tasks of a run with a deadline by its queueing can not be cleared in Airflow 3.3.2.
    assert alert.reference is DeadlineReference.DAGRUN_LOGICAL_DATE


def test_the_reaper_comes_every_hour() -> None:
    reaper = reap_expired_clusters.dag
    assert isinstance(reaper.timetable, CronTriggerTimetable)
    assert reaper.task_ids == ["reap"]
    assert isinstance(reaper.get_task("reap").execution_timeout, timedelta)


def test_a_task_that_starts_loads_only_what_it_needs() -> None:
    # Every task imports the DAG file, and together these take a second of processor time.
    heavy = {"boto3", "botocore", "paramiko", "numpy", "pyarrow"}
    code = f"import nightly_retraining, sys; print(sorted({heavy} & set(sys.modules)))"
    search = os.pathsep.join([str(README.parent / "dags"), str(README.parent)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": search},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def judge(states: dict[str, str], *, reasons: dict[str, str]) -> None:
    ti = MagicMock()
    ti.get_task_states.return_value = {"run": {name: "success" for name in DAG.task_ids} | states}
    ti.xcom_pull.side_effect = lambda *, task_ids, key: reasons.get(task_ids)
    context: Any = {"ti": ti, "dag": DAG, "run_id": "run"}
    task("verdict").execute(context)


BEHIND = ["approve_cost", "launch_cluster", "bootstrap_spark", *ORDER[5:]]


def test_a_night_with_nothing_to_do_is_green() -> None:
    skipped = dict.fromkeys(["collect_ratings", *BEHIND, "train_similarity"], "skipped")
    judge(skipped, reasons={"collect_ratings": "nothing to do"})


def test_a_run_that_somebody_ended_is_red_whatever_was_skipped() -> None:
    skipped = dict.fromkeys(["collect_ratings", *BEHIND, "train_similarity"], "skipped")
    with pytest.raises(AirflowFailException, match="collect_ratings skipped"):
        judge(skipped, reasons={})


def test_a_dry_run_is_green_and_one_ended_before_it_published_is_not() -> None:
    judge({"publish_bundle": "skipped"}, reasons={"publish_bundle": "a dry run"})
    with pytest.raises(AirflowFailException, match="publish_bundle skipped"):
        judge({"publish_bundle": "skipped"}, reasons={})
