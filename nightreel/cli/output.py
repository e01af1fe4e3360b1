"""What commands say, and where: results on standard output, everything else on standard error."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import typer
from rich.console import Console

from nightreel.cluster.ec2 import Node
from nightreel.cluster.nodes import NodeResult

_PIPE_WIDTH = 1000


def _console(*, stderr: bool) -> Console:
    # Nobody looks at a pipe through 80 columns, which is what Rich takes it for: tables would be cut.
    terminal = (sys.stderr if stderr else sys.stdout).isatty() or "COLUMNS" in os.environ
    return Console(stderr=stderr, soft_wrap=True, highlight=False, width=None if terminal else _PIPE_WIDTH)


console = _console(stderr=False)
"""Results."""
aside = _console(stderr=True)
"""Everything else: what is going on, questions, warnings."""

# Fields of the library's descriptions whose options have another name than the field.
_OPTIONS = {
    "allow_world": "--open-to-the-world",
    "spark_home": "--remote-spark-home",
    "minimum workers": "--minimum-workers",
    "prices:": "--price:",
    "subnets:": "--subnet:",
    "tags:": "--tag:",
    "operator_cidr": "--operator-cidr",
    "private_ips": "--private-ips",
    "ssh_port": "--ssh-port",
    "volume_gb": "--volume-gb",
    "spark_source": "--spark-source",
    "spark_sha512": "--spark-sha512",
    "expires_at": "--hours",
    "user_data": "--user-data",
}


class UsageError(ValueError):
    """The command was called in a way that can not work; nothing was done. Exit code 2."""


@contextmanager
def usage_checked() -> Iterator[None]:
    """Turn a ValueError about a field into a UsageError about the option that sets it."""
    try:
        yield
    except ValueError as error:
        raise UsageError(in_options(str(error))) from error


def in_options(message: str) -> str:
    """The message with the command line's names for what the library calls its fields."""
    for field, option in _OPTIONS.items():
        message = message.replace(field, option)
    return message


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is destroyed or paid for, unless `yes` was said.

    Raises UsageError where nobody can answer, typer.Abort when the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody can be asked here: say --yes to do it")
    typer.confirm(question, abort=True, err=True)


def print_json(document: Any) -> None:
    """Print the command's one JSON document."""
    typer.echo(json.dumps(document, indent=2, default=str))


def node_json(node: Node) -> dict[str, Any]:
    """A node, ready for JSON."""
    ended = node.ended.isoformat() if node.ended else None
    return {**asdict(node), "address": node.address, "launched": node.launched.isoformat(), "ended": ended}


def report(results: list[NodeResult], *, as_json: bool, also: Mapping[str, Any] | None = None) -> None:
    """Print what came of a command on each node; exits with 1 when any failed."""
    if as_json:
        outcomes = [
            {
                "instance_id": result.node.instance_id,
                "role": result.node.role,
                "address": result.node.address,
                "exit_code": result.exit_code,
                "output": result.output,
                "error": result.error,
            }
            for result in results
        ]
        print_json({**(also or {}), "nodes": outcomes})
    else:
        for result in results:
            how = result.error or f"exit code {result.exit_code}"
            console.print(f"{result.node.role} {result.node.address}: {how}", style="bold", markup=False)
            if result.output:
                console.print(result.output.rstrip("\n"), markup=False)
    failed = [result for result in results if not result.ok]
    if failed:
        named = ", ".join(result.node.address for result in failed)
        aside.print(f"{len(failed)} of {len(results)} node(s) failed: {named}", markup=False)
        raise typer.Exit(1)


def dollars(amount: float | None) -> str:
    """An amount of US dollars for people."""
    return "unknown" if amount is None else f"${amount:.2f}"
