"""Work by hand on the nodes: log in, run a command, copy files."""

import shlex
import signal
import subprocess
from pathlib import Path
from typing import Annotated, Any

import typer

from nightreel.cli.access import Access
from nightreel.cli.options import AsJson, Name
from nightreel.cli.output import UsageError, print_json, report
from nightreel.cluster import lifecycle
from nightreel.cluster import nodes as on_nodes
from nightreel.cluster.ec2 import Node
from nightreel.cluster.errors import ClusterError
from nightreel.cluster.ssh import expected_host_key

MasterOnly = Annotated[bool, typer.Option("--master-only", help="On the master alone.")]


def login(
    name: Name,
    *,
    access: Access,
    node: Annotated[
        str, typer.Option(help="Where to log in: master, an address or an instance's id, as `describe` shows them.")
    ] = "master",
    forward: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            metavar="PORT",
            help="Open a tunnel from this port here to the same one there instead; 4040 shows a running Spark job.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print where one would log in, and with which host key, and do not.")
    ] = False,
) -> None:
    """Log in to a node with ssh, which trusts its pinned host key alone. Ends with the code that ssh ends with."""
    ec2 = access.ec2()
    where = _find(lifecycle.find(ec2, name).nodes, node, name)
    ring, _ = access.reach(ec2, name)
    if as_json:
        facts = {"address": where.address, "port": access.ssh_port, "user": access.user}
        print_json({"name": name, **facts, "host_key": expected_host_key(where, ring)})
        return
    identity = access.identity_file
    with on_nodes.login_command(where, keys=ring, user=access.user, port=access.ssh_port, identity=identity) as command:
        # Ctrl-C is for what runs on the node. A handler, unlike SIG_IGN, is not handed down to ssh.
        before = signal.signal(signal.SIGINT, lambda *_: None)
        tunnel = ["-N", "-L", f"127.0.0.1:{forward}:{where.private_ip}:{forward}"] if forward else []
        if tunnel:
            signal.signal(signal.SIGINT, before)  # Ctrl-C is the way to close it
        try:
            code = subprocess.call([command[0], *tunnel, *command[1:]])
        except FileNotFoundError as error:
            raise ClusterError("ssh is not there: install OpenSSH's client (Debian: openssh-client)") from error
        finally:
            signal.signal(signal.SIGINT, before)
    raise typer.Exit(code)


def _find(nodes: tuple[Node, ...], wanted: str, name: str) -> Node:
    for node in nodes:
        if wanted in (node.role, node.address, node.private_ip, node.instance_id):
            return node
    there = ", ".join(f"{node.instance_id} ({node.address})" for node in nodes)
    raise UsageError(f"--node {wanted} is no node of {name}; there are {there}")


def run_command(
    name: Name,
    command: Annotated[
        list[str], typer.Argument(help="A shell command; put -- before words that look like options of ours.")
    ],
    *,
    access: Access,
    master_only: MasterOnly = False,
    as_json: AsJson = False,
) -> None:
    """Run a shell command on all nodes at the same time. Ends with 1 when it failed on any."""
    nodes, connect = _targets(access, name, master_only=master_only)
    # One word is a line for the shell; several are the words of one command.
    line = command[0] if len(command) == 1 else shlex.join(command)
    results = on_nodes.run_on(nodes, connect, line)
    report(results, as_json=as_json, also={"name": name, "command": line})


def copy_file(
    name: Name,
    source: Annotated[Path, typer.Argument(help="File or folder of this machine.")],
    target: Annotated[str, typer.Argument(help="Where it goes on the nodes; relative to the login's home.")],
    *,
    access: Access,
    master_only: MasterOnly = False,
    as_json: AsJson = False,
) -> None:
    """Copy a file, or a folder, to all nodes at the same time. What is there already, and right, is left alone."""
    if not source.exists():
        raise UsageError(f"{source} is neither a file nor a folder: there is nothing to copy")
    nodes, connect = _targets(access, name, master_only=master_only)
    results = on_nodes.copy_to(nodes, connect, source, target)
    report(results, as_json=as_json, also={"name": name, "source": str(source), "target": target})


def _targets(access: Access, name: str, *, master_only: bool) -> tuple[list[Node], Any]:
    ec2 = access.ec2()
    cluster = lifecycle.find(ec2, name)
    _, connect = access.reach(ec2, name)
    return [cluster.master] if master_only else list(cluster.nodes), connect
