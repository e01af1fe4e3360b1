from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from nightreel.airflow.operators import DestroyCluster, FetchBundle, TrainSimilarity
from nightreel.airflow.plan import RunPlan
from nightreel.cluster import destroy, lifecycle, logs
from nightreel.cluster.errors import JobError, NoClusterError
from nightreel.cluster.logs import Collected
from nightreel.recommend import datasets, layouts

CONTEXT: Any = {"outlet_events": defaultdict(MagicMock), "dag_run": MagicMock(run_id="1"), "ti": MagicMock()}


@pytest.fixture
def ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DestroyCluster:
    made = DestroyCluster(task_id="destroy", plan={})
    made.__dict__["run_plan"] = MagicMock(
        spec=RunPlan, cluster="nightly-1", bundle=str(tmp_path / "run" / "b.arrow"), folder=tmp_path / "run"
    )
    made.__dict__["reach"] = MagicMock()
    made.run_plan.archive = None
    made.run_plan.prices = {}
    ended = MagicMock(instances=2, left={"instances": 0}, nodes=())
    monkeypatch.setattr(destroy, "destroy_cluster", lambda *_: ended)
    return made


def test_logs_come_into_the_runs_folder_before_the_end(
    ending: DestroyCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    order: list[Any] = []

    def fetch(*_: Any, target: Path, **__: Any) -> Collected:
        order.append(target)
        return Collected(folder=target, files=1, size=1)

    real = destroy.destroy_cluster
    monkeypatch.setattr(logs, "fetch_logs", fetch)
    monkeypatch.setattr(destroy, "destroy_cluster", lambda *a: order.append("destroyed") or real(*a))
    ending.execute(CONTEXT)
    assert order == [tmp_path / "run" / "logs", "destroyed"]


def test_logs_that_can_not_be_had_keep_no_machine_alive(
    ending: DestroyCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(logs, "fetch_logs", fail)
    assert ending.execute(CONTEXT) == {"instances": 0}


def test_a_report_that_can_not_be_completed_fails_no_teardown(ending: DestroyCluster) -> None:
    bundle = Path(ending.run_plan.bundle)
    bundle.parent.mkdir()
    bundle.write_bytes(b"no bundle")
    assert ending.execute(CONTEXT) == {"instances": 0}


def test_a_step_that_meets_no_cluster_says_what_to_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise NoClusterError("no running master")

    monkeypatch.setattr(lifecycle, "on_master", gone)
    step = FetchBundle(task_id="fetch", plan={})
    step.__dict__ |= {"run_plan": MagicMock(bundle="b.arrow"), "reach": MagicMock()}
    with pytest.raises(NoClusterError, match=r"no running master\. .* clear launch_cluster with everything downstream"):
        step.execute(CONTEXT)


def test_a_cluster_that_went_away_meanwhile_is_told_from_a_job_that_failed() -> None:
    step = TrainSimilarity(task_id="train", plan={}, collected={}, job_timeout=timedelta(hours=1))
    with pytest.raises(NoClusterError, match="clear launch_cluster"):
        step.resume(CONTEXT, {"error": "no running master", "gone": True})
    with pytest.raises(JobError, match="did not end in time"):
        step.resume(CONTEXT, {"error": "the job did not end in time"})


def test_the_job_gets_the_operators_settings_of_spark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(layouts, "find_layout", MagicMock())
    monkeypatch.setattr(datasets, "name_of", lambda _: "made up")
    found = {"folder": str(tmp_path), "visitors": None, "winner": []}
    step = TrainSimilarity(task_id="train", plan={}, collected=found, job_timeout=timedelta(hours=1))
    step.__dict__["run_plan"] = MagicMock(arguments=["--rank", "8"], spark={"spark.executor.memory": "6g"})
    command = " ".join(step._command())
    assert "--conf spark.executor.memory=6g --py-files" in command
