"""A night in a live Airflow: begin it, wait for a moment in it, let something happen, and look what came of it."""

import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
import httpx
import psutil

from nightreel.airflow.money import summed
from nightreel.airflow.plan import cluster_name
from nightreel.cli.demo import DAG, Stack, leftovers
from nightreel.cluster.ec2 import Node, find_nodes
from nightreel.local.airflow import AirflowClient

REAPER = "reap_expired_clusters"
BUCKET = "nightly"
CONF = {"workers": 1, "instance_type": "c7i.large", "rank": 16, "iterations": 4}
ENDED = ("success", "failed")
PATIENCE = 600.0
"""Seconds that a night may take on a busy machine."""


def until[T](condition: Callable[[], T], *, within: float, what: str) -> T:
    """Wait for the condition and give its first true value; Airflow being too busy to answer is waited out."""
    deadline = time.monotonic() + within
    while True:
        with suppress(httpx.HTTPError):
            if value := condition():
                return value
        assert time.monotonic() < deadline, f"waited {within:.0f} s in vain for {what}"
        time.sleep(0.2)


def client_of(stack: Stack, service: str) -> Any:
    """A boto3 client of the sandbox."""
    aws = stack.sandbox.environment
    return boto3.client(
        service,
        endpoint_url=stack.sandbox.endpoint,
        region_name=aws["AWS_DEFAULT_REGION"],
        aws_access_key_id=aws["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=aws["AWS_SECRET_ACCESS_KEY"],
    )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an operator sees of a night, and what it has left."""

    colour: str
    left: int
    """Instances, volumes, interfaces and groups of any cluster of ours."""
    spark_runs: int
    """How often the job was started."""


@dataclass
class Night:
    """One run of the DAG."""

    stack: Stack
    client: AirflowClient
    run_id: str

    @classmethod
    def begin(cls, stack: Stack, **conf: Any) -> "Night":
        client = until(stack.airflow.client, within=60, what="a login")
        run_id = f"night-{uuid.uuid4().hex[:8]}"
        # With a logical date, as from the form of the UI: nights by schedule have one, and a deadline by it.
        client.trigger(DAG, CONF | conf, run_id=run_id, logical_date=datetime.now(UTC))
        return cls(stack, client, run_id)

    @staticmethod
    def going_on(stack: Stack) -> list[str]:
        return stack.airflow.client().unfinished_runs(DAG)

    @property
    def cluster(self) -> str:
        return cluster_name(DAG, self.run_id)

    @property
    def folder(self) -> Path:
        return self.stack.airflow.home.parent / "bundles" / self.cluster

    # ---- looking

    def states(self) -> dict[str, str]:
        return {task["task_id"]: str(task["state"]) for task in self.client.task_instances(DAG, self.run_id)}

    def why(self) -> str:
        """The states, and the end of the log of every task that failed; for the message of an assertion."""
        failed = [task for task, state in self.states().items() if state == "failed"]
        return "\n".join([str(self.states()), *(f"--- {task}\n{self.log(task)[-3000:]}" for task in failed)])

    def tries(self, task: str) -> int:
        return next(
            each["try_number"] for each in self.client.task_instances(DAG, self.run_id) if each["task_id"] == task
        )

    def log(self, task: str, *, try_number: int | None = None) -> str:
        return self.client.log(DAG, self.run_id, task, try_number or self.tries(task))

    def reach(self, task: str, *states: str) -> None:
        """Wait until a task is in one of these states."""

        def there() -> bool:
            now = self.states().get(task)
            assert now in states or self.client.run_state(DAG, self.run_id) not in ENDED, self.states()
            return now in states

        until(there, within=PATIENCE, what=f"{task} to be {' or '.join(states)}")

    def reach_call(self, action: str, task: str) -> None:
        """Wait until a call to EC2 that a fault was set for is being answered, and the task with it is running."""
        self.reach(task, "running")
        until(
            lambda: any(fault["met"] for fault in self.stack.sandbox.faults() if fault["action"] == action),
            within=120,
            what=action,
        )

    def reach_spark(self) -> None:
        """Wait until the Spark job runs and the task waits for it without a worker."""
        self.reach("train_similarity", "deferred")
        until(self.job_runs, within=60, what="the job on the master")

    def job_runs(self) -> bool:
        return bool(_processes_with("train_similarity.py"))

    def end(self) -> str:
        """Wait for the end of the run; its colour."""

        def ended() -> str:
            state = self.client.run_state(DAG, self.run_id)
            return state if state in ENDED else ""

        return until(ended, within=PATIENCE, what="the end of the run")

    def outcome(self) -> Outcome:
        colour = self.end()
        return Outcome(
            colour=colour,
            left=sum(leftovers(self.stack.sandbox).values()),
            spark_runs=len(list(self.folder.glob("logs/**/jobs/*/log"))),
        )

    def machines(self) -> int:
        """How many machines the run has paid for, by its own record."""
        return int(summed(self.folder)["machines"])

    def nodes(self) -> list[Node]:
        return find_nodes(self.ec2(), self.cluster)

    def ec2(self) -> Any:
        return client_of(self.stack, "ec2")

    def archived(self) -> list[str]:
        """What is kept of the run in the bucket."""
        prefix = f"runs/{self.cluster}/"
        found = client_of(self.stack, "s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return [entry["Key"].removeprefix(prefix) for entry in found]

    def instance(self, role: str) -> str:
        return next(node.instance_id for node in self.nodes() if node.role == role)

    def links(self, task: str) -> dict[str, str | None]:
        return self.client.links(DAG, self.run_id, task)

    def said_with(self, asset: str) -> dict[str, Any]:
        """What this run said with a new version of an Asset."""
        events = self.client.asset_events(asset)
        return next(event["extra"] for event in events if event["extra"].get("run") == self.run_id)

    def own_lines(self, task: str) -> list[str]:
        """What the task itself has logged, without what Airflow says around it."""
        entries = self.client.log_entries(DAG, self.run_id, task, self.tries(task))
        return [str(entry["event"]) for entry in entries if "nightreel" in str(entry.get("logger"))]

    # ---- doing

    def clear(self, *tasks: str, only_failed: bool = False) -> None:
        self.client.clear(DAG, self.run_id, list(tasks), only_failed=only_failed)

    def fail(self, task: str) -> None:
        self.client.set_task_state(DAG, self.run_id, task, "failed")

    def mark(self, state: str) -> None:
        self.client.set_run_state(DAG, self.run_id, state)

    def begins_again(self) -> None:
        """Wait until a cleared run is under way."""
        until(lambda: self.client.run_state(DAG, self.run_id) not in ENDED, within=60, what="the cleared run")

    def approve(self) -> None:
        self.client.respond(DAG, self.run_id, "approve_cost", option="Approve")

    def kill_driver(self) -> None:
        """SIGKILL to the Spark job with all that it started, so that it leaves no exit code."""
        [group] = {os.getpgid(process.pid) for process in _processes_with("sh run.sh")}
        os.killpg(group, signal.SIGKILL)

    def expire(self) -> None:
        """Let the cluster's expiry be over."""
        tags = [{"Key": "nightreel:expires-at", "Value": "2020-01-01T00:00:00Z"}]
        self.ec2().create_tags(Resources=[node.instance_id for node in self.nodes()], Tags=tags)

    def reap(self) -> str:
        """Run the reaper's DAG; its colour."""
        run_id = self.client.trigger(REAPER, {})

        def ended() -> str:
            state = self.client.run_state(REAPER, run_id)
            return state if state in ENDED else ""

        return until(ended, within=PATIENCE, what="the end of the reaper")

    def kill(self, *parts: str) -> list[Any]:
        """SIGKILL to parts of Airflow, with all that they started."""
        return [self.stack.services.kill(f"airflow {part}") for part in parts]

    def restart(self, services: list[Any]) -> None:
        for service in services:
            self.stack.services.start(service)

    def kill_worker(self, task: str) -> None:
        """SIGKILL to the process of a task, as soon as it has one."""
        until(lambda: self._kill_worker(task), within=PATIENCE, what=f"a process of {task}")

    def _kill_worker(self, task: str) -> bool:
        tasks = self.client.task_instances(DAG, self.run_id)
        [own] = [each["id"] for each in tasks if each["task_id"] == task]
        found = _processes_with(f"airflow worker -- {own}")
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return bool(found)


def _processes_with(words: str) -> list[psutil.Process]:
    """Of this test's own processes alone: the machine may have other nights going on."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if words in " ".join(process.cmdline()):
                found.append(process)
    return found


class Webhook:
    """A server of 127.0.0.1 that remembers what it is told."""

    def __enter__(self) -> Self:
        self.heard: list[dict[str, Any]] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def connection(self) -> dict[str, Any]:
        return {"conn_type": "http", "host": "127.0.0.1", "schema": "http", "port": self._server.server_port}
