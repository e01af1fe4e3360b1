"""The tags by which a cluster is found: nothing about a cluster is remembered anywhere else."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from nightreel.cluster.spec import ClusterSpec, Market, check_name

CLUSTER = "nightreel:cluster"
RUN = "nightreel:run"
ROLE = "nightreel:role"
EXPIRES_AT = "nightreel:expires-at"
REACH = "nightreel:reach"
HOST_KEY = "nightreel:host-key"
LAUNCHER = "nightreel:launcher:"
"""The beginning of the tags by which launchers claim instances; see `claims`."""
WORKING, WITHDRAWN = "working", "withdrawn"

Role = Literal["master", "worker"]
_RESOURCES = ("instance", "volume", "network-interface")


def of_cluster(spec: ClusterSpec, *, role: Role | None = None) -> dict[str, str]:
    """The tags of a resource of this cluster; a security group has no role."""
    own = {
        CLUSTER: spec.name,
        RUN: spec.key_run,
        EXPIRES_AT: format_time(spec.expires_at),
        REACH: spec.reach,
        "Name": f"{spec.name}-{role}" if role else spec.name,
    }
    if role:
        own[ROLE] = role
    return {**spec.tags, **own}


def specifications(spec: ClusterSpec, *, role: Role, market: Market) -> list[dict[str, object]]:
    """TagSpecifications for RunInstances: whatever it creates is tagged in the same call."""
    tags = as_list(of_cluster(spec, role=role))
    resources = (*_RESOURCES, "spot-instances-request") if market == "spot" else _RESOURCES
    return [{"ResourceType": resource, "Tags": tags} for resource in resources]


def as_list(tags: Mapping[str, str]) -> list[Any]:
    """Tags in the form of the EC2 API."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def as_dict(tags: Iterable[Any] | None) -> dict[str, str]:
    """Tags from the form of the EC2 API."""
    return {tag["Key"]: tag["Value"] for tag in tags or ()}


def filters(name: str, *, states: Sequence[str] | None = None) -> list[Any]:
    """Filters of a Describe call for what belongs to the cluster called `name`; ValueError for no cluster's name."""
    found: list[Any] = [{"Name": f"tag:{CLUSTER}", "Values": [check_name(name)]}]
    if states:
        found.append({"Name": "instance-state-name", "Values": list(states)})
    return found


def format_time(moment: datetime) -> str:
    """A moment as the tag holds it: ISO 8601 in UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """The moment that a tag holds; ValueError when it holds none."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
