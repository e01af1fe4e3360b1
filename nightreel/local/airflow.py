"""Airflow on this machine: its four parts as processes, and its REST API.

The parts are started one by one rather than by `airflow standalone`, which binds its log servers to every address,
leaves its children behind on SIGTERM and never restarts a scheduler that died.
"""

import base64
import json
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from nightreel.local.services import Service, Services, free_port

USER = PASSWORD = "admin"  # noqa: S105 (a local login that is printed; the server listens on 127.0.0.1 alone)
_DAGS = Path(__file__).resolve().parents[2] / "dags"


@dataclass(frozen=True, kw_only=True)
class LocalAirflow:
    """An Airflow with a home, database and secrets of its own.

    `connections` and `variables` are handed over in the environment, so no task can change them.
    """

    home: Path
    port: int
    connections: Mapping[str, Mapping[str, Any]]
    variables: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    dags: Path = _DAGS

    @classmethod
    def on_free_port(cls, home: Path, *, preferred: int = 8080, **settings: Any) -> "LocalAirflow":
        """An Airflow on `preferred`, or on any port when that one is taken."""
        return cls(home=home, port=free_port(preferred), **settings)

    @property
    def url(self) -> str:
        """Where its UI and API are served."""
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def _environment(self) -> dict[str, str]:
        settings = {
            "CORE__DAGS_FOLDER": str(self.dags),
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "4",  # each slot is a process
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "API__HOST": "127.0.0.1",
            "API__PORT": str(self.port),
            "API__BASE_URL": self.url,
            "API__WORKERS": "1",
            "API__SECRET_KEY": secrets.token_hex(16),
            "API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home / 'airflow.db'}",
            "DAG_PROCESSOR__REFRESH_INTERVAL": "10",
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
            "WORKERS__EXECUTION_API_TIMEOUT": "60",  # a busy machine answers late, and a task that waits in vain fails
        }
        found = {f"AIRFLOW__{name}": value for name, value in settings.items()}
        found |= {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in self.connections.items()}
        found |= {f"AIRFLOW_VAR_{name.upper()}": value for name, value in self.variables.items()}
        return {"AIRFLOW_HOME": str(self.home), "NO_PROXY": "127.0.0.1,localhost", **found, **self.environment}

    def start(self, services: Services) -> None:
        """Bring all parts up and wait until they are healthy. Raises ServiceError."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "passwords.json").write_text(json.dumps({USER: PASSWORD}))
        services.run(self._part("db-migrate", "db", "migrate"))
        # The API server first: a task that starts before it is refused, and loses a try.
        services.start(self._part("api-server"))
        services.start(self._part("dag-processor"))
        services.await_true(self._api_answers, what="Airflow's API server", timeout=300)
        services.start(self._part("scheduler", "scheduler", "--skip-serve-logs"))
        services.start(self._part("triggerer", "triggerer", "--skip-serve-logs"))
        services.await_true(self._healthy, what="Airflow's scheduler, triggerer and DAG processor", timeout=300)

    def _part(self, name: str, *arguments: str) -> Service:
        command = [sys.executable, "-m", "airflow", *(arguments or (name,))]
        return Service(
            name=f"airflow {name}",
            command=command,
            log=self.home / "service-logs" / f"{name}.log",
            environment=self._environment,
        )

    def _api_answers(self) -> bool:
        return self._get_json("/api/v2/version") is not None

    def _healthy(self) -> bool:
        health = self._get_json("/api/v2/monitor/health") or {}
        parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all((health.get(part) or {}).get("status") == "healthy" for part in parts)

    def _get_json(self, path: str) -> Any:
        try:
            answer = httpx.get(self.url + path, timeout=5, trust_env=False)
        except httpx.HTTPError:
            return None
        return answer.json() if answer.is_success else None

    def client(self) -> "AirflowClient":
        """A logged-in client of the REST API."""
        return AirflowClient(self.url)


class AirflowClient:
    """What we ask of Airflow's REST API."""

    def __init__(self, url: str) -> None:
        self._url = url
        answer = httpx.post(
            f"{url}/auth/token", json={"username": USER, "password": PASSWORD}, timeout=30, trust_env=False
        )
        token = answer.raise_for_status().json()["access_token"]
        self._http = httpx.Client(
            base_url=f"{url}/api/v2",
            headers={"Authorization": f"Bearer {token}"},
            # SQLite answers slowly while the scheduler writes.
            timeout=30,
            trust_env=False,
        )

    def has_dag(self, dag_id: str) -> bool:
        """Whether the DAG processor has brought this DAG in."""
        return self._http.get(f"/dags/{dag_id}").is_success

    def import_errors(self) -> list[str]:
        """Why DAG files could not be brought in."""
        answer = self._http.get("/importErrors").raise_for_status().json()
        return [error["stack_trace"] for error in answer["import_errors"]]

    def trigger(
        self, dag_id: str, conf: Mapping[str, Any], *, run_id: str | None = None, logical_date: datetime | None = None
    ) -> str:
        """Start a run with these parameters; its id. Airflow's form gives a logical date: when it was opened."""
        moment = logical_date.isoformat() if logical_date else None
        body = {"logical_date": moment, "conf": dict(conf)} | ({"dag_run_id": run_id} if run_id else {})
        return str(self._http.post(f"/dags/{dag_id}/dagRuns", json=body).raise_for_status().json()["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """`queued`, `running`, `success` or `failed`."""
        return str(self._http.get(f"/dags/{dag_id}/dagRuns/{run_id}").raise_for_status().json()["state"])

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The run's task instances."""
        answer = self._http.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances").raise_for_status()
        found: list[dict[str, Any]] = answer.json()["task_instances"]
        return found

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int) -> str:
        """A task's log as plain text, one message a line; exceptions with their kind and sentence."""
        return "\n".join(_in_words(entry) for entry in self.log_entries(dag_id, run_id, task_id, try_number))

    def log_entries(self, dag_id: str, run_id: str, task_id: str, try_number: int) -> list[dict[str, Any]]:
        """A task's log, message by message, each with its logger."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        answer = self._http.get(path, headers={"Accept": "application/json"}).raise_for_status()
        found: list[dict[str, Any]] = answer.json()["content"]
        return found

    def clear(self, dag_id: str, run_id: str, task_ids: list[str], *, only_failed: bool = False) -> None:
        """Clear tasks of a run, with everything downstream of them, or with what failed of it."""
        body = {
            "dag_run_id": run_id,
            "task_ids": task_ids,
            "include_downstream": True,
            "only_failed": only_failed,
            "dry_run": False,
        }
        self._http.post(f"/dags/{dag_id}/clearTaskInstances", json=body).raise_for_status()

    def versions(self, dag_id: str) -> int:
        """How many versions of this DAG Airflow has seen run or come in."""
        answer = self._http.get(f"/dags/{dag_id}/dagVersions").raise_for_status()
        return int(answer.json()["total_entries"])

    def run_ids(self, dag_id: str) -> list[str]:
        """The ids of the latest runs."""
        query: dict[str, str | int] = {"order_by": "-run_after", "limit": 100}
        answer = self._http.get(f"/dags/{dag_id}/dagRuns", params=query).raise_for_status()
        return [run["dag_run_id"] for run in answer.json()["dag_runs"]]

    def unfinished_runs(self, dag_id: str) -> list[str]:
        """The ids of the runs that have not ended."""
        answer = self._http.get(f"/dags/{dag_id}/dagRuns", params={"state": ["queued", "running"]}).raise_for_status()
        return [run["dag_run_id"] for run in answer.json()["dag_runs"]]

    def set_run_state(self, dag_id: str, run_id: str, state: str) -> None:
        """Do as a user who marks a run `success` or `failed`."""
        self._http.patch(f"/dags/{dag_id}/dagRuns/{run_id}", json={"state": state}).raise_for_status()

    def set_task_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Do as a user who marks a task `success` or `failed`."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self._http.patch(path, json={"new_state": state}).raise_for_status()

    def asset_events(self, name: str) -> list[dict[str, Any]]:
        """What was said with each version of an Asset, the latest first."""
        found = self._http.get("/assets", params={"name_pattern": name}).raise_for_status().json()["assets"]
        query = {"asset_id": found[0]["id"], "order_by": "-timestamp"}
        answer = self._http.get("/assets/events", params=query).raise_for_status()
        events: list[dict[str, Any]] = answer.json()["asset_events"]
        return events

    def respond(self, dag_id: str, run_id: str, task_id: str, *, option: str) -> None:
        """Answer a task that waits for somebody's word."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
        self._http.patch(path, json={"chosen_options": [option], "params_input": {}}).raise_for_status()

    def links(self, dag_id: str, run_id: str, task_id: str) -> dict[str, str | None]:
        """The buttons on a task's page, by name."""
        answer = self._http.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/links")
        found: dict[str, str | None] = answer.raise_for_status().json()["extra_links"]
        return found

    def run_url(self, dag_id: str, run_id: str) -> str:
        """The page of a run in the UI."""
        return f"{self._url}/dags/{dag_id}/runs/{run_id}"


def _in_words(entry: Mapping[str, Any]) -> str:
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in entry.get("error_detail") or []]
    return "\n".join([str(entry.get("event", entry)), *errors])
