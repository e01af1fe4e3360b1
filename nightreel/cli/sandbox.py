"""`nightreel sandbox`: EC2 on this machine."""

import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from nightreel.sandbox import client
from nightreel.sandbox.server import serve
from nightreel.sandbox.settings import AlreadyRunningError, Record, SandboxError, Settings

app = typer.Typer(help="EC2 on this machine: an AWS endpoint, and a real SSH host per instance.", no_args_is_help=True)

State = Annotated[
    Path | None,
    typer.Option(
        envvar="NIGHTREEL_SANDBOX_STATE", help="The sandbox's folder (default: under the user's state directory)."
    ),
]


def _fail(message: str) -> typer.Exit:
    Console(stderr=True).print(f"[bold red]error:[/] {message}", highlight=False, soft_wrap=True)
    return typer.Exit(1)


def _running(state: Path | None) -> client.Sandbox:
    try:
        settings = Settings.resolve(state=state)
    except SandboxError as error:
        raise _fail(str(error)) from error
    sandbox = client.Sandbox.find(settings.state)
    if sandbox is None:
        raise _fail(f"no sandbox runs in {settings.state}; start one with: nightreel sandbox up --detach")
    return sandbox


def _announce(record: Record) -> None:
    console = Console(soft_wrap=True)
    console.print(f"Sandbox at [bold]{record.endpoint}[/], SSH on port {record.ssh_port}; {record.isolation}.")
    console.print('Point clients at it with: [bold]eval "$(nightreel sandbox env)"[/]', highlight=False)


@app.command()
def up(
    state: State = None,
    network: Annotated[
        str | None, typer.Option(envvar="NIGHTREEL_SANDBOX_NETWORK", help="A /16 in 127.0.0.0/8 for the instances.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port of the AWS endpoint; 0 picks a free one.")] = None,
    ssh_port: Annotated[int | None, typer.Option(help="Port of SSH on every host; 0 picks a free one.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return as soon as it answers.")] = False,
) -> None:
    """Start the sandbox; in the foreground it runs until Ctrl-C."""
    try:
        settings = Settings.resolve(state=state, network=network, port=port, ssh_port=ssh_port)
        if detach:
            before = Record.read(settings.state)
            sandbox = client.start(settings)
            if before:
                Console().print(f"A sandbox runs in {settings.state} already (process {before.pid}).")
            _announce(sandbox.record)
        else:
            serve(settings, on_ready=_announce)
    except AlreadyRunningError as error:
        raise _fail(str(error)) from error
    except SandboxError as error:
        raise _fail(str(error)) from error


@app.command()
def down(state: State = None) -> None:
    """Stop the sandbox, and everything that runs on its instances."""
    settings = Settings.resolve(state=state)
    stopped = client.stop(settings.state)
    Console().print("Stopped; nothing of it is left." if stopped else f"No sandbox runs in {settings.state}.")


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
    table = Table("instance", "state", "address", "home")
    for instance in instances:
        table.add_row(instance["id"], instance["state"], instance["address"], instance["home"])
    Console().print(table)


@app.command()
def env(state: State = None) -> None:
    """Print export lines: eval "$(nightreel sandbox env)"."""
    for name, value in _running(state).environment.items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
