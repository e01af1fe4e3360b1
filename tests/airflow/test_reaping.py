from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from nightreel.airflow import reaping
from nightreel.airflow.reaping import ReapExpired
from nightreel.cluster import reap as cluster_reap
from nightreel.cluster.errors import LeakError
from nightreel.cluster.reap import Reaped


def reap(monkeypatch: pytest.MonkeyPatch, *done: Reaped) -> dict[str, int]:
    found = [SimpleNamespace(name=one.name, state="running", expired=True, expires_at=None) for one in done]
    monkeypatch.setattr(reaping, "Reach", MagicMock())
    monkeypatch.setattr(cluster_reap, "survey", lambda *_: found)
    monkeypatch.setattr(cluster_reap, "reap", lambda *_, **__: list(done))
    context: Any = {}
    return ReapExpired(task_id="reap").execute(context)


def test_what_was_removed_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    done = [Reaped(name="a", destruction=MagicMock()), Reaped(name="b", spared="it was renewed meanwhile")]
    assert reap(monkeypatch, *done) == {"found": 2, "removed": 1, "spared": 1}


def test_what_can_not_be_removed_makes_it_red(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LeakError, match="a could not be removed: not permitted"):
        reap(monkeypatch, Reaped(name="a", error="not permitted"))
