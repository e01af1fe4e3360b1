"""`nightreel sandbox`: EC2 on this machine."""

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from nightreel.cli.output import console
from nightreel.sandbox import client
from nightreel.sandbox.server import serve
from nightreel.sandbox.settings import Record, SandboxError, Settings, state_folder

app = typer.Typer(help="EC2 on this machine: an AWS endpoint, and a real SSH host per instance.", no_args_is_help=True)

State = Annotated[
    Path | None,
    typer.Option(
        envvar="NIGHTREEL_SANDBOX_STATE", help="The sandbox's folder (default: under the user's state directory)."
    ),
]


def _fail(message: str) -> typer.Exit:
    Console(stderr=True).print(f"[bold red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    return typer.Exit(1)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """A SandboxError is a message for the user, not a traceback."""
    try:
        yield
    except SandboxError as error:
        raise _fail(str(error)) from error


def _running(state: Path | None) -> client.Sandbox:
    with _plain_errors():
        folder = state_folder(state)
        sandbox = client.Sandbox.find(folder)
        if sandbox is None:
            raise SandboxError(f"no sandbox runs in {folder}; start one with: nightreel sandbox up --detach")
        return sandbox


def _announce(record: Record) -> None:
    console.print(f"Sandbox at [bold]{record.endpoint}[/], SSH on port {record.ssh_port}; {record.isolation}.")
    console.print('Point clients at it with: [bold]eval "$(nightreel sandbox env)"[/]', highlight=False)


@app.command()
def up(
    state: State = None,
    network: Annotated[
        str | None,
        typer.Option(
            envvar="NIGHTREEL_SANDBOX_NETWORK",
            help="A /16 for the instances: in 127.0.0.0/8, for the hosts `machines` in 10.0.0.0/8, where 10.N claims "
            "127.N as well.",
        ),
    ] = None,
    *,
    hosts: Annotated[
        str | None,
        typer.Option(
            envvar="NIGHTREEL_SANDBOX_HOSTS",
            help="What an instance is: `processes` (the default; needs nothing), `sshd` (OpenSSH), `machines` (root: "
            "a file system, network, sudo and services of its own).",
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port of the AWS endpoint; 0 picks a free one.")] = None,
    ssh_port: Annotated[int | None, typer.Option(help="Port of SSH on every host; 0 picks a free one.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return as soon as it answers.")] = False,
) -> None:
    """Start the sandbox; in the foreground it runs until Ctrl-C."""
    with _plain_errors():
        settings = Settings.resolve(state=state, network=network, port=port, ssh_port=ssh_port, hosts=hosts)
        if not detach:
            serve(settings, on_ready=_announce)
            return
        if before := Record.read(settings.state):
            Console(soft_wrap=True).print(f"A sandbox runs in {settings.state} already (process {before.pid}).")
        _announce(client.start(settings).record)


@app.command()
def down(state: State = None) -> None:
    """Stop the sandbox, and everything that runs on its instances."""
    with _plain_errors():
        folder = state_folder(state)
        stopped = client.stop(folder)
    message = "Stopped; nothing of it is left." if stopped else f"No sandbox runs in {folder}."
    Console(soft_wrap=True).print(message)


@app.command()
def status(
    state: State = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the endpoint and the instances; exit code 1 when no sandbox runs."""
    sandbox = _running(state)
    instances = sandbox.instances()
    if as_json:
        json.dump({**asdict(sandbox.record), "state": str(sandbox.state), "instances": instances}, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    _announce(sandbox.record)
    table = Table(Column("instance", no_wrap=True), "state", "address", Column("home", overflow="fold"))
    for instance in instances:
        table.add_row(instance["id"], instance["state"], instance["address"], instance["home"])
    console.print(table)


@app.command()
def env(state: State = None) -> None:
    """Print export lines: eval "$(nightreel sandbox env)"."""
    for name, value in _running(state).environment.items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
