"""All clusters at once: which there are, and the removal of what has outlived its expiry."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from nightreel.cli.access import Access
from nightreel.cli.money import PriceOptions
from nightreel.cli.options import AsJson
from nightreel.cli.output import aside, console, dollars, print_json
from nightreel.cluster import reap as reaper
from nightreel.cluster.reap import Reaped, Remains


def reap(
    *,
    every: Annotated[bool, typer.Option("--all", help="Take clusters too that have not expired.")] = False,
    access: Access,
    price_options: PriceOptions,
    as_json: AsJson = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; else it is only listed.")] = False,
) -> None:
    """List what has outlived its expiry, stopped clusters too; with --yes remove it.

    Ends with 1 when something could not be removed.
    """
    ec2 = access.ec2()
    now = datetime.now(UTC)
    found = reaper.survey(ec2, now, prices=price_options.prices(access))
    due = [remains for remains in found if remains.expired or every]
    if not as_json:
        show_clusters(due, now=now)
    done = reaper.reap(ec2, now=now, only_expired=not every) if yes else []
    if as_json:
        print_json({"due": [as_plain(one, now) for one in due], "removed": [_outcome(one) for one in done]})
    for one in done:
        aside.print(f"{one.name}: {_outcome(one)['outcome']}", markup=False)
    if due and not yes:
        aside.print("Nothing was removed: say --yes to remove it.")
    if any(one.error for one in done):
        raise typer.Exit(1)


def show_clusters(found: list[Remains], *, now: datetime) -> None:
    """Print a line for each cluster."""
    if not found:
        console.print("There is nothing.")
        return
    columns = ("cluster", "state", "what", "expires at", "expired for", "so far")
    table = Table(*(Column(name, overflow="fold") for name in columns), box=None)
    for one in found:
        what = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in one.counts.items() if count)
        since = one.expired_for(now)
        expiry = f"{one.expires_at:%Y-%m-%d %H:%M} UTC" if one.expires_at else "unknown"
        hours = "" if since is None else f"{since / timedelta(hours=1):.1f} h"
        table.add_row(one.name, one.state, what, expiry, hours, dollars(one.cost))
    console.print(table)


def as_plain(remains: Remains, now: datetime) -> dict[str, Any]:
    """What there is of a cluster, ready for JSON."""
    since = remains.expired_for(now)
    facts = {key: value for key, value in asdict(remains).items() if key not in ("nodes", "oldest", "expires_at")}
    return {
        **facts,
        "expires_at": remains.expires_at.isoformat() if remains.expires_at else None,
        "expired_hours": None if since is None else since / timedelta(hours=1),
        "instances": [node.instance_id for node in remains.nodes],
    }


def _outcome(reaped: Reaped) -> dict[str, Any]:
    if reaped.error:
        return {"name": reaped.name, "removed": False, "outcome": f"could not be removed: {reaped.error}"}
    if reaped.spared:
        return {"name": reaped.name, "removed": False, "outcome": f"left alone: {reaped.spared}"}
    return {"name": reaped.name, "removed": True, "outcome": "removed; nothing of it is left"}
