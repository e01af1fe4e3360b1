"""Renew, stop and start a cluster. Each moves the expiry, and none of them can make a node outlive it unseen.

The expiry stands in two places: in a file on each node, which its dead-man's switch reads, and in the tags, which the
reaper and people read. Wherever one of these steps is cut off, the switch must not be set later than the tag says:
a later expiry goes into the tags first, an earlier one to the nodes first.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from nightreel.cluster import tags
from nightreel.cluster.ec2 import GONE, LIVE, Node, await_state, find_nodes, translated
from nightreel.cluster.errors import ClusterError, HostKeyError, NoClusterError, RefusedError
from nightreel.cluster.inventory import Holding, find_holdings
from nightreel.cluster.lifecycle import BOOT_TIMEOUT, Cluster, find
from nightreel.cluster.ssh import Connect, attempt_on_all, await_connection
from nightreel.cluster.user_data import EXPIRY_FILE, LONGEST

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

log = logging.getLogger(__name__)

REACH_TIMEOUT = 30.0
"""How long a running node may take to let us in, in seconds."""
STOP_TIMEOUT = 600.0
"""How long the nodes may take to stop, in seconds: EC2 waits minutes for a machine that hangs."""
_TAGS_PER_CALL = 500


def renew(ec2: "EC2Client", name: str, *, expires_at: datetime, connect: Connect) -> Cluster:
    """Give the running cluster another expiry, on all its nodes and in all its tags; safe to run again.

    Raises RefusedError when `expires_at` has passed or is more than eight days ahead, NoClusterError, HostKeyError, and
    ClusterError naming the nodes that could not be told: those keep their old expiry.
    """
    _require_sensible(expires_at)
    cluster = find(ec2, name)
    _renew_running(ec2, name, list(cluster.nodes), expires_at=expires_at, connect=connect, timeout=REACH_TIMEOUT)
    log.info("%s expires at %s now", name, tags.format_time(expires_at))
    return find(ec2, name)


def stop(ec2: "EC2Client", name: str, *, keep_until: datetime, connect: Connect) -> list[Node]:
    """Stop all nodes of the cluster, keep their disks until `keep_until`, and wait until they are stopped.

    What is stopped already stays so; a stopped cluster only gets the new expiry in its tags. After `keep_until` the
    reaper removes the cluster, and a node that is started powers itself off. A node that can not be reached is stopped
    all the same, with a warning: it keeps the expiry that it knows.

    Raises RefusedError, before anything is stopped, when a node is a spot instance, which EC2 can not stop for us;
    NoClusterError; ClusterError when the nodes do not stop in time.
    """
    _require_sensible(keep_until)
    nodes = _require_nodes(ec2, name)
    _refuse_spot(name, nodes)
    if any(node.state == "pending" for node in nodes):  # EC2 stops what runs
        nodes = _await(ec2, name, lambda node: node.state != "pending", timeout=BOOT_TIMEOUT, what="running nodes")
    running = [node for node in nodes if node.state == "running"]
    for node, failure in _write_expiry(running, expires_at=keep_until, connect=connect, timeout=REACH_TIMEOUT):
        log.warning(
            "%s (%s) could not be told that it is kept until %s: started after %s, it powers itself off (%s)",
            node.instance_id,
            node.address,
            tags.format_time(keep_until),
            node.expires_at,
            failure,
        )
    if running:
        # Nothing between the nodes' files and this: a node that ran on with the late expiry would have the reaper
        # alone against it, which still reads the old one.
        with translated(f"stop the nodes of {name}"):
            ec2.stop_instances(InstanceIds=[node.instance_id for node in running])
    nodes = _await(ec2, name, lambda node: node.state == "stopped", timeout=STOP_TIMEOUT, what="stopped nodes")
    if not nodes:
        raise NoClusterError(f"all nodes of {name} ended while they were stopped: launch it again")
    _retag(ec2, find_holdings(ec2, name), expires_at=keep_until)
    log.info("%s is stopped: %d node(s), kept until %s", name, len(nodes), tags.format_time(keep_until))
    return nodes


def start(ec2: "EC2Client", name: str, *, expires_at: datetime, connect: Connect) -> Cluster:
    """Start the nodes of a stopped cluster, wait until they run and let us in, and renew their expiry.

    Their addresses may be others than before, and Spark does not run on them yet. Nodes that run already are only
    renewed, so that it is safe to run again. Raises NoClusterError; RefusedError for a cluster that has expired, since
    its nodes would power themselves off at once; ClusterError when the nodes do not come up.
    """
    _require_sensible(expires_at)
    nodes = _require_nodes(ec2, name)
    _refuse_expired(name, nodes)
    if any(node.state == "stopping" for node in nodes):  # EC2 starts what is stopped
        nodes = _await(ec2, name, lambda node: node.state != "stopping", timeout=STOP_TIMEOUT, what="stopped nodes")
    if stopped := [node.instance_id for node in nodes if node.state == "stopped"]:
        with translated(f"start the nodes of {name}"):
            ec2.start_instances(InstanceIds=stopped)
    nodes = _await(ec2, name, lambda node: node.state == "running", timeout=BOOT_TIMEOUT, what="running nodes")
    _renew_running(ec2, name, nodes, expires_at=expires_at, connect=connect, timeout=BOOT_TIMEOUT)
    cluster = find(ec2, name)
    log.info("%s runs again: master %s, %d worker(s)", name, cluster.master.address, len(cluster.workers))
    return cluster


def _require_sensible(expires_at: datetime) -> None:
    now = datetime.now(UTC)
    if expires_at <= now:
        raise RefusedError(f"{tags.format_time(expires_at)} has passed: the nodes would power themselves off at once")
    if expires_at > now + LONGEST:
        raise RefusedError(
            f"{tags.format_time(expires_at)} is more than {LONGEST.days} days ahead, which no node accepts: choose an "
            "earlier moment and renew again later"
        )


def _require_nodes(ec2: "EC2Client", name: str) -> list[Node]:
    nodes = [node for node in find_nodes(ec2, name) if node.state not in GONE]
    if not nodes:
        raise NoClusterError(f"there is no cluster named {name}: launch it first")
    return nodes


def _refuse_spot(name: str, nodes: Iterable[Node]) -> None:
    if spot := [node.instance_id for node in nodes if node.market == "spot"]:
        raise RefusedError(
            f"{name} can not be stopped: {', '.join(spot)} are spot instances, which EC2 does not stop for their "
            "owner; remove these workers first, or destroy the cluster"
        )


def _refuse_expired(name: str, nodes: Iterable[Node]) -> None:
    # Nodes that run have judged for themselves.
    if expired := sorted(node.expires_at for node in nodes if node.state not in LIVE and _has_expired(node)):
        raise RefusedError(
            f"{name} expired at {expired[0] or 'an unknown time'}: its nodes would power themselves off at once; "
            "destroy it and launch it again"
        )


def _has_expired(node: Node) -> bool:
    try:
        return tags.parse_time(node.expires_at) <= datetime.now(UTC)
    except ValueError:
        return True


def _await(ec2: "EC2Client", name: str, done: Callable[[Node], bool], *, timeout: float, what: str) -> list[Node]:
    """Wait until `done` of all nodes that are not gone; those nodes. A node that ends meanwhile is not waited for."""

    def all_done(nodes: list[Node]) -> bool:
        return all(done(node) for node in nodes if node.state not in GONE)

    nodes = await_state(ec2, name, done=all_done, timeout=timeout, what=what)
    return [node for node in nodes if node.state not in GONE]


def _renew_running(
    ec2: "EC2Client", name: str, nodes: list[Node], *, expires_at: datetime, connect: Connect, timeout: float
) -> None:
    holdings = find_holdings(ec2, name)
    earlier = [holding for holding in holdings if holding.expires_at is None or holding.expires_at < expires_at]
    _retag(ec2, earlier, expires_at=expires_at)
    failures = _write_expiry(nodes, expires_at=expires_at, connect=connect, timeout=timeout)
    if failures:
        told = "; ".join(f"{node.instance_id} ({node.address}): {failure}" for node, failure in failures)
        text = (
            f"{len(failures)} of {len(nodes)} nodes of {name} could not be told and keep the expiry they know: {told}"
        )
        kind = HostKeyError if any(isinstance(failure, HostKeyError) for _, failure in failures) else ClusterError
        raise kind(text) from failures[0][1]
    _retag(ec2, [holding for holding in holdings if holding not in earlier], expires_at=expires_at)


def _write_expiry(
    nodes: list[Node], *, expires_at: datetime, connect: Connect, timeout: float
) -> list[tuple[Node, Exception]]:
    """Write the expiry on the nodes, whole or not at all; who could not be told, and why."""
    part = f"{EXPIRY_FILE}.$$"
    script = (
        f"mkdir -p {EXPIRY_FILE.parent} && echo {int(expires_at.timestamp())} > {part} && mv -f {part} {EXPIRY_FILE}"
    )

    def write(node: Node) -> None:
        with await_connection(connect, node, timeout=timeout) as connection:
            connection.run(script)

    outcomes = attempt_on_all(nodes, write)
    return [(node, outcome) for node, outcome in zip(nodes, outcomes, strict=True) if isinstance(outcome, Exception)]


def _retag(ec2: "EC2Client", holdings: list[Holding], *, expires_at: datetime) -> None:
    new = tags.as_list({tags.EXPIRES_AT: tags.format_time(expires_at)})
    ids = [holding.id for holding in holdings]
    with translated("write the expiry into the tags"):
        for first in range(0, len(ids), _TAGS_PER_CALL):
            some = ids[first : first + _TAGS_PER_CALL]
            if not _tagged(ec2, some, new):
                for one in some:
                    _tagged(ec2, [one], new)


def _tagged(ec2: "EC2Client", ids: list[str], new: list[Any]) -> bool:
    """False when one of them is not there any more, as what belonged to a node that died: EC2 then tags none."""
    try:
        ec2.create_tags(Resources=ids, Tags=new)
    except ClientError as error:
        if not error.response["Error"]["Code"].endswith(".NotFound"):
            raise
        return False
    return True
