import asyncio
import time
from typing import Any

import pytest

from nightreel.airflow import job_trigger
from nightreel.airflow.job_trigger import JobTrigger
from nightreel.cluster import jobs
from nightreel.cluster.errors import ClusterError, NoClusterError
from nightreel.cluster.jobs import JobState, JobStatus


class Master:
    """A master whose answers are given, one per poll; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def close(self) -> None:
        pass


def events(monkeypatch: pytest.MonkeyPatch, *answers: Any, deadline: float = 60) -> list[Any]:
    master = Master(*answers)

    def status(connection: Master, name: str) -> JobStatus:
        answer = connection.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return JobStatus(answer)

    monkeypatch.setattr(jobs, "status", status)
    monkeypatch.setattr(jobs, "read_log", lambda *_: b"")
    monkeypatch.setattr(JobTrigger, "_open", lambda _: master)
    trigger = JobTrigger(
        cluster="films", job="train", aws_conn_id="a", ssh_conn_id="s", deadline=time.time() + deadline, poll_seconds=0
    )

    async def collect() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(collect())


def test_trigger_waits_for_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert events(monkeypatch, JobState.RUNNING, JobState.SUCCEEDED) == [{"state": "succeeded"}]


def test_a_lost_process_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert events(monkeypatch, JobState.LOST) == [{"state": "lost"}]


def test_a_cut_connection_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = events(monkeypatch, *[ClusterError("cut")] * 30, JobState.SUCCEEDED)
    assert found == [{"state": "succeeded"}]


def test_a_master_that_stays_away_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_trigger, "_UNREACHABLE_AFTER", 0)
    [event] = events(monkeypatch, ClusterError("cut"))
    assert "can not be reached: cut" in event["error"]


def test_a_cluster_that_is_gone_ends_the_wait_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    [event] = events(monkeypatch, NoClusterError("no running master"))
    assert event == {"error": "no running master", "gone": True}


def test_the_deadline_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    [event] = events(monkeypatch, deadline=-1)
    assert "did not end in time" in event["error"]


def test_trigger_comes_back_as_it_was_stored() -> None:
    trigger = JobTrigger(cluster="films", job="train", aws_conn_id="a", ssh_conn_id="s", deadline=5.0)
    path, arguments = trigger.serialize()
    assert path == "nightreel.airflow.job_trigger.JobTrigger"
    assert JobTrigger(**arguments).serialize() == (path, arguments)
