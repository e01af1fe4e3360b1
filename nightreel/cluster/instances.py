"""Ask EC2 for instances so that asking twice gives the same ones, and give back what is not wanted."""

import hashlib
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from nightreel.cluster import tags, user_data
from nightreel.cluster.ec2 import GONE, LIVE, Node, translated
from nightreel.cluster.errors import ClusterError, LeakError
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.spec import ClusterSpec, Market
from nightreel.cluster.tags import Role

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

# EC2 forgets dead instances within an hour and client tokens later: a name that is used often finds many used up.
_MAX_GENERATIONS = 100


@dataclass(frozen=True, kw_only=True)
class Template:
    """What all requests of a launch have in common besides the cluster's description."""

    image: str
    root_device: str
    group: str
    """Id of the security group."""
    keys: KeyRing


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One way to get a machine: EC2 may have capacity for one and none for another."""

    instance_type: str
    market: Market
    subnet: str
    zone: str = ""

    def __str__(self) -> str:
        return f"{self.instance_type} {self.market} in {self.zone or self.subnet}"


def request_nodes(
    ec2: "EC2Client",
    spec: ClusterSpec,
    *,
    role: Role,
    offer: Offer,
    template: Template,
    count: int,
    known: Collection[Node],
) -> list[str]:
    """Ask for up to `count` nodes and give the ids of those that there are now and are not among the `known`.

    `known` are the nodes of this role, dead ones too, by the listing that `count` was reckoned from. Were it another
    one, a launcher beside us could launch between the two, and what it launched would be launched once more.

    A retry sends the same client token and so gets the same instances. The token changes with the generation, since
    EC2 answers a token whose instances are dead with the dead instances.

    Raises CapacityError when EC2 has not even one, RefusedError or ClusterError.
    """
    live = {node.instance_id for node in known if node.state in LIVE}
    request = _run_request(spec, role=role, offer=offer, template=template)
    for generation in range(len(known), len(known) + _MAX_GENERATIONS):
        request |= {
            "MinCount": 1,
            "MaxCount": count,
            "ClientToken": client_token(spec, role=role, offer=offer, generation=generation),
        }
        launched = _run(ec2, request, doing=f"launch {count} {role}(s) of {spec.name} ({offer})")
        # EC2 forgets dead instances after a while, and then a generation can come back whose instances are known.
        if fresh := set(launched) - live:
            return sorted(fresh)
    raise ClusterError(
        f"could not launch the {role} of {spec.name}: {_MAX_GENERATIONS} client tokens in a row belong to instances "
        "that are gone already; choose another cluster name"
    )


def client_token(spec: ClusterSpec, *, role: Role, offer: Offer, generation: int) -> str:
    """The idempotency token of a RunInstances call (64 ASCII characters at most)."""
    where = (offer.market, offer.subnet, offer.instance_type)
    return hashlib.sha256("\0".join((spec.name, spec.key_run, role, *where, str(generation))).encode()).hexdigest()


def _run(ec2: "EC2Client", request: dict[str, Any], *, doing: str) -> list[str]:
    """The instances that the call left behind; none when its token was used up by instances that are dead."""
    with translated(doing):
        try:
            instances = _to_the_end(lambda: ec2.run_instances(**request))["Instances"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "IdempotentParameterMismatch":
                raise
            # Somebody launched with this token and other settings. If those instances live, they are adopted.
            by_token: list[Any] = [{"Name": "client-token", "Values": [request["ClientToken"]]}]
            return [key for key, state in _states(ec2, by_token).items() if state not in GONE]
        ids = [instance["InstanceId"] for instance in instances]
        # A replayed answer may be older than the truth, and a fresh instance may not be listed yet: who is not listed
        # counts by the answer, or a slow listing would launch everything twice.
        now = _states(ec2, [{"Name": "instance-id", "Values": ids}])
        states = {instance["InstanceId"]: instance["State"]["Name"] for instance in instances} | now
        return [] if all(state in GONE for state in states.values()) else ids


def _to_the_end[T](call: Callable[[], T]) -> T:
    """Make a call that is waited for even when we are interrupted.

    A request that was sent may launch machines after its caller has gone. Whoever cleans up behind an interruption must
    come after it.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(call).result()


def _states(ec2: "EC2Client", filters: list[Any]) -> dict[str, str]:
    reservations = ec2.describe_instances(Filters=filters)["Reservations"]
    return {item["InstanceId"]: item["State"]["Name"] for group in reservations for item in group["Instances"]}


def _run_request(spec: ClusterSpec, *, role: Role, offer: Offer, template: Template) -> dict[str, Any]:
    interface: dict[str, Any] = {
        "DeviceIndex": 0, "Groups": [template.group], "DeleteOnTermination": True, "SubnetId": offer.subnet,
    }  # fmt: skip
    if spec.reach == "public":
        interface["AssociatePublicIpAddress"] = True  # else the subnet decides
    root = {"VolumeSize": spec.volume_gb, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    request: dict[str, Any] = {
        "ImageId": template.image,
        "InstanceType": offer.instance_type,
        "UserData": user_data.render(
            role=role, keys=template.keys, expires_at=spec.expires_at, login=spec.user, extra=spec.user_data
        ),
        "NetworkInterfaces": [interface],
        "BlockDeviceMappings": [{"DeviceName": template.root_device, "Ebs": root}],
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
        "InstanceInitiatedShutdownBehavior": "terminate",
        "TagSpecifications": tags.specifications(spec, role=role, market=offer.market),
    }
    if offer.market == "spot":
        # One-time, for a persistent request would launch again what was terminated. Without a price of ours the limit
        # is the price on demand.
        options = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
        request["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": options}
    if spec.key_pair:
        request["KeyName"] = spec.key_pair
    if profile := spec.instance_profile:
        request["IamInstanceProfile"] = {"Arn" if profile.startswith("arn:") else "Name": profile}
    return request


def terminate(ec2: "EC2Client", ids: Collection[str], *, timeout: float) -> None:
    """Terminate these instances and wait until EC2 says that they are; LeakError when it does not in `timeout` s."""
    if not ids:
        return
    deadline = time.monotonic() + timeout
    pause = 0.2
    left = set(ids)
    while left := _not_terminated(ec2, left):
        if time.monotonic() > deadline:
            raise LeakError(f"waited {timeout:.0f} s for the end of {', '.join(sorted(left))}: see EC2's console")
        time.sleep(pause)
        pause = min(pause * 1.5, 5.0)


def _not_terminated(ec2: "EC2Client", ids: set[str]) -> set[str]:
    """Which of these are not terminated yet, all of them told to be; who is not listed yet counts as living."""
    with translated(f"terminate {', '.join(sorted(ids))}"):
        try:
            ec2.terminate_instances(InstanceIds=sorted(ids))
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidInstanceID.NotFound":  # so young that EC2 does not know it
                raise
        states = _states(ec2, [{"Name": "instance-id", "Values": sorted(ids)}])
    return {key for key in ids if states.get(key) != "terminated"}
