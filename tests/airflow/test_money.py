from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput

from nightreel.airflow import money
from nightreel.airflow.money import ApproveCost, meter, summed, write_run_report
from nightreel.bundle.reader import open_bundle
from nightreel.cluster.cost import fixed_prices
from nightreel.cluster.ec2 import Node
from tests.web.made_bundles import make_bundle

NOW = datetime.now(UTC)
PRICES = fixed_prices({"m7i.large": 0.1})


def plan(**changes: Any) -> dict[str, Any]:
    return {
        "cluster": "nightly-1",
        "workers": 2,
        "instance_type": "m7i.large",
        "expires_at": (NOW + timedelta(hours=5)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "ratings": "/ratings",
        "bundle": "/bundles/nightly-1/similarity.arrow",
        "arguments": [],
        "publish": True,
        "ami": None,
        "subnet": None,
        "operator_cidr": None,
        "wheelhouse": None,
        "cost_cap": 10.0,
        "above_cap": "ask",
        "prices": {"m7i.large": 0.1},
    } | changes


def approve(**changes: Any) -> Any:
    task = ApproveCost(
        task_id="approve", plan=plan(**changes), response_timeout=timedelta(hours=1), execution_timeout=timedelta(1)
    )
    context: Any = {"ti": MagicMock(), "task_instance": MagicMock()}
    return task.execute(context)


def test_a_run_within_the_cap_goes_on() -> None:
    # Three machines at $0.1, and next to nothing for disks and addresses, for five hours.
    assert 1.5 < approve()["worst_case"] < 1.7


def test_a_run_above_the_cap_is_refused_when_it_is_not_to_ask() -> None:
    with pytest.raises(AirflowFailException, match=r"more than the cap of \$1\.00"):
        approve(cost_cap=1.0, above_cap="refuse")


def test_a_run_above_the_cap_waits_for_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(
        "airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **about: asked.update(about)
    )
    with pytest.raises(TaskAwaitingInput):
        approve(cost_cap=1.0)
    assert "the cap is $1.00" in asked["subject"]


def test_a_price_that_nobody_knows_holds_no_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = MagicMock(hourly=lambda *_: None)
    monkeypatch.setattr(money.Reach, "prices", lambda *_: nobody)
    with pytest.raises(AirflowFailException, match="is not known"):
        approve(above_cap="refuse")


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ({"error": "too late", "error_type": "timeout"}, "nobody approved the run within 1:00:00"),
        ({"chosen_options": ["Reject"], "params_input": {}, "responded_by_user": {"name": "Ada"}}, "Ada rejected"),
    ],
)
def test_a_run_that_was_not_approved_fails_for_good(event: dict[str, Any], sentence: str) -> None:
    task = ApproveCost(
        task_id="approve", plan=plan(), response_timeout=timedelta(hours=1), execution_timeout=timedelta(1)
    )
    context: Any = {}
    with pytest.raises(AirflowFailException, match=sentence):
        task.execute_complete(context, event)


def node(instance_id: str, *, hours: float, state: str = "terminated") -> Node:
    launched = NOW - timedelta(hours=3)
    return Node(
        instance_id=instance_id,
        role="worker",
        state=state,
        private_ip="10.0.0.1",
        public_ip=None,
        instance_type="m7i.large",
        launched=launched,
        ended=launched + timedelta(hours=hours),
        expires_at="",
        run="run",
        reach="private",
    )


def test_what_was_metered_stays_when_ec2_has_forgotten(tmp_path: Path) -> None:
    first = meter(tmp_path, [node("i-1", hours=1), node("i-2", hours=1)], PRICES)
    assert meter(tmp_path, [], PRICES) == first
    assert (first["machines"], first["machine_seconds"], first["final"]) == (2, 7200, True)


def test_machines_of_a_cleared_run_come_on_top(tmp_path: Path) -> None:
    once = meter(tmp_path, [node("i-1", hours=1)], PRICES)["usd"]
    twice = meter(tmp_path, [node("i-2", hours=1)], PRICES)["usd"]
    assert twice == pytest.approx(2 * once, abs=1e-5)
    assert once == pytest.approx(0.1, abs=0.01)


def test_a_machine_that_runs_is_not_the_last_word(tmp_path: Path) -> None:
    assert not meter(tmp_path, [node("i-1", hours=1, state="running")], PRICES)["final"]


def test_a_run_without_a_cluster_has_cost_nothing(tmp_path: Path) -> None:
    assert summed(tmp_path) == {"usd": 0, "machines": 0, "machine_seconds": 0, "final": False}


@pytest.mark.parametrize(("state", "until"), [("terminated", "to its end"), ("running", "when the bundle was fetched")])
def test_the_report_has_what_was_estimated_and_what_was_metered(tmp_path: Path, state: str, until: str) -> None:
    make_bundle(tmp_path / "similarity.arrow")
    cost = meter(tmp_path, [node("i-1", hours=1, state=state)], PRICES)["usd"]
    report = write_run_report(
        open_bundle(tmp_path / "similarity.arrow"), {"hourly": 0.3, "worst_case": 2.4}
    ).read_text()
    assert f"${cost:.2f}" in report
    assert "estimated at $0.3000 per hour and at most $2.40" in report
    assert until in report
