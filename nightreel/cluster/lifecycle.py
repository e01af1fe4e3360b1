"""Find, prepare and describe a cluster. Every verb finds it by its tag and may be run again."""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nightreel.cluster import bootstrap, firewall, spark
from nightreel.cluster.bootstrap import Payload, Runtime
from nightreel.cluster.ec2 import (
    GONE,
    Node,
    find_nodes,
    machine_size,
)
from nightreel.cluster.errors import BootstrapError, ClusterError, NoClusterError, RefusedError
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.spark import WorkerSize
from nightreel.cluster.ssh import Connect, Connection, await_connection, on_all

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

log = logging.getLogger(__name__)

BOOT_TIMEOUT = 300.0


@dataclass(frozen=True)
class Cluster:
    """The live nodes of a cluster."""

    name: str
    run: str
    master: Node
    workers: tuple[Node, ...]

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The master, then the workers."""
        return (self.master, *self.workers)


def find(ec2: "EC2Client", name: str) -> Cluster:
    """The running cluster of that name; ClusterError, saying what is there, when it has no running master."""
    nodes = find_nodes(ec2, name, states=["running"])
    masters = [node for node in nodes if node.role == "master"]
    if not masters:
        raise NoClusterError(
            f"no running master of a cluster named {name} was found: launch it, or clear this step together with the "
            "step that launches"
        )
    master = masters[0]
    workers = tuple(node for node in nodes if node.role == "worker")
    return Cluster(name=name, run=master.run, master=master, workers=workers)


def worker_size(ec2: "EC2Client", instance_type: str) -> WorkerSize:
    """What Spark gets of a machine of this type; RefusedError, before anything is paid for, when it is too small."""
    vcpus, memory = machine_size(ec2, instance_type)
    try:
        return WorkerSize.of_machine(vcpus=vcpus, memory=memory)
    except ValueError as error:
        raise RefusedError(f"{instance_type} can not be used: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What bootstrap puts on every node."""

    runtime: Runtime
    payload: Payload
    required_workers: int
    timeout: float = BOOT_TIMEOUT


def bootstrap_spark(
    ec2: "EC2Client", name: str, *, connect: Connect, keys: KeyRing, preparation: Preparation
) -> Cluster:
    """Ship what the nodes need, start Spark on all of them at the same time and wait until the workers are alive.

    Safe to run again: what is there and right stays, what runs goes on. Raises BootstrapError or HostKeyError.
    """
    cluster = find(ec2, name)
    size = worker_size(ec2, cluster.master.instance_type)
    runtime = preparation.runtime
    master_ip = cluster.master.private_ip

    def prepare(node: Node) -> None:
        with await_connection(connect, node, timeout=preparation.timeout) as connection:
            bootstrap.prepare(connection, runtime=runtime, payload=preparation.payload)
            spark.configure(
                connection,
                node_ip=node.private_ip,
                settings=spark.Settings(master_ip=master_ip, secret=keys.spark_secret(), driver=size, executor=size),
                runtime=runtime,
            )
            if node.role == "master":
                spark.start_master(connection, node_ip=master_ip, runtime=runtime)
        log.info("%s (%s) is prepared", node.address, node.role)

    def start(node: Node) -> None:
        with connect(node) as connection:
            spark.start_worker(connection, node_ip=node.private_ip, master_ip=master_ip, size=size, runtime=runtime)

    on_all(cluster.nodes, prepare)
    on_all(cluster.workers, start)
    _await_ready(cluster, connect=connect, preparation=preparation)
    return cluster


def _await_ready(cluster: Cluster, *, connect: Connect, preparation: Preparation) -> None:
    master_ip = cluster.master.private_ip
    with connect(cluster.master) as connection:
        try:
            alive = spark.await_workers(
                connection,
                master_ip=master_ip,
                count=preparation.required_workers,
                timeout=preparation.timeout,
            )
        except ClusterError as error:
            present = set(spark.alive_workers(spark.read_state(connection, master_ip)))
            missing = [node for node in cluster.workers if node.private_ip not in present]
            raise BootstrapError(f"{error}\n{_worker_logs(missing, connect)}") from error
    log.info("Spark is ready on %s: %d worker(s) alive", spark.master_url(master_ip), len(alive))


def _worker_logs(nodes: list[Node], connect: Connect) -> str:
    def end(node: Node) -> str:
        try:
            with connect(node) as connection:
                return f"{node.address}:\n{spark.log_end(connection, 'worker')}"
        except Exception as error:
            return f"{node.address}: no log can be had: {error}"

    return "\n".join(on_all(nodes, end))


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
