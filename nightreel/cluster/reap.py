"""What has outlived its expiry, whoever left it there: first a survey, then its removal.

The dead-man's switch ends nodes that run. This is for the rest: stopped clusters, volumes and groups without a node,
and nodes whose switch did not work.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from nightreel.cluster.cost import Prices, metered
from nightreel.cluster.destroy import Destruction, destroy_cluster
from nightreel.cluster.ec2 import Node, find_nodes
from nightreel.cluster.inventory import Holding, count, find_holdings
from nightreel.cluster.user_data import LONGEST

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

log = logging.getLogger(__name__)

REAP_TIMEOUT = 900.0
"""How long all removals may take together, in seconds."""
_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Remains:
    """What there is of one cluster."""

    name: str
    """As the tag says it; somebody else may have written what can be no cluster's name."""
    state: str
    """The state that all its instances have, `mixed`, or `no instances`."""
    expires_at: datetime | None
    """The latest expiry in the tags of its instances (of the rest where it has none); None: none can be read."""
    expired: bool
    """Whether it is due to be removed."""
    oldest: datetime | None
    """When its oldest instance was last started, or its oldest volume made."""
    counts: dict[str, int]
    """How much there is of it, by kind of resource."""
    nodes: tuple[Node, ...]
    """Its instances, those too that were terminated within about the last hour."""
    cost: float | None
    """USD so far for these instances; None where no prices were given, or one is not known."""

    def expired_for(self, now: datetime) -> timedelta | None:
        """For how long its expiry is over; None when it is not, or not known."""
        return now - self.expires_at if self.expires_at and self.expires_at <= now else None


@dataclass(frozen=True, kw_only=True)
class Reaped:
    """What came of the removal of one cluster: exactly one of the three."""

    name: str
    destruction: Destruction | None = None
    """What was removed."""
    spared: str | None = None
    """Why it was left after all."""
    error: str | None = None
    """Why it could not be removed; something of it may be left."""


def survey(ec2: "EC2Client", now: datetime, *, prices: Prices | None = None) -> list[Remains]:
    """Everything that carries our tag in this region, by cluster, the longest expired first. Removes nothing.

    Raises ClusterError.
    """
    by_name: dict[str, list[Holding]] = defaultdict(list)
    for holding in find_holdings(ec2, None):
        by_name[holding.cluster].append(holding)
    found = [_remains(ec2, name, holdings, now=now, prices=prices) for name, holdings in by_name.items()]
    return sorted(
        found, key=lambda one: (not one.expired, one.expires_at.timestamp() if one.expires_at else 0, one.name)
    )


def reap(ec2: "EC2Client", *, now: datetime, only_expired: bool = True, timeout: float = REAP_TIMEOUT) -> list[Reaped]:
    """Remove every cluster whose expiry is over at `now`; all clusters of ours without `only_expired`.

    A cluster whose expiry can not be read is removed only when it is older than any cluster may get, eight days. Each
    is looked at once more right before it is removed, for it may have been renewed since. That one can not be removed
    does not keep the others; what was not begun within `timeout` seconds is left for the next time, and said. Raises
    ClusterError when EC2 can not be asked at all.
    """
    deadline = time.monotonic() + timeout
    due = [remains.name for remains in survey(ec2, now) if remains.expired or not only_expired]

    def remove(name: str) -> Reaped:
        time_left = deadline - time.monotonic()
        if time_left <= 0:
            return Reaped(name=name, error=f"not begun within {timeout:.0f} s: reap again")
        try:
            return _remove(ec2, name, now=now, only_expired=only_expired, timeout=time_left)
        except Exception as error:
            log.warning("%s can not be removed: %s", name, error)
            return Reaped(name=name, error=str(error))

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="reap") as pool:
        return list(pool.map(remove, due))


def _remove(ec2: "EC2Client", name: str, *, now: datetime, only_expired: bool, timeout: float) -> Reaped:
    holdings = find_holdings(ec2, name)
    if not holdings:
        return Reaped(name=name, spared="it is gone already")
    if only_expired and not _is_expired(holdings, now):
        return Reaped(name=name, spared="it was renewed meanwhile")
    destruction = destroy_cluster(ec2, name, timeout=timeout)
    log.info("%s was reaped: %d instance(s)", name, destruction.instances)
    return Reaped(name=name, destruction=destruction)


def _remains(ec2: "EC2Client", name: str, holdings: list[Holding], *, now: datetime, prices: Prices | None) -> Remains:
    try:
        nodes = tuple(find_nodes(ec2, name))
    except ValueError:  # no name of ours: nothing can be asked of EC2 by it
        nodes = ()
    states = {holding.state for holding in holdings if holding.kind == "instances"} or {"no instances"}
    return Remains(
        name=name,
        state=states.pop() if len(states) == 1 else "mixed",
        expires_at=_expiry(holdings),
        expired=_is_expired(holdings, now),
        oldest=_oldest(holdings),
        counts=count(holdings),
        nodes=nodes,
        cost=metered(nodes, prices, now).total if prices and nodes else None,
    )


def _expiry(holdings: Iterable[Holding]) -> datetime | None:
    """The latest: a renewal that is just going on has reached some of them only."""
    holdings = list(holdings)
    judges = [holding for holding in holdings if holding.kind == "instances"] or holdings
    return max((holding.expires_at for holding in judges if holding.expires_at), default=None)


def _is_expired(holdings: list[Holding], now: datetime) -> bool:
    expires_at = _expiry(holdings)
    if expires_at is not None:
        return expires_at <= now
    oldest = _oldest(holdings)
    return oldest is not None and oldest + LONGEST <= now


def _oldest(holdings: Iterable[Holding]) -> datetime | None:
    return min((holding.created for holding in holdings if holding.created), default=None)
