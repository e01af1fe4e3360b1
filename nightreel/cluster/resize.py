"""More and fewer workers. What is asked for is the number that there shall be in all, so that a repeat does nothing."""

import logging
from base64 import b64decode
from collections import Counter
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from nightreel.cluster import spark, tags, user_data
from nightreel.cluster.destroy import GONE_TIMEOUT, remove_nodes
from nightreel.cluster.ec2 import GONE, Node, find_nodes, translated
from nightreel.cluster.errors import ClusterError, NoClusterError, RefusedError
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.launch import launch_machines
from nightreel.cluster.lifecycle import Cluster
from nightreel.cluster.spec import WIDEST_PREFIX, Choice, ClusterSpec
from nightreel.cluster.ssh import Connect, attempt_on_all

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_ec2.type_defs import InstanceTypeDef

log = logging.getLogger(__name__)


def spec_of(ec2: "EC2Client", name: str, *, ssh_port: int = 22, user: str = "ec2-user") -> ClusterSpec:
    """The description of the cluster that is there, running or stopped, read off its instances.

    A launch with it changes nothing. What EC2 does not keep is not in it: how few workers would have been enough, and
    types and subnets that were not taken. Raises NoClusterError, and ClusterError when its tags can not be read.
    """
    nodes = _standing(ec2, name)
    # With its master gone a cluster can still be described, and then gets a master as its first worker.
    model = nodes[0]
    workers = [node for node in nodes if node.role == "worker"]
    types = [kind for kind, _ in Counter(node.instance_type for node in workers or nodes).most_common()]
    instance = _describe(ec2, model)
    try:
        return ClusterSpec(
            name=name,
            workers=max(1, len(workers)),
            expires_at=tags.parse_time(model.expires_at),
            run=model.run,
            instance_type=types[0],
            fallback_types=tuple(types[1:]),
            master_type=model.instance_type if model.instance_type != types[0] else None,
            market=_market(workers),
            ami=model.image_id,
            subnets=(model.subnet,),
            user=user,
            ssh_port=ssh_port,
            key_pair=model.key_pair,
            instance_profile=model.instance_profile,
            volume_gb=_root_volume_gb(ec2, instance),
            tags=_operators_tags(instance),
            user_data=_operators_user_data(ec2, model),
            **_network(ec2, name, ssh_port=ssh_port, reach=model.reach),
        )
    except ValueError as error:
        raise ClusterError(f"{name} does not look like a cluster of ours: {error}") from error


def grow(
    ec2: "EC2Client",
    name: str,
    *,
    workers: int,
    keys: KeyRing,
    ssh_port: int = 22,
    user: str = "ec2-user",
    fallback_types: tuple[str, ...] = (),
    market: Choice | None = None,
) -> Cluster:
    """Launch workers like those that are there until there are `workers` in all, and wait until they run.

    Image, subnet, network, profile, keys, tags, user data and expiry are the cluster's own. `fallback_types` and
    `market` (default: as now) say what to take where EC2 lacks capacity. Spark does not run on the new ones yet. Safe
    to run again. Raises RefusedError when there are more already, else as `launch_machines` does.
    """
    now = spec_of(ec2, name, ssh_port=ssh_port, user=user)
    if now.workers > workers:
        raise RefusedError(
            f"{name} has {now.workers} workers already, and {workers} in all were asked for: the number is the total; "
            "to get fewer, remove workers"
        )
    spec = replace(
        now,
        workers=workers,
        fallback_types=(*now.fallback_types, *fallback_types),
        market=market or now.market,
    )
    return launch_machines(ec2, spec, image=spec.ami or "", keys=keys)


def shrink(ec2: "EC2Client", name: str, *, workers: int, connect: Connect, timeout: float = GONE_TIMEOUT) -> list[Node]:
    """Remove workers until there are `workers` in all, and prove that nothing of the removed is left; gives those.

    Those that do not run go first, then those without a running executor, each time the newest first. Spark is told
    before the machine ends, so that it moves the work elsewhere at once. Nothing happens when there are no more than
    that. Raises ValueError for fewer than one worker, NoClusterError, LeakError, ClusterError.
    """
    if workers < 1:
        raise ValueError(f"a cluster keeps at least one worker, not {workers}: to end it, destroy it")
    nodes = _standing(ec2, name)
    present = [node for node in nodes if node.role == "worker"]
    surplus = len(present) - workers
    if surplus <= 0:
        return []
    busy = _busy_addresses(nodes, connect)
    order = sorted(present, key=lambda node: node.launched, reverse=True)
    order.sort(key=lambda node: (node.state == "running", node.private_ip in busy))
    doomed = order[:surplus]
    _stop_workers([node for node in doomed if node.state == "running"], connect)
    remove_nodes(ec2, name, doomed, timeout=timeout)
    log.info("%s: %d worker(s) removed, %d left", name, len(doomed), workers)
    return doomed


def _standing(ec2: "EC2Client", name: str) -> list[Node]:
    nodes = [node for node in find_nodes(ec2, name) if node.state not in GONE]
    if not nodes:
        raise NoClusterError(f"there is no cluster named {name}: launch it first")
    return nodes


def _market(workers: list[Node]) -> Choice:
    markets = {node.market for node in workers}
    if len(markets) > 1:
        return "spot-or-on-demand"
    return markets.pop() if markets else "on-demand"


def _describe(ec2: "EC2Client", node: Node) -> "InstanceTypeDef":
    with translated(f"look at {node.instance_id}"):
        return ec2.describe_instances(InstanceIds=[node.instance_id])["Reservations"][0]["Instances"][0]


def _root_volume_gb(ec2: "EC2Client", instance: "InstanceTypeDef") -> int:
    disks = {disk["DeviceName"]: disk["Ebs"]["VolumeId"] for disk in instance["BlockDeviceMappings"]}
    with translated(f"look at the disk of {instance['InstanceId']}"):
        return ec2.describe_volumes(VolumeIds=[disks[instance["RootDeviceName"]]])["Volumes"][0]["Size"]


def _operators_tags(instance: "InstanceTypeDef") -> dict[str, str]:
    """Without ours and those that AWS puts there by itself."""
    found = tags.as_dict(instance.get("Tags"))
    return {key: value for key, value in found.items() if key != "Name" and not key.startswith(("nightreel:", "aws:"))}


def _operators_user_data(ec2: "EC2Client", node: Node) -> str:
    with translated(f"read the user data of {node.instance_id}"):
        answer = ec2.describe_instance_attribute(InstanceId=node.instance_id, Attribute="userData")
    return user_data.extra_of(b64decode(answer.get("UserData", {}).get("Value", "")).decode())


def _network(ec2: "EC2Client", name: str, *, ssh_port: int, reach: str) -> dict[str, Any]:
    """Where SSH may come from, as the cluster's own security group has it."""
    with translated(f"look at the security group of {name}"):
        groups = ec2.describe_security_groups(Filters=tags.filters(name))["SecurityGroups"]
    admitted = [
        source["CidrIp"]
        for group in groups
        for rule in group["IpPermissions"]
        if rule.get("FromPort") == ssh_port
        for source in rule["IpRanges"]
    ]
    # A public network that nodes are not reached from by their public addresses is the VPC's own.
    if not admitted or (ip_network(admitted[0]).is_global and reach != "public"):
        return {}
    return {"operator_cidr": admitted[0], "allow_world": ip_network(admitted[0]).prefixlen < WIDEST_PREFIX}


def _busy_addresses(nodes: list[Node], connect: Connect) -> set[str]:
    """Private addresses of the workers with running executors; none where the master can not be asked."""
    masters = [node for node in nodes if node.role == "master" and node.state == "running"]
    if not masters:
        return set()
    try:
        with connect(masters[0]) as connection:
            state = spark.read_state(connection, masters[0].private_ip)
    except Exception as error:
        log.warning("the master can not be asked which workers are busy, so the newest go: %s", error)
        return set()
    return {worker["host"] for worker in (state or {}).get("workers", ()) if worker.get("coresused")}


def _stop_workers(nodes: list[Node], connect: Connect) -> None:
    def end(node: Node) -> None:
        with connect(node) as connection:
            spark.stop_worker(connection)

    for node, outcome in zip(nodes, attempt_on_all(nodes, end), strict=True):
        if isinstance(outcome, Exception):
            log.warning("%s ends without a word to Spark: %s", node.instance_id, outcome)
