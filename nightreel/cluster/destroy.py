"""Destroy a cluster by its tag, and prove that nothing of it is left."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from nightreel.cluster.ec2 import GONE, Node, find_nodes, translated
from nightreel.cluster.errors import LeakError
from nightreel.cluster.inventory import KINDS, Holding, Kind, count, find_holdings

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

log = logging.getLogger(__name__)

GONE_TIMEOUT = 300.0
"""How long everything may take to end, in seconds; EC2 ends most machines within one or two minutes."""
# Answers that mean: gone already, by another hand, or not yet free to go. The next look tells which.
_LATER = frozenset(
    {
        "InvalidInstanceID.NotFound",
        "InvalidSpotInstanceRequestID.NotFound",
        "InvalidVolume.NotFound",
        "VolumeInUse",
        "IncorrectState",
        "InvalidNetworkInterfaceID.NotFound",
        "InvalidNetworkInterface.InUse",
        "InvalidGroup.NotFound",
        "DependencyViolation",
    }
)


@dataclass(frozen=True, kw_only=True)
class Destruction:
    """What `destroy_cluster` ended, and the proof."""

    instances: int
    """How many instances it ended; those that were ending already are not counted."""
    left: dict[str, int]
    """What is left by kind of resource: all zeros."""
    removed: dict[str, int]
    """What it told EC2 to remove, by kind. Most volumes and interfaces end with their instance and are not in it."""
    nodes: tuple[Node, ...]
    """Every instance of that name that EC2 still lists, as it does for an hour after the end: to be metered."""
    instance_hours: float
    """Their hours, each from its last start to its end."""


def destroy_cluster(ec2: "EC2Client", name: str, *, timeout: float = GONE_TIMEOUT) -> Destruction:
    """Remove everything that carries the cluster's tag, and prove that nothing is left.

    Looks and removes until it sees nothing, so that what appears meanwhile is removed too, and any number of callers
    may do it at once. Nothing found is success. Raises LeakError when something is still there after `timeout` seconds,
    ClusterError when EC2 refuses.
    """
    removed = _remove_all(ec2, name, lambda _: True, timeout=timeout)
    nodes = tuple(find_nodes(ec2, name))
    done = Destruction(
        instances=len(removed["instances"]),
        left=leftovers(ec2, name),
        removed={kind: len(removed[kind]) for kind in KINDS},
        nodes=nodes,
        instance_hours=_hours(nodes, until=datetime.now(UTC)),
    )
    log.info("%s is gone: %d instance(s) terminated, nothing is left", name, done.instances)
    return done


def remove_nodes(ec2: "EC2Client", name: str, nodes: Collection[Node], *, timeout: float = GONE_TIMEOUT) -> None:
    """Remove these nodes of the cluster with their disks and interfaces, and wait until nothing of them is left.

    Raises as `destroy_cluster` does.
    """
    doomed = {node.instance_id for node in nodes}
    hanging = {holding.id for holding in find_holdings(ec2, name) if holding.instance in doomed}
    _remove_all(ec2, name, lambda holding: holding.id in hanging or holding.instance in doomed, timeout=timeout)


def _remove_all(
    ec2: "EC2Client", name: str, condemned: Callable[[Holding], bool], *, timeout: float
) -> dict[Kind, set[str]]:
    """Look and remove in turns until none that is condemned is seen; what was told to go, by kind."""
    deadline = time.monotonic() + timeout
    pause = 0.1
    removed: dict[Kind, set[str]] = defaultdict(set)
    while holdings := [holding for holding in find_holdings(ec2, name) if condemned(holding)]:
        if time.monotonic() > deadline:
            raise LeakError(_what_is_left(ec2, name, holdings))
        due = _due(holdings)
        for holding in due:
            removed[holding.kind].add(holding.id)
        _remove(ec2, name, due)
        time.sleep(pause)
        pause = min(pause * 1.5, 5.0)
    return removed


def leftovers(ec2: "EC2Client", name: str | None = None) -> dict[str, int]:
    """How much is there of a cluster (of all clusters of ours when `name` is None), by kind of resource."""
    return count(find_holdings(ec2, name))


def _due(holdings: list[Holding]) -> list[Holding]:
    """What can be removed now: what hangs on an instance may end by itself, and the group must be the last."""
    first = [
        holding
        for holding in holdings
        if holding.kind == "spot_requests" or (holding.kind == "instances" and holding.state not in GONE)
    ]
    if any(holding.kind == "instances" for holding in holdings):
        return first
    return first + [holding for holding in holdings if holding.state in ("available", "error", "")]


def _remove(ec2: "EC2Client", name: str, holdings: list[Holding]) -> None:
    # Requests go first: an open one could still be answered with an instance.
    if requests := _ids(holdings, "spot_requests"):
        _attempt(
            f"cancel the spot requests of {name}", ec2.cancel_spot_instance_requests, SpotInstanceRequestIds=requests
        )
    if instances := _ids(holdings, "instances"):
        _attempt(f"terminate the instances of {name}", ec2.terminate_instances, InstanceIds=instances)
    for volume in _ids(holdings, "volumes"):
        _attempt(f"delete the volume {volume} of {name}", ec2.delete_volume, VolumeId=volume)
    for interface in _ids(holdings, "network_interfaces"):
        _attempt(
            f"delete the network interface {interface} of {name}",
            ec2.delete_network_interface,
            NetworkInterfaceId=interface,
        )
    for group in _ids(holdings, "security_groups"):
        _attempt(f"delete the security group {group} of {name}", ec2.delete_security_group, GroupId=group)


def _ids(holdings: Iterable[Holding], kind: Kind) -> list[str]:
    return sorted(holding.id for holding in holdings if holding.kind == kind)


def _attempt(doing: str, call: Callable[..., Any], **arguments: Any) -> None:
    with translated(doing):
        try:
            call(**arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _LATER:
                raise


def _what_is_left(ec2: "EC2Client", name: str, holdings: list[Holding]) -> str:
    named = ", ".join(f"{holding.id} {holding.state}".rstrip() for holding in holdings)
    text = f"destroyed {name}, but EC2 still lists {named}"
    groups = _ids(holdings, "security_groups")
    if len(groups) < len(holdings):
        return f"{text}: see them in EC2's console, and destroy the cluster again"
    with translated(f"look who uses the security group of {name}"):
        users = ec2.describe_network_interfaces(Filters=[{"Name": "group-id", "Values": groups}])["NetworkInterfaces"]
    who = ", ".join(user.get("Attachment", {}).get("InstanceId") or user["NetworkInterfaceId"] for user in users)
    who = who or "something that EC2 does not name"
    return f"{text}, which is used by {who}: take the group from it, then destroy again"


def _hours(nodes: Iterable[Node], *, until: datetime) -> float:
    return sum(((node.ended or until) - node.launched).total_seconds() for node in nodes) / 3600
