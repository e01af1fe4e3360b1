"""The cluster's security group: its own nodes among themselves, SSH from the operator, nothing else."""

import http.client
import socket
import urllib.request
from collections.abc import Callable, Iterable
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

import psutil
from botocore.exceptions import ClientError

from nightreel.cluster import placement, tags
from nightreel.cluster.ec2 import translated
from nightreel.cluster.errors import ClusterError
from nightreel.cluster.spec import ClusterSpec

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

ADDRESS_URL = "https://checkip.amazonaws.com"
"""Answers with the public address that a request comes from."""
_ADDRESS_TIMEOUT = 5.0


def operator_cidr(
    vpc_cidr: str,
    *,
    ask: Callable[[], str] | None = None,
    own_networks: Iterable[IPv4Network] | None = None,
) -> str:
    """The network that SSH has to be open to for this machine.

    That is the VPC's own when this machine is in it, or in a network that overlaps it; else the public address that
    `ask` finds (default: `public_address`). Raises ClusterError, saying how to give it, when it can not be found.
    """
    vpc = IPv4Network(vpc_cidr)
    networks = _own_networks() if own_networks is None else own_networks
    if any(network.overlaps(vpc) for network in networks):
        return vpc_cidr
    answer = (ask or public_address)().strip()
    how = "give it with --operator-cidr, or reach the nodes from inside with --private-ips"
    try:
        address = IPv4Address(answer)
    except AddressValueError as error:
        raise ClusterError(
            f"could not find this machine's public address: {answer[:60]!r} is no IPv4 address; {how}"
        ) from error
    if not address.is_global:
        raise ClusterError(f"could not find this machine's public address: {address} is not a public one; {how}")
    return f"{address}/32"


def public_address(url: str = ADDRESS_URL) -> str:
    """This machine's address as the service at `url` sees it. Raises ClusterError when it does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=_ADDRESS_TIMEOUT) as answer:  # noqa: S310 (the operator's own choice)
            text: str = answer.read(100).decode("ascii", errors="replace")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ClusterError(
            f"could not find this machine's public address: {url} does not answer ({error}); give it with "
            "--operator-cidr, or reach the nodes from inside with --private-ips"
        ) from error
    return text


def _own_networks() -> list[IPv4Network]:
    """The networks that this machine's interfaces are in."""
    return [
        IPv4Network(f"{address.address}/{address.netmask}", strict=False)
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and address.netmask
    ]


def ensure_group(ec2: "EC2Client", spec: ClusterSpec) -> str:
    """The id of the cluster's security group, made or found, with exactly the rules that it should have."""
    vpc = placement.vpc_of(ec2, spec)
    with translated(f"make the security group of {spec.name}"):
        group = _create_or_find(ec2, spec, vpc_id=vpc["VpcId"])
        own = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
        port, cidr = spec.ssh_port, spec.operator_cidr or vpc["CidrBlock"]
        ssh = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": cidr}]}
        _set_rules(ec2, group, [own, ssh])
    return group


def _set_rules(ec2: "EC2Client", group: str, wanted: list[Any]) -> None:
    """Give the group exactly these rules: one that is adopted may still admit where the operator was yesterday."""
    [found] = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    present: list[Any] = [_plain(rule) for rule in found["IpPermissions"]]
    for rule in present:
        if rule not in wanted:
            ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])
    for rule in wanted:
        if rule not in present:
            _admit(ec2, group, rule)


def _plain(rule: Any) -> dict[str, Any]:
    """A rule as it is asked for: without what EC2 adds when it describes one."""
    pairs = [{"GroupId": pair["GroupId"]} for pair in rule.get("UserIdGroupPairs", ())]
    described = {**rule, "UserIdGroupPairs": pairs}
    everything = rule["IpProtocol"] == "-1"
    return {key: value for key, value in described.items() if value and not (everything and key.endswith("Port"))}


def _admit(ec2: "EC2Client", group: str, rule: Any) -> None:
    try:
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    except ClientError as error:
        if error.response["Error"]["Code"] != "InvalidPermission.Duplicate":
            raise


def _create_or_find(ec2: "EC2Client", spec: ClusterSpec, *, vpc_id: str) -> str:
    try:
        return ec2.create_security_group(
            GroupName=f"nightreel-{spec.name}",
            Description=f"Nightreel cluster {spec.name}",
            VpcId=vpc_id,
            TagSpecifications=[{"ResourceType": "security-group", "Tags": tags.as_list(tags.of_cluster(spec))}],
        )["GroupId"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "InvalidGroup.Duplicate":
            raise
    found = find_groups(ec2, spec.name)
    if not found:
        raise ClusterError(
            f"a security group named nightreel-{spec.name} is there but does not carry our tag: it is not ours "
            "to use; rename it or choose another cluster name"
        )
    return found[0]


def find_groups(ec2: "EC2Client", name: str) -> list[str]:
    """Ids of the security groups that carry the cluster's tag."""
    with translated(f"look for the security groups of {name}"):
        answer = ec2.describe_security_groups(Filters=tags.filters(name))
    return [group["GroupId"] for group in answer["SecurityGroups"]]
