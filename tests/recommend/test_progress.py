import re
import time
from types import SimpleNamespace
from typing import Any

import pytest

from nightreel.recommend.progress import told


class Context:
    """A SparkContext on which one more job runs at each look."""

    def __init__(self, *, broken: bool = False) -> None:
        self.looks = 0
        self.groups: list[Any] = []
        self.broken = broken

    def setJobGroup(self, group: str, _: str) -> None:
        self.groups.append(group)

    def setLocalProperty(self, _: str, value: str | None) -> None:
        self.groups.append(value)

    def statusTracker(self) -> "Context":
        if self.broken:
            raise RuntimeError("the gateway is closed")
        return self

    def getJobIdsForGroup(self, group: str) -> list[int]:
        assert group == self.groups[-1]
        self.looks += 1
        return list(range(self.looks))

    def getJobInfo(self, _: int) -> Any:
        return SimpleNamespace(stageIds=[1, 2])

    def getStageInfo(self, stage: int) -> Any:
        return SimpleNamespace(numCompletedTasks=1, numTasks=4) if stage == 1 else None


def in_words(jobs: int, done: int, tasks: int) -> str:
    return f"job {jobs}, {done} of {tasks}"


def test_progress_is_said_while_the_block_runs(capsys: pytest.CaptureFixture[str]) -> None:
    context = Context()
    with told(context, in_words, pause=0.001):
        while context.looks < 3:
            time.sleep(0.001)
    said = re.findall(r"job (\d+), 1 of 4", capsys.readouterr().out)
    assert said[:2] == ["1", "2"]


def test_what_does_not_change_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    context = Context()
    with told(context, lambda *_: "still at it", pause=0.001):
        while context.looks < 5:
            time.sleep(0.001)
    assert capsys.readouterr().out.count("still at it") == 1


def test_jobs_behind_the_block_belong_to_no_group() -> None:
    context = Context()
    with told(context, in_words, pause=10):
        pass
    assert context.groups[-1] is None


def test_a_look_that_fails_fails_nothing() -> None:
    with told(Context(broken=True), in_words, pause=0.001):
        time.sleep(0.01)
