"""Launch a cluster's machines: what is there is adopted, only what is missing is asked for."""

import logging
from typing import TYPE_CHECKING

from nightreel.cluster import firewall, images, tags
from nightreel.cluster.ec2 import GONE, LIVE, Node, await_state, find_nodes
from nightreel.cluster.errors import ClusterError, RefusedError
from nightreel.cluster.instances import Template
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.lifecycle import BOOT_TIMEOUT, Cluster, find, worker_size
from nightreel.cluster.placement import Placement
from nightreel.cluster.spec import ClusterSpec

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

log = logging.getLogger(__name__)


def launch_machines(ec2: "EC2Client", spec: ClusterSpec, *, image: str, keys: KeyRing) -> Cluster:
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
    types = images.all_types(spec)
    root_device = images.root_device(ec2, image, instance_types=types)
    for instance_type in types:
        worker_size(ec2, instance_type)
    template = Template(image=image, root_device=root_device, group=firewall.ensure_group(ec2, spec), keys=keys)
    launched = set(Placement(ec2, spec, template).fill())
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
    for node in live:
        types = spec.master_types if node.role == "master" else spec.worker_types
        if node.instance_type not in types:
            raise RefusedError(
                f"{spec.name} is there already, of {node.instance_type} machines, and {' or '.join(types)} was asked "
                f"for as {node.role}: ask for the type that it has, or destroy it first"
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
