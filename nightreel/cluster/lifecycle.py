"""Launch, bootstrap, describe and destroy a cluster. Every verb finds the cluster by its tag and may be run again."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nightreel.cluster import bootstrap, firewall, spark, tags
from nightreel.cluster.bootstrap import Payload, Runtime
from nightreel.cluster.ec2 import (
    GONE,
    LIVE,
    Node,
    await_state,
    ensure_nodes,
    find_nodes,
    machine_size,
    translated,
)
from nightreel.cluster.errors import BootstrapError, ClusterError, LeakError, NoClusterError, RefusedError
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.spark import WorkerSize
from nightreel.cluster.spec import ClusterSpec
from nightreel.cluster.ssh import Connect, Connection, await_connection, on_all

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

log = logging.getLogger(__name__)

BOOT_TIMEOUT = 300.0
GONE_TIMEOUT = 300.0


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


def launch(ec2: "EC2Client", spec: ClusterSpec, *, image: str, keys: KeyRing) -> Cluster:
    """Bring the cluster's machines up, adopting those that are there already, and wait until they run.

    Raises CapacityError, RefusedError or ClusterError. What was launched by then stays: a retry adopts it, `destroy`
    removes it.
    """
    if spec.expired:
        raise ClusterError(
            f"the expiry of {spec.name}, {tags.format_time(spec.expires_at)}, has passed: nodes would power off at once"
        )
    _refuse_stopped(ec2, spec.name)
    _refuse_another_shape(ec2, spec)
    worker_size(ec2, spec.instance_type)
    group = firewall.ensure_group(ec2, spec)
    launched: set[str] = set()
    for role in ("master", "worker"):
        launched.update(ensure_nodes(ec2, spec, role=role, image=image, group=group, keys=keys))
    await_state(
        ec2,
        spec.name,
        done=lambda nodes: _settled(nodes, launched=launched, required_workers=spec.required_workers),
        timeout=BOOT_TIMEOUT,
        what="running instances",
    )
    cluster = find(ec2, spec.name)
    log.info("%s runs: master %s, %d worker(s)", spec.name, cluster.master.address, len(cluster.workers))
    return cluster


def _refuse_stopped(ec2: "EC2Client", name: str) -> None:
    stopped = find_nodes(ec2, name, states=["stopping", "stopped"])
    if stopped:
        raise ClusterError(f"the cluster {name} is stopped ({len(stopped)} instance(s)): destroy it first")


def _refuse_another_shape(ec2: "EC2Client", spec: ClusterSpec) -> None:
    live = find_nodes(ec2, spec.name, states=LIVE)
    other = sorted({node.instance_type for node in live} - {spec.instance_type})
    if other:
        raise RefusedError(
            f"{spec.name} is there already, of {', '.join(other)} machines, and {spec.instance_type} was asked for: "
            "ask for the type that it has, or destroy it first"
        )
    workers = sum(node.role == "worker" for node in live)
    if workers > spec.workers:
        log.warning("%s has %d workers already; none is removed to get to %d", spec.name, workers, spec.workers)
    if any(node.expires_at != tags.format_time(spec.expires_at) for node in live):
        log.warning("%s is there already and keeps its expiry, %s", spec.name, live[0].expires_at)


def _settled(nodes: list[Node], *, launched: set[str], required_workers: int) -> bool:
    ended = [node.instance_id for node in nodes if node.instance_id in launched and node.state in GONE]
    if ended:
        raise ClusterError(f"ended while starting: {', '.join(ended)}; EC2's console says why, a retry replaces them")
    live = [node for node in nodes if node.state in LIVE]
    workers = sum(node.role == "worker" for node in live)
    return len(live) > workers >= required_workers and all(node.state == "running" for node in live)


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
                master_ip=master_ip,
                secret=keys.spark_secret(),
                runtime=runtime,
                size=size,
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
        "nodes": [{**asdict(node), "launched": node.launched.isoformat()} for node in nodes],
        "security_groups": firewall.find_groups(ec2, name),
    }


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


@dataclass(frozen=True)
class Destruction:
    """How many instances `destroy` ended, and the proof: what is left by kind of resource, all zeros."""

    instances: int
    left: dict[str, int]


def destroy(ec2: "EC2Client", name: str, *, timeout: float = GONE_TIMEOUT) -> Destruction:
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
