from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.definitions.param import ParamsDict

from nightreel.airflow.params import JOB_DEFAULTS, form
from nightreel.airflow.plan import WINNER, PlanRun, RunPlan, cluster_name

STARTED = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_NIGHTREEL_RATINGS", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_VAR_NIGHTREEL_ARTIFACTS", str(tmp_path / "bundles"))
    for name in ("AMI", "SUBNET", "OPERATOR_CIDR", "WHEELHOUSE"):
        monkeypatch.setenv(f"AIRFLOW_VAR_NIGHTREEL_{name}", "")


def plan(tasks: list[Any] | None = None, **params: Any) -> dict[str, Any]:
    context: Any = {
        "params": ParamsDict(form()).dump() | params,
        "dag": SimpleNamespace(dag_id="nightly", tasks=tasks or []),
        "dag_run": SimpleNamespace(run_id="scheduled__1", start_date=STARTED, run_after=STARTED),
    }
    return PlanRun(task_id="plan").execute(context)


def test_plan_is_the_same_for_every_try() -> None:
    assert plan() == plan()


def test_plan_travels_as_json() -> None:
    assert RunPlan.from_json(plan(workers=3)).spec(ssh_port=22).workers == 3


def test_plan_fixes_the_expiry_from_the_runs_start() -> None:
    assert plan(lifetime_hours=8)["expires_at"] == "2026-11-01T11:00:00Z"


def test_plan_refuses_a_lifetime_shorter_than_the_work() -> None:
    task = SimpleNamespace(
        within_lifetime=True,
        execution_timeout=timedelta(hours=2),
        retries=1,
        retry_delay=timedelta(),
        max_retry_delay=None,
    )
    with pytest.raises(ValueError, match=r"lifetime_hours is 3.*may take 4\.0 h"):
        plan([task], lifetime_hours=3)


def test_plan_names_the_variable_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_NIGHTREEL_RATINGS", "")
    with pytest.raises(ValueError, match="nightreel_ratings is not set"):
        plan()


def test_plan_refuses_ratings_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_NIGHTREEL_RATINGS", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="not a folder"):
        plan()


def test_runs_have_clusters_of_their_own() -> None:
    assert len({cluster_name("a", "1"), cluster_name("a", "2"), cluster_name("b", "1")}) == 3


def test_plan_trains_by_what_the_last_search_found(tmp_path: Path) -> None:
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / WINNER).write_text('{"rank": 48, "alpha": 2.0, "publish": false}')
    assert plan(alpha=8.0)["arguments"][2:] == ["--rank", "48", "--alpha", "8.0"]
    assert plan()["publish"] is True
    assert plan(hyperparameters=JOB_DEFAULTS)["arguments"][2:] == []


@pytest.mark.parametrize("content", ["", "[]", "{", '{"rank"'])
def test_plan_bears_a_broken_memory_of_a_search(tmp_path: Path, content: str) -> None:
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / WINNER).write_text(content)
    assert plan()["arguments"][2:] == []


def test_the_gate_is_overridden_only_when_the_form_says_so() -> None:
    assert plan()["override_gate"] is False
    assert plan(override_gate=True)["override_gate"] is True
