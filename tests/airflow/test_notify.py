import asyncio
import json
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from airflow.providers.smtp.hooks import smtp

from nightreel.airflow import notify
from nightreel.airflow.notify import GateRefused, RunFailed, deadline_missed

WEBHOOK = {
    "conn_type": "http",
    "host": "hooks.example",
    "schema": "https",
    "password": "p",
    "extra": {"path": "/films"},
}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []

    def post(url: str, **about: Any) -> httpx.Response:
        heard.append({"url": url, **about})
        return httpx.Response(204, request=httpx.Request("POST", url))

    monkeypatch.setattr(httpx, "post", post)
    monkeypatch.setenv("AIRFLOW_CONN_NIGHTREEL_NOTIFY", json.dumps(WEBHOOK))
    return heard


def context(**more: Any) -> Any:
    return {"dag": SimpleNamespace(dag_id="nightly"), "run_id": "scheduled__1", **more}


def test_a_red_run_is_told_to_the_webhook(sent: list[dict[str, Any]]) -> None:
    RunFailed().notify(context(reason="task_failure"))
    [note] = sent
    assert (note["url"], note["headers"]) == ("https://hooks.example/films", {"Authorization": "Bearer p"})
    assert "the run scheduled__1 failed\nreason: task_failure" in note["json"]["text"]


def test_a_refused_model_is_told_with_the_gates_sentence(sent: list[dict[str, Any]]) -> None:
    GateRefused().notify(context(exception=RuntimeError("Refused: NDCG@10 fell by 3 %.")))
    assert "Refused: NDCG@10 fell by 3 %." in sent[0]["json"]["text"]


def test_a_missed_deadline_is_told_with_the_run(sent: list[dict[str, Any]]) -> None:
    run = {"dag_id": "nightly", "dag_run_id": "scheduled__1", "state": "running"}
    asyncio.run(deadline_missed(context={"dag_run": run, "deadline": {"deadline_time": "06:00"}}))
    assert "scheduled__1 has published nothing by its deadline\nstate: running\ndue: 06:00" in sent[0]["json"]["text"]


def test_without_a_connection_the_log_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(_: str) -> None:
        raise notify.AirflowNotFoundException("no such connection")

    monkeypatch.setattr(notify.BaseHook, "get_connection", missing)
    assert notify.tell("the run failed", {"reason": "rain"}) == "log"
    assert "the run failed\nreason: rain" in caplog.text


def test_a_webhook_that_is_away_fails_nothing(sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise httpx.ConnectError("nobody there")

    monkeypatch.setattr(httpx, "post", away)
    assert notify.tell("the run failed", {}) == "log"


def test_mail_goes_to_those_in_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    mailed: dict[str, Any] = {}

    class Mail:
        def __init__(self, smtp_conn_id: str) -> None: ...

        def __enter__(self) -> "Mail":
            return self

        def __exit__(self, *_: Any) -> None: ...

        def send_email_smtp(self, **about: Any) -> None:
            mailed.update(about)

    monkeypatch.setattr(smtp, "SmtpHook", Mail)
    extra = {"to": "ops@films.example"}
    monkeypatch.setenv("AIRFLOW_CONN_NIGHTREEL_NOTIFY", json.dumps({"conn_type": "smtp", "host": "m", "extra": extra}))
    assert notify.tell("the run failed", {"reason": "rain"}) == "e-mail"
    assert (mailed["to"], mailed["subject"]) == ("ops@films.example", "the run failed")
