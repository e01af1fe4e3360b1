"""Where EC2 has the machines: the next type, market and zone are asked for what the one before could not give."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nightreel.cluster import instances
from nightreel.cluster.ec2 import LIVE, Node, find_nodes, translated
from nightreel.cluster.errors import CapacityError, RefusedError
from nightreel.cluster.instances import Offer, Template
from nightreel.cluster.spec import ClusterSpec
from nightreel.cluster.tags import Role

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_ec2.type_defs import VpcTypeDef

log = logging.getLogger(__name__)

_GIVE_BACK_TIMEOUT = 300.0


@dataclass(frozen=True, kw_only=True)
class Subnet:
    """A place to launch in. A cluster lies in one, since traffic between zones costs money and time."""

    subnet_id: str
    zone: str
    vpc_id: str


def vpc_of(ec2: "EC2Client", spec: ClusterSpec) -> "VpcTypeDef":
    """The network that the cluster lies in. Raises RefusedError when there is none, or more than one."""
    found = sorted({subnet.vpc_id for subnet in subnets(ec2, spec)})
    if len(found) > 1:
        raise RefusedError(f"the subnets lie in {found[0]} and {found[1]}: a cluster lies in one VPC")
    with translated("look up the network"):
        return ec2.describe_vpcs(VpcIds=found)["Vpcs"][0]


def subnets(ec2: "EC2Client", spec: ClusterSpec) -> list[Subnet]:
    """Where the cluster may lie: the subnets that it names, in its order, else the default VPC's, by zone."""
    with translated("look up the subnets"):
        if spec.subnets:
            described = ec2.describe_subnets(SubnetIds=list(spec.subnets))["Subnets"]
        else:
            described = ec2.describe_subnets(Filters=_default_vpc(ec2))["Subnets"]
            described = [subnet for subnet in described if subnet["DefaultForAz"]]
    if not described:
        raise RefusedError("the default VPC of this region has no default subnets: name a subnet to launch in")
    found = [Subnet(subnet_id=one["SubnetId"], zone=one["AvailabilityZone"], vpc_id=one["VpcId"]) for one in described]
    if spec.subnets:
        return sorted(found, key=lambda subnet: spec.subnets.index(subnet.subnet_id))
    return sorted(found, key=lambda subnet: subnet.zone)


def _default_vpc(ec2: "EC2Client") -> list[Any]:
    found = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    if not found:
        raise RefusedError("this region has no default VPC: name a subnet to launch in")
    return [{"Name": "vpc-id", "Values": [found[0]["VpcId"]]}]


@dataclass
class Placement:
    """The search for machines, and what came of it."""

    ec2: "EC2Client"
    spec: ClusterSpec
    template: Template
    launched: list[str] = field(default_factory=list)
    """Instances that this search launched in the zone that it is at."""
    answers: list[str] = field(default_factory=list)
    """What EC2 had to say to each request that it did not serve in full."""

    def fill(self) -> list[str]:
        """Launch what the cluster lacks, in one zone, and give the ids; what is there already is adopted.

        What a zone gave that could not give enough is terminated before the next zone is tried. Raises CapacityError,
        listing every request, when all are exhausted; RefusedError and ClusterError leave what there is to a retry.
        """
        adopted = find_nodes(self.ec2, self.spec.name, states=LIVE)
        for subnet in self._choices(adopted):
            self.launched = []
            if self._fill_role("master", subnet) and self._fill_role("worker", subnet):
                return self.launched
            log.warning("%s can not hold %s: giving back %d node(s)", subnet.zone, self.spec.name, len(self.launched))
            instances.terminate(self.ec2, self.launched, timeout=_GIVE_BACK_TIMEOUT)
        raise CapacityError(self._exhausted(adopted))

    def _choices(self, adopted: list[Node]) -> list[Subnet]:
        """The subnets to try: where a node of the cluster is already, there the others must go."""
        found = subnets(self.ec2, self.spec)
        if not adopted:
            return found
        there = adopted[0]
        same = [subnet for subnet in found if subnet.subnet_id == there.subnet]
        return same or [Subnet(subnet_id=there.subnet, zone=there.zone, vpc_id=found[0].vpc_id)]

    def _fill_role(self, role: Role, subnet: Subnet) -> bool:
        """Whether there are enough nodes of this role now."""
        wanted, least = (1, 1) if role == "master" else (self.spec.workers, self.spec.required_workers)
        present: set[str] = set()
        for offer in _offers(self.spec, role=role, subnet=subnet):
            known = [node for node in find_nodes(self.ec2, self.spec.name) if node.role == role]
            present.update(node.instance_id for node in known if node.state in LIVE)
            missing = wanted - len(present)
            if missing <= 0:
                break
            present.update(self._ask(role, offer, missing, known=known))
        return len(present) >= least

    def _ask(self, role: Role, offer: Offer, count: int, *, known: list[Node]) -> list[str]:
        try:
            given = instances.request_nodes(
                self.ec2, self.spec, role=role, offer=offer, template=self.template, count=count, known=known
            )
        except CapacityError as error:
            self.answers.append(f"{role}, {offer}: {error.code}")
            log.warning("EC2 has no %s: %s", offer, error.code)
            return []
        if len(given) < count:
            self.answers.append(f"{role}, {offer}: {len(given)} of {count}")
        self.launched.extend(given)
        return given

    def _exhausted(self, adopted: list[Node]) -> str:
        fixed = ""
        if adopted:
            fixed = f" {len(adopted)} node(s) that are there bind it to {adopted[0].zone}: destroy it to try elsewhere."
        return (
            f"could not launch {self.spec.name}: EC2 has too few machines just now. Retry later, or allow other types "
            f"or subnets.{fixed} Asked for, in this order:\n" + "\n".join(f"- {answer}" for answer in self.answers)
        )


def _offers(spec: ClusterSpec, *, role: Role, subnet: Subnet) -> Iterator[Offer]:
    """The requests to make for a role in one zone, the preferred first."""
    master = role == "master"
    for market in ("on-demand",) if master else spec.worker_markets:
        for instance_type in spec.master_types if master else spec.worker_types:
            yield Offer(instance_type=instance_type, market=market, subnet=subnet.subnet_id, zone=subnet.zone)
