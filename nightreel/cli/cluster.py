"""Commands for the cluster by hand: they are registered here; what is there of a cluster, and its end."""

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from nightreel.cli import cost, jobs, launch, nodes, options, power, reaping, workers
from nightreel.cli.access import Access
from nightreel.cli.options import AsJson, Name, Yes
from nightreel.cli.output import UsageError, aside, confirm, console, print_json
from nightreel.cluster import lifecycle, logs
from nightreel.cluster.destroy import destroy_cluster
from nightreel.cluster.ec2 import Node, find_nodes
from nightreel.cluster.reap import survey

log = logging.getLogger(__name__)

LOGS_SECONDS = 120.0
"""How long fetching logs may hold up the end of a cluster, which costs money meanwhile."""


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    options.add(app, launch.launch, describe, destroy, power.start, power.stop, power.renew)
    options.add(app, power.start_spark, power.stop_spark, workers.add_workers, workers.remove_workers)
    options.add(app, nodes.login, nodes.run_command, nodes.copy_file)
    options.add(app, jobs.submit, jobs.list_jobs, jobs.follow_job, jobs.kill_job, cost.cost, reaping.reap)


def describe(
    name: Annotated[
        str | None, typer.Argument(callback=options.checked_name, help="The cluster's name; else all are listed.")
    ] = None,
    *,
    access: Access,
    as_json: AsJson = False,
) -> None:
    """Show what is there of a cluster, or which clusters are there."""
    ec2 = access.ec2()
    if name is None:
        _list_all(ec2, as_json=as_json)
        return
    found = lifecycle.describe(ec2, name, connect=_connect_if_possible(access, ec2, name))
    if as_json:
        print_json(found)
        return
    if not found["nodes"]:
        console.print(f"{name}: there is no machine of that name.", markup=False)
        return
    alive = "unknown" if found["workers_alive"] is None else found["workers_alive"]
    console.print(f"{name}: {found['state']}, workers alive: {alive}, expires at {found['expires_at']}", markup=False)
    columns = ("role", "state", "address", "type", "market", "zone")
    # An id in two lines can not be copied.
    ids = Column("instance", no_wrap=True, min_width=19)
    table = Table(*(Column(name, overflow="fold") for name in columns), ids, box=None)
    for node in found["nodes"]:
        facts = (node["state"], node["public_ip"] or node["private_ip"], node["instance_type"], node["market"])
        table.add_row(node["role"], *facts, node["zone"], node["instance_id"])
    console.print(table)


def _connect_if_possible(access: Access, ec2: Any, name: str) -> Any:
    """How the nodes are reached, where there are any and this machine can know their keys; else None."""
    running = find_nodes(ec2, name, states=["running"])
    if not running:
        return None
    try:
        ring = access.keys(name, nodes=running)
    except ValueError as error:
        log.warning("the nodes of %s are not asked: %s", name, error)
        return None
    return access.connect(ring)


def _list_all(ec2: Any, *, as_json: bool) -> None:
    now = datetime.now(UTC)
    found = survey(ec2, now)
    if as_json:
        print_json([reaping.as_plain(one, now) for one in found])
    else:
        reaping.show_clusters(found, now=now)


def destroy(
    name: Name,
    *,
    access: Access,
    logs_to: Annotated[
        Path | None,
        typer.Option("--logs", metavar="FOLDER", help="Where Spark's and the jobs' logs go before the machines end."),
    ] = None,
    no_logs: Annotated[bool, typer.Option("--no-logs", help="Do not fetch the logs.")] = False,
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Remove everything of a cluster and prove that nothing is left. Nothing there is success."""
    if no_logs and logs_to:
        raise UsageError("--logs and --no-logs do not go together: leave one of them out")
    confirm(f"Terminate every instance of {name}?", yes=yes)
    ec2 = access.ec2()
    kept = None if no_logs else _fetch_logs(access, ec2, name, logs_to or logs_folder(name))
    done = destroy_cluster(ec2, name)
    if as_json:
        facts = {"instances": done.instances, "left": done.left, "instance_hours": done.instance_hours}
        print_json({"name": name, **facts, "logs": str(kept) if kept else None})
        return
    console.print(f"{name}: {done.instances} instance(s) terminated; left: {sum(done.left.values())}.", markup=False)


def logs_folder(name: str) -> Path:
    """Where the logs of a cluster go when nothing else is said: a folder of this moment in the user's state folder."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "nightreel" / "logs" / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def _fetch_logs(access: Access, ec2: Any, name: str, target: Path) -> Path | None:
    """Where the logs lie now; None without a running node. Whatever goes wrong is no reason to let the machines run."""
    running: list[Node] = find_nodes(ec2, name, states=["running"])
    if not running:
        return None
    try:
        connect = access.connect(access.keys(name, nodes=running))
        logs.fetch_logs(ec2, name, connect=connect, target=target, seconds=LOGS_SECONDS)
    except Exception as error:
        log.warning("the logs of %s could not be fetched: %s", name, error)
        return None
    aside.print(f"The logs are in {target}.", markup=False)
    return target
