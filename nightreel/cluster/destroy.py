"""Destroy a cluster by its tag, and prove that nothing of it is left."""

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightreel.cluster import firewall, tags
from nightreel.cluster.ec2 import GONE, LIVE, await_state, find_nodes, translated
from nightreel.cluster.errors import LeakError

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

log = logging.getLogger(__name__)

GONE_TIMEOUT = 300.0


@dataclass(frozen=True)
class Destruction:
    """How many instances `destroy` ended, and the proof: what is left by kind of resource, all zeros."""

    instances: int
    left: dict[str, int]


def destroy_cluster(ec2: "EC2Client", name: str, *, timeout: float = GONE_TIMEOUT) -> Destruction:
    """Remove everything that carries the cluster's tag, and prove that nothing is left.

    Nothing found is success. Raises LeakError when something is left, ClusterError when it does not end in time.
    """
    doomed = [node.instance_id for node in find_nodes(ec2, name) if node.state not in GONE]
    if doomed:
        with translated(f"terminate the instances of {name}"):
            ec2.terminate_instances(InstanceIds=doomed)
    await_state(
        ec2,
        name,
        done=lambda nodes: all(node.state == "terminated" for node in nodes),
        timeout=timeout,
        what="the end of all instances",
    )
    firewall.delete_groups(ec2, name, timeout=timeout)
    left = _await_nothing(ec2, name, timeout=timeout)
    log.info("%s is gone: %d instance(s) terminated, nothing is left", name, len(doomed))
    return Destruction(instances=len(doomed), left=left)


def _await_nothing(ec2: "EC2Client", name: str, *, timeout: float) -> dict[str, int]:
    """Volumes and network interfaces may be listed for a while after their instance has ended."""
    deadline = time.monotonic() + timeout
    while any((left := leftovers(ec2, name)).values()):
        if time.monotonic() > deadline:
            counts = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in left.items() if count)
            raise LeakError(f"destroyed {name}, but EC2 still lists {counts}: see them in EC2's console")
        time.sleep(1)
    return left


def leftovers(ec2: "EC2Client", name: str | None = None) -> dict[str, int]:
    """How much is there of a cluster (of all clusters of ours when `name` is None), by kind of resource."""
    own: Any = tags.filters(name) if name else [{"Name": "tag-key", "Values": [tags.CLUSTER]}]
    with translated("count what is left"):
        instances = ec2.get_paginator("describe_instances").paginate(
            Filters=[
                *own,
                {"Name": "instance-state-name", "Values": [*LIVE, "stopping", "stopped", "shutting-down"]},
            ]
        )
        return {
            "instances": sum(len(group["Instances"]) for page in instances for group in page["Reservations"]),
            "volumes": len(ec2.describe_volumes(Filters=own)["Volumes"]),
            "network_interfaces": len(ec2.describe_network_interfaces(Filters=own)["NetworkInterfaces"]),
            "security_groups": len(ec2.describe_security_groups(Filters=own)["SecurityGroups"]),
        }
