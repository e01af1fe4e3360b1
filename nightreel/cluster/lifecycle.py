"""Find, prepare and describe a cluster. Every verb finds it by its tag and may be run again."""

import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nightreel.cluster import firewall, spark
from nightreel.cluster.ec2 import (
    GONE,
    Node,
    find_nodes,
)
from nightreel.cluster.errors import NoClusterError
from nightreel.cluster.formation import BOOT_TIMEOUT, Cluster, Formation, Preparation, worker_size
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.ssh import Connect, Connection, await_connection

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

__all__ = [
    "BOOT_TIMEOUT",
    "Cluster",
    "Preparation",
    "bootstrap_spark",
    "describe",
    "find",
    "on_master",
    "worker_size",
]

log = logging.getLogger(__name__)


def find(ec2: "EC2Client", name: str) -> Cluster:
    """The running cluster of that name; ClusterError, saying what is there, when it has no running master."""
    nodes = find_nodes(ec2, name, states=["running"])
    masters = [node for node in nodes if node.role == "master"]
    if not masters:
        stopped = find_nodes(ec2, name, states=["stopping", "stopped"])
        todo = "it is stopped: start it" if stopped else "launch it"
        raise NoClusterError(f"no running master of a cluster named {name} was found: {todo}")
    master = masters[0]
    workers = tuple(node for node in nodes if node.role == "worker")
    return Cluster(name=name, run=master.run, master=master, workers=workers)


def bootstrap_spark(
    ec2: "EC2Client", name: str, *, connect: Connect, keys: KeyRing, preparation: Preparation
) -> Cluster:
    """Ship what the nodes need, start Spark on all of them at the same time and wait until the workers are alive.

    Safe to run again: what is there and right stays, what runs goes on, and after a stop and start the addresses of
    now are configured. A worker that fails while enough others are alive is terminated, loudly: it costs money and is
    of no use. Gives the cluster as it then is. Raises BootstrapError, with the failing nodes' own words, or
    HostKeyError.
    """
    return Formation(ec2, find(ec2, name), connect=connect, keys=keys, preparation=preparation).form()


def on_master[T](ec2: "EC2Client", name: str, *, connect: Connect, action: Callable[[Connection], T]) -> T:
    """Do `action` on the cluster's master."""
    with await_connection(connect, find(ec2, name).master, timeout=60) as connection:
        return action(connection)


def describe(ec2: "EC2Client", name: str, *, connect: Connect | None = None) -> dict[str, Any]:
    """What is there of a cluster, ready for JSON: `state`, `nodes`, `security_groups`, `workers_alive`.

    `workers_alive` is None where the master can not be asked.
    """
    nodes = [node for node in find_nodes(ec2, name) if node.state not in GONE]
    running = [node for node in nodes if node.state == "running"]
    alive = None
    if connect and any(node.role == "master" for node in running):
        alive = _count_alive(running[0], connect)
    return {
        "name": name,
        "state": _overall_state(nodes),
        "run": nodes[0].run if nodes else None,
        "expires_at": nodes[0].expires_at if nodes else None,
        "workers": sum(node.role == "worker" for node in running),
        "workers_alive": alive,
        "nodes": [_as_json(node) for node in nodes],
        "security_groups": firewall.find_groups(ec2, name),
    }


def _as_json(node: Node) -> dict[str, Any]:
    ended = node.ended.isoformat() if node.ended else None
    return {**asdict(node), "launched": node.launched.isoformat(), "ended": ended}


def _count_alive(master: Node, connect: Connect) -> int | None:
    try:
        with connect(master) as connection:
            state = spark.read_state(connection, master.private_ip)
    except Exception as error:
        log.warning("the master of the cluster can not be asked: %s", error)
        return None
    return None if state is None else len(spark.alive_workers(state))


def _overall_state(nodes: list[Node]) -> str:
    states = {node.state for node in nodes}
    if not states:
        return "absent"
    return states.pop() if len(states) == 1 else "mixed"
