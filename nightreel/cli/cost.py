"""`nightreel cost`: what a cluster has cost, and what it can still cost."""

import logging
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from nightreel.cli.access import Access
from nightreel.cli.machines import expiry
from nightreel.cli.money import Cap, PriceOptions, show_estimate
from nightreel.cli.options import AsJson, Name
from nightreel.cli.output import console, dollars, print_json, usage_checked
from nightreel.cluster import cost as costs
from nightreel.cluster import resize
from nightreel.cluster.cost import Estimate, Prices
from nightreel.cluster.ec2 import GONE, find_nodes
from nightreel.cluster.errors import ClusterError
from nightreel.cluster.spec import ClusterSpec

log = logging.getLogger(__name__)


def cost(name: Name, *, access: Access, price_options: PriceOptions, as_json: AsJson = False) -> None:
    """Say what a cluster has cost so far, and what it can cost until its expiry."""
    now = datetime.now(UTC)
    ec2 = access.ec2()
    prices = price_options.prices(access)
    nodes = find_nodes(ec2, name)
    states = {node.state for node in nodes if node.state not in GONE}
    alive, stopped = bool(states), states == {"stopped"}
    ahead = _ahead(ec2, name, access=access, prices=prices, now=now, stopped=stopped) if alive else None
    spec, estimate = ahead or (None, None)
    so_far = costs.metered(nodes, prices, now, volume_gb=spec.volume_gb if spec else ClusterSpec.volume_gb)
    later = estimate.worst_case if estimate else (None if alive else 0.0)
    found: dict[str, Any] = {
        "name": name,
        "so_far": so_far.total,
        "hourly": estimate.hourly if estimate else (None if alive else 0.0),
        "expires_at": spec.expires_at.isoformat() if spec else None,
        "worst_case": None if so_far.total is None or later is None else so_far.total + later,
        "instances": [asdict(line) for line in so_far.lines],
    }
    if as_json:
        print_json(found)
        return
    table = Table("instance", "", "hours", "USD", box=None)
    for line in so_far.lines:
        table.add_row(line.instance_id, line.what, f"{line.hours:.2f}", dollars(line.cost))
    console.print(table)
    console.print(f"{name}: {dollars(so_far.total)} so far; in the worst case {dollars(found['worst_case'])} in all.")


def _ahead(
    ec2: Any, name: str, *, access: Access, prices: Prices, now: datetime, stopped: bool
) -> tuple[ClusterSpec, Estimate] | None:
    """The living cluster's description and what it can still cost; None when EC2 shows too little of it."""
    try:
        spec = resize.spec_of(ec2, name, ssh_port=access.ssh_port, user=access.user)
    except ClusterError as error:
        log.warning("what %s can still cost is not known: %s", name, error)
        return None
    return spec, costs.estimate_stopped(spec, now=now) if stopped else costs.estimate(spec, prices, now=now)


def check_cost(ec2: Any, name: str, *, access: Access, prices: PriceOptions, cap: Cap, **changes: Any) -> None:
    """Say what the cluster costs with these changes, and refuse what would cost more than the cap."""
    spec = resize.spec_of(ec2, name, ssh_port=access.ssh_port, user=access.user)
    hours = changes.pop("hours", None)
    if hours is not None:
        changes["expires_at"] = expiry(hours)
    with usage_checked():
        spec = replace(spec, **changes)
    estimate = costs.estimate(spec, prices.prices(access))
    show_estimate(estimate, spec)
    costs.require_within(estimate, cap.cost_cap)
