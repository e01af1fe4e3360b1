"""Launch a cluster's machines: what is there is adopted, only what is missing is asked for."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nightreel.cluster import claims, firewall, images, instances, tags
from nightreel.cluster.destroy import GONE_TIMEOUT, destroy_cluster
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
    claims.claim(ec2, launched | {node.instance_id for node in find_nodes(ec2, spec.name, states=LIVE)})
    await_state(
        ec2,
        spec.name,
        done=lambda nodes: _settled(nodes, launched=launched, required_workers=spec.required_workers),
        timeout=BOOT_TIMEOUT,
        what="running instances",
    )
    _keep_one_master(ec2, spec.name)
    cluster = find(ec2, spec.name)
    log.info("%s runs: master %s, %d worker(s)", spec.name, cluster.master.address, len(cluster.workers))
    return cluster


@contextmanager
def cleaned_on_failure(ec2: "EC2Client", name: str) -> Iterator[None]:
    """When what is done inside fails or is interrupted, end every machine of this cluster that was not there before.

    A cluster that was not there at all is destroyed whole. Machines that another launcher works with are left to it.
    For callers who do not try again; Airflow's retries adopt what a failed try left behind.
    """
    before = {node.instance_id for node in _present(ec2, name)}
    try:
        yield
    except BaseException as error:
        log.warning("the launch of %s failed: %s", name, _reason(error))
        _clean(ec2, name, before)
        raise


def _reason(error: BaseException) -> str:
    """The first line: the rest comes with the error itself."""
    return (str(error) or type(error).__name__).splitlines()[0]


def _clean(ec2: "EC2Client", name: str, before: set[str]) -> None:
    """Whoever interrupts has to do it again to leave machines behind: the first time may be one too many by haste."""
    try:
        _remove_new(ec2, name, before)
    except (KeyboardInterrupt, SystemExit):
        log.warning("still removing what was launched of %s; interrupt once more to leave it running", name)
        _remove_new(ec2, name, before)


def _remove_new(ec2: "EC2Client", name: str, before: set[str]) -> None:
    fresh = {node.instance_id for node in _present(ec2, name)} - before
    try:
        claims.withdraw(ec2, fresh)
    except ClusterError as error:  # no reason to leave them running
        log.warning("%s", error)
    present = _present(ec2, name)
    others = {node.instance_id for node in present if set(node.launchers) - {claims.OURS}}
    claimed = others - before
    if not before and not claimed:
        log.warning("removing whatever was launched of %s", name)
        destroy_cluster(ec2, name)
        return
    doomed = sorted({node.instance_id for node in present} - before - claimed)
    instances.terminate(ec2, doomed, timeout=GONE_TIMEOUT)
    log.warning(
        "%s: %d new node(s) removed; left as they are: %d that were there before, %d that another launcher works with",
        name,
        len(doomed),
        len(before),
        len(claimed),
    )


def _present(ec2: "EC2Client", name: str) -> list[Node]:
    return [node for node in find_nodes(ec2, name) if node.state not in GONE]


def _refuse_stopped(ec2: "EC2Client", name: str) -> None:
    stopped = find_nodes(ec2, name, states=["stopping", "stopped"])
    if stopped:
        raise ClusterError(f"the cluster {name} is stopped ({len(stopped)} instance(s)): start it, or destroy it first")


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


def _keep_one_master(ec2: "EC2Client", name: str) -> None:
    """End all masters but the eldest.

    Client tokens keep a repeated request from launching twice. But when EC2 has not listed yet what a launcher before
    us, or beside us, got of a second choice, and has our first choice by now, then there are two.
    """
    masters = [node for node in find_nodes(ec2, name, states=LIVE) if node.role == "master"]
    surplus = sorted(masters, key=lambda node: (node.launched, node.instance_id))[1:]
    if surplus:
        log.warning("%s has %d masters: ending all but the eldest", name, len(masters))
        instances.terminate(ec2, [node.instance_id for node in surplus], timeout=GONE_TIMEOUT)


def _settled(nodes: list[Node], *, launched: set[str], required_workers: int) -> bool:
    ended = [node.instance_id for node in nodes if node.instance_id in launched and node.state in GONE]
    if ended:
        raise ClusterError(f"ended while starting: {', '.join(ended)}; EC2's console says why, a retry replaces them")
    live = [node for node in nodes if node.state in LIVE]
    workers = sum(node.role == "worker" for node in live)
    return len(live) > workers >= required_workers and all(node.state == "running" for node in live)
