"""What EC2 says of a cluster's nodes, found by tag. Every function takes a boto3 EC2 client and keeps no state."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from nightreel.cluster import errors, tags
from nightreel.cluster.errors import ClusterError
from nightreel.cluster.spec import Market
from nightreel.cluster.tags import Role

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_ec2.type_defs import InstanceTypeDef

LIVE = ("pending", "running")
GONE = ("shutting-down", "terminated")
_MOMENT = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)")


@dataclass(frozen=True, kw_only=True)
class Node:
    """One instance of a cluster, as EC2 last described it."""

    instance_id: str
    role: Role
    state: str
    private_ip: str
    public_ip: str | None
    instance_type: str
    launched: datetime
    expires_at: str
    run: str
    reach: str
    image_id: str = ""
    market: Market = "on-demand"
    subnet: str = ""
    zone: str = ""
    key_pair: str | None = None
    instance_profile: str | None = None
    """Its ARN."""
    ended: datetime | None = None
    """When it was stopped or terminated, where EC2 tells."""
    host_key: str | None = None
    """The public host key that the node made for itself, once one was found and written into its tag."""
    launchers: tuple[str, ...] = ()
    """The tags of the launchers that claim it."""

    @property
    def address(self) -> str:
        """Where the operator's machine reaches this node.

        Without an operator's network SSH is open to the cluster's own network alone, which knows the private address.
        """
        return self.public_ip if self.public_ip and self.reach == "public" else self.private_ip


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn an error of EC2, or of the way to it, into one of ours that says what we were `doing`."""
    try:
        yield
    except (ResponseParserError, KeyError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ClusterError(
            f"could not {doing}: the answer is none of AWS's: does a proxy stand between, or something else at the "
            f"endpoint? ({what})"
        ) from error
    except BotoCoreError as error:
        raise ClusterError(f"could not {doing}: {error}") from error
    except ClientError as error:
        detail = error.response["Error"]
        raise errors.from_ec2(detail["Code"], detail["Message"], doing=doing) from error


def find_nodes(ec2: "EC2Client", name: str, *, states: Sequence[str] | None = None) -> list[Node]:
    """The nodes of the cluster called `name`: the master first, then workers in order of address."""
    found: list[Node] = []
    with translated(f"look for the instances of {name}"):
        pages = ec2.get_paginator("describe_instances").paginate(Filters=tags.filters(name, states=states))
        for page in pages:
            for reservation in page["Reservations"]:
                found.extend(_node(instance) for instance in reservation["Instances"])
    return sorted(found, key=lambda node: (node.role != "master", _sort_key(node.private_ip)))


def _node(instance: "InstanceTypeDef") -> Node:
    own = tags.as_dict(instance.get("Tags"))
    return Node(
        instance_id=instance["InstanceId"],
        role="master" if own.get(tags.ROLE) == "master" else "worker",
        state=instance["State"]["Name"],
        private_ip=instance.get("PrivateIpAddress", ""),
        public_ip=instance.get("PublicIpAddress") or None,
        instance_type=instance["InstanceType"],
        launched=instance["LaunchTime"],
        expires_at=own.get(tags.EXPIRES_AT, ""),
        run=own.get(tags.RUN, ""),
        reach=own.get(tags.REACH, "private"),
        image_id=instance.get("ImageId", ""),
        market="spot" if instance.get("InstanceLifecycle") == "spot" else "on-demand",
        subnet=instance.get("SubnetId", ""),
        zone=instance.get("Placement", {}).get("AvailabilityZone", ""),
        key_pair=instance.get("KeyName") or None,
        instance_profile=instance.get("IamInstanceProfile", {}).get("Arn"),
        ended=_end(instance.get("StateTransitionReason", "")),
        host_key=own.get(tags.HOST_KEY),
        launchers=tuple(
            sorted(key for key, word in own.items() if key.startswith(tags.LAUNCHER) and word == tags.WORKING)
        ),
    )


def _end(reason: str) -> datetime | None:
    """The moment in a reason such as `User initiated (2026-01-31 23:59:59 GMT)`; some reasons have none."""
    found = _MOMENT.search(reason)
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) if found else None


def _sort_key(address: str) -> tuple[int, ...]:
    return tuple(int(part) for part in address.split(".") if part)


def machine_size(ec2: "EC2Client", instance_type: str) -> tuple[int, int]:
    """(vCPUs, memory in MiB) of an instance type."""
    with translated(f"look up the instance type {instance_type}"):
        # The stubs list the types that there were when they were made; EC2 knows more.
        found = ec2.describe_instance_types(InstanceTypes=[instance_type])["InstanceTypes"]  # type: ignore[list-item]
    return found[0]["VCpuInfo"]["DefaultVCpus"], found[0]["MemoryInfo"]["SizeInMiB"]


def await_state(
    ec2: "EC2Client",
    name: str,
    *,
    done: Callable[[list[Node]], bool],
    timeout: float,
    what: str,
) -> list[Node]:
    """Poll the cluster's nodes until `done` says yes; ClusterError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    pause = 0.2
    while True:
        nodes = find_nodes(ec2, name)
        if done(nodes):
            return nodes
        if time.monotonic() > deadline:
            states = ", ".join(f"{node.instance_id} {node.state}" for node in nodes) or "no instance"
            raise ClusterError(f"waited {timeout:.0f} s for {what} of {name}; now: {states}")
        time.sleep(pause)
        pause = min(pause * 1.5, 5.0)
