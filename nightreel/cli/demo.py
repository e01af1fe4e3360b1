"""`nightreel demo`: the whole of Nightreel on this machine, once through, for real."""

import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import boto3
import httpx
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nightreel.cluster import destroy
from nightreel.local.airflow import PASSWORD, USER, AirflowClient, LocalAirflow
from nightreel.local.services import ServiceError, Services, end_descendants
from nightreel.local.site import LocalSite
from nightreel.recommend.datasets import find_dataset
from nightreel.recommend.ratings import find_layout
from nightreel.sandbox.client import Sandbox, running_sandbox

DAG = "nightly_retraining"
# The smallest machines that Spark likes: the demo's share one computer.
CONF = {"workers": 2, "instance_type": "c7i.large"}
RUN_TIMEOUT = 30 * 60.0
_COLOURS = {
    "success": "green",
    "failed": "red",
    "upstream_failed": "dark_orange",
    "running": "cyan",
    "deferred": "blue",
}
_ENDED = ("success", "failed")

console = Console(soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The parts of Nightreel, running on this machine."""

    sandbox: Sandbox
    site: LocalSite
    airflow: LocalAirflow
    services: Services


@contextmanager
def running_stack(
    state: Path,
    ratings: Path,
    *,
    site_port: int = 8000,
    airflow_port: int = 8080,
    retry_delay: float = 5.0,
    hosts: str | None = None,
    airflow_settings: Mapping[str, Any] | None = None,
    connections: Mapping[str, Mapping[str, Any]] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Stack]:
    """Sandbox, site and Airflow, wired to each other, for as long as the context lasts.

    `airflow_settings` are more settings of the LocalAirflow, `connections` and `variables` more of Airflow's own.
    `hosts` is the kind of the sandbox's hosts; None leaves it to the environment. Raises SandboxError or ServiceError
    when a part does not come up; what was started by then is ended.
    """
    with ExitStack() as stack:
        sandbox = stack.enter_context(running_sandbox(state / "sandbox", hosts=hosts))
        services = stack.enter_context(Services())
        site = LocalSite.on_free_port(state / "site", preferred=site_port)
        airflow = LocalAirflow.on_free_port(
            state / "airflow",
            preferred=airflow_port,
            connections=_connections(sandbox, site) | dict(connections or {}),
            variables={
                "nightreel_master_secret": secrets.token_hex(32),
                "nightreel_ami": sandbox.environment["NIGHTREEL_AMI"],
                "nightreel_ratings": str(ratings),
                "nightreel_artifacts": str(state / "bundles"),
                **(variables or {}),
            },
            **{"environment": {"NIGHTREEL_RETRY_DELAY": str(retry_delay)}, **(airflow_settings or {})},
        )
        site.start(services)
        airflow.start(services)
        yield Stack(sandbox=sandbox, site=site, airflow=airflow, services=services)


def _connections(sandbox: Sandbox, site: LocalSite) -> dict[str, Mapping[str, Any]]:
    aws = sandbox.environment
    return {
        "nightreel_aws": {
            "conn_type": "aws",
            "login": aws["AWS_ACCESS_KEY_ID"],
            # The sandbox takes any; Airflow blots the word out of all logs, so it should be no word.
            "password": secrets.token_hex(20),
            "extra": {"endpoint_url": aws["AWS_ENDPOINT_URL"], "region_name": aws["AWS_DEFAULT_REGION"]},
        },
        "nightreel_ssh": {"conn_type": "ssh", "login": "ec2-user", "port": int(aws["NIGHTREEL_SSH_PORT"])},
        "nightreel_site": {
            "conn_type": "http",
            "host": "127.0.0.1",
            "schema": "http",
            "port": site.port,
            "password": site.token,
            "extra": {"export_token": site.export_token},
        },
    }


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command()(demo)


def demo(
    *,
    leave: Annotated[bool, typer.Option("--exit", help="End when the run has ended instead of at Ctrl-C.")] = False,
    data: Annotated[Path | None, typer.Option(help="Folder with MovieLens ratings; else NIGHTREEL_DATA, …")] = None,
    site_port: Annotated[int, typer.Option(envvar="NIGHTREEL_SITE_PORT", help="Port of the site.")] = 8000,
    airflow_port: Annotated[int, typer.Option(envvar="NIGHTREEL_AIRFLOW_PORT", help="Port of Airflow.")] = 8080,
    hosts: Annotated[
        str | None,
        typer.Option(
            envvar="NIGHTREEL_SANDBOX_HOSTS",
            help="Kind of the sandbox's hosts: processes (the default), sshd, or machines (as root: namespaces).",
        ),
    ] = None,
) -> None:
    """Bring everything up on this machine, retrain once, and show the result.

    Ports that are taken are replaced by free ones. With --exit the exit code is 0 only if the run succeeded, the site
    serves the new model and nothing is left of the cluster.
    """
    # SIGINT too: a shell that starts the demo in the background has it ignored.
    for ending in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(ending, _interrupt)
    state = Path(tempfile.mkdtemp(prefix="nightreel-demo-"))
    failed = True
    try:
        failed = not _run_demo(state, data, leave=leave, ports=(site_port, airflow_port), hosts=hosts)
    except KeyboardInterrupt:
        failed = False
        console.print("\nInterrupted: everything is being ended.")
        if leave:
            raise typer.Exit(130) from None
    finally:
        # From here on a second Ctrl-C would only leave something behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        end_descendants()
        if failed:
            console.print(f"[yellow]The logs are kept in {state}[/]")
        else:
            shutil.rmtree(state, ignore_errors=True)
    if failed:
        raise typer.Exit(1)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run_demo(state: Path, data: Path | None, *, leave: bool, ports: tuple[int, int], hosts: str | None) -> bool:
    ratings = (find_layout(data).ratings.parent if data else find_dataset()).resolve()
    console.print(f"Ratings: {ratings}")
    started = time.monotonic()
    console.print("Bringing up the sandbox, the site and Airflow …")
    with running_stack(state, ratings, site_port=ports[0], airflow_port=ports[1], hosts=hosts) as stack:
        console.print(f"All parts are up after {time.monotonic() - started:.0f} s.")
        try:
            succeeded = _retrain(stack)
            if not leave:
                with suppress(KeyboardInterrupt):  # the way to leave
                    _stay(stack)
        finally:
            # From here on another Ctrl-C would only leave something behind.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    return succeeded


def _retrain(stack: Stack) -> bool:
    client = stack.airflow.client()
    stack.services.await_true(lambda: _dag_is_in(client), what=f"the DAG {DAG}", timeout=120)
    run_id = client.trigger(DAG, CONF)
    console.print(f"Airflow: {client.run_url(DAG, run_id)} (login {USER}, password {PASSWORD})")
    state = follow_run(client, run_id, check=stack.services.check)
    model = stack.site.served_model()
    left = leftovers(stack.sandbox)
    console.print(f"The run: {state}. The model that the site serves: {model or 'none'}.")
    console.print(f"Left on EC2: {', '.join(f'{count} {kind}' for kind, count in left.items())}.")
    if state == "success" and model:
        console.print(f"[bold]The site: {stack.site.url}[/]")
    return state == "success" and model is not None and not any(left.values())


def _dag_is_in(client: AirflowClient) -> bool:
    if errors := client.import_errors():
        raise ServiceError(f"Airflow could not read the DAGs:\n{errors[0]}")
    return client.has_dag(DAG)


def follow_run(
    client: AirflowClient, run_id: str, *, check: Callable[[], None] = lambda: None, timeout: float = RUN_TIMEOUT
) -> str:
    """Show a run's tasks until it has ended, for `timeout` seconds at most; its last state."""
    deadline = time.monotonic() + timeout
    shown: dict[str, str] = {}
    state, tasks = "unknown", list[dict[str, Any]]()
    with Live(console=console, refresh_per_second=4) as live:
        while True:
            check()
            with suppress(httpx.HTTPError):  # Airflow on SQLite is too busy now and then; it is asked again
                state, tasks = client.run_state(DAG, run_id), client.task_instances(DAG, run_id)
            if console.is_terminal:
                live.update(_task_table(tasks))
            else:
                shown = _print_changes(tasks, shown)
            if state in _ENDED or time.monotonic() > deadline:
                return state
            time.sleep(0.5)


def _task_table(tasks: list[dict[str, Any]]) -> Table:
    table = Table("task", "state", "try", "seconds")
    for task in tasks:
        state = task["state"] or "waiting"
        seconds = f"{task['duration']:.1f}" if task["duration"] else ""
        table.add_row(task["task_id"], Text(state, _COLOURS.get(state, "dim")), str(task["try_number"]), seconds)
    return table


def _print_changes(tasks: list[dict[str, Any]], shown: dict[str, str]) -> dict[str, str]:
    for task in tasks:
        task_id, state = task["task_id"], task["state"] or "waiting"
        if shown.get(task_id) != state and state not in ("waiting", "scheduled", "queued"):
            seconds = f" ({task['duration']:.0f} s)" if task["end_date"] and task["duration"] else ""
            console.print(f"  {task_id}: {state}{seconds}")
    return {task["task_id"]: task["state"] or "waiting" for task in tasks}


def leftovers(sandbox: Sandbox) -> dict[str, int]:
    """What the EC2 API still lists of ours, by kind of resource."""
    aws = sandbox.environment
    ec2 = boto3.client(
        "ec2",
        endpoint_url=sandbox.endpoint,
        region_name=aws["AWS_DEFAULT_REGION"],
        aws_access_key_id=aws["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=aws["AWS_SECRET_ACCESS_KEY"],
    )
    return destroy.leftovers(ec2)


def _stay(stack: Stack) -> None:
    console.print(f"Airflow stays at {stack.airflow.url}. Ctrl-C ends everything.")
    while True:
        stack.services.check()
        time.sleep(1)
