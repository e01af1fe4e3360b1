"""Everything that carries a cluster's tag, whatever kind of resource it is: what can cost money, or be in the way."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from nightreel.cluster import tags
from nightreel.cluster.ec2 import LIVE, translated

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

Kind = Literal["instances", "volumes", "network_interfaces", "security_groups", "spot_requests"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_STANDING = (*LIVE, "stopping", "stopped", "shutting-down")
# What a request that is closed, cancelled or failed asked for is not coming any more.
_OPEN_REQUEST = ("open", "active", "disabled")


@dataclass(frozen=True, kw_only=True)
class Holding:
    """One resource of a cluster, as EC2 last described it."""

    kind: Kind
    id: str
    tags: dict[str, str]
    state: str
    """EC2's own word; empty for a security group, which has none."""
    created: datetime | None
    """When it was made, where EC2 tells."""
    instance: str = ""
    """The instance that it is, hangs on or asks for; empty when there is none."""

    @property
    def cluster(self) -> str:
        """The cluster that it belongs to."""
        return self.tags.get(tags.CLUSTER, "")

    @property
    def expires_at(self) -> datetime | None:
        """The expiry in its tag; None when there is none, or one that can not be read."""
        try:
            return tags.parse_time(self.tags.get(tags.EXPIRES_AT, ""))
        except ValueError:
            return None


def find_holdings(ec2: "EC2Client", name: str | None) -> list[Holding]:
    """What there is of the cluster called `name`, of all clusters of ours when it is None.

    Instances that are terminated, and spot requests that are over, are nothing any more. Raises ClusterError, and
    ValueError for what can be no cluster's name.
    """
    own: list[Any] = [{"Name": "tag-key", "Values": [tags.CLUSTER]}] if name is None else tags.filters(name)
    with translated(f"look for what there is of {name or 'our clusters'}"):
        return [
            *_instances(ec2, [*own, {"Name": "instance-state-name", "Values": list(_STANDING)}]),
            *_others(ec2, "volumes", own),
            *_others(ec2, "network_interfaces", own),
            *_others(ec2, "security_groups", own),
            *_others(ec2, "spot_requests", [*own, {"Name": "state", "Values": list(_OPEN_REQUEST)}]),
        ]


def count(holdings: Sequence[Holding]) -> dict[str, int]:
    """How many there are of each kind."""
    return {kind: sum(holding.kind == kind for holding in holdings) for kind in KINDS}


def _instances(ec2: "EC2Client", filters: list[Any]) -> Iterator[Holding]:
    for page in ec2.get_paginator("describe_instances").paginate(Filters=filters):
        for reservation in page["Reservations"]:
            for instance in reservation["Instances"]:
                yield Holding(
                    kind="instances",
                    id=instance["InstanceId"],
                    tags=tags.as_dict(instance.get("Tags")),
                    state=instance["State"]["Name"],
                    created=instance["LaunchTime"],
                    instance=instance["InstanceId"],
                )


# Of each kind: the call, its list, and the fields with the id, the state and the moment of creation.
_CALLS: dict[Kind, tuple[Any, str, str, str, str]] = {
    "volumes": ("describe_volumes", "Volumes", "VolumeId", "State", "CreateTime"),
    "network_interfaces": ("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId", "Status", ""),
    "security_groups": ("describe_security_groups", "SecurityGroups", "GroupId", "", ""),
    "spot_requests": (
        "describe_spot_instance_requests", "SpotInstanceRequests", "SpotInstanceRequestId", "State", "CreateTime",
    ),
}  # fmt: skip


def _others(ec2: "EC2Client", kind: Kind, filters: list[Any]) -> Iterator[Holding]:
    call, listed, identity, state, created = _CALLS[kind]
    for page in ec2.get_paginator(call).paginate(Filters=filters):
        for item in page[listed]:
            yield Holding(
                kind=kind,
                id=item[identity],
                # Network interfaces alone call their tags otherwise.
                tags=tags.as_dict(item.get("Tags") or item.get("TagSet")),
                state=item.get(state, ""),
                created=item.get(created) or None,
                instance=_instance_of(item),
            )


def _instance_of(item: Any) -> str:
    attachments = item.get("Attachments") or [item.get("Attachment") or item]
    return str(attachments[0].get("InstanceId") or "")
