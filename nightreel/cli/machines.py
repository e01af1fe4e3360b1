"""Options that say what a cluster should be: its machines, and the Spark on them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from nightreel.cli.access import Access
from nightreel.cli.options import Hours, option_group, pairs
from nightreel.cli.output import UsageError, usage_checked
from nightreel.cluster import firewall, placement
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.runtime import SPARK_VERSION, Runtime
from nightreel.cluster.spec import Choice, ClusterSpec
from nightreel.cluster.user_data import render

WORLD = "0.0.0.0/0"
AUTO = "auto"


@option_group
class Machines:
    """What is to be launched."""

    workers: Annotated[int, typer.Option("--workers", "-s", min=1, help="How many workers.")] = 2
    minimum_workers: Annotated[
        int | None, typer.Option(min=1, help="So many workers will do; else the launch fails unless all are there.")
    ] = None
    instance_type: Annotated[
        str,
        typer.Option("--instance-type", "-t", envvar="NIGHTREEL_INSTANCE_TYPE", help="Type of the machines, Arm too."),
    ] = "m7i.large"
    fallback_type: Annotated[
        list[str] | None,
        typer.Option(help="Type to take when EC2 has none of the first; repeatable, tried in this order."),
    ] = None
    master_type: Annotated[str | None, typer.Option(help="Type of the master; else as the workers.")] = None
    spot: Annotated[bool, typer.Option("--spot", help="Workers on the spot market; the master never is.")] = False
    spot_or_on_demand: Annotated[
        bool, typer.Option("--spot-or-on-demand", help="Workers on the spot market, on demand where it has none.")
    ] = False
    ami: Annotated[
        str | None, typer.Option("--ami", "-a", envvar="NIGHTREEL_AMI", help="Image; else the current Amazon Linux.")
    ] = None
    subnet: Annotated[
        list[str] | None,
        typer.Option(help="Subnet; repeatable, tried in this order; else those of the default VPC."),
    ] = None
    operator_cidr: Annotated[
        str,
        typer.Option(
            envvar="NIGHTREEL_OPERATOR_CIDR",
            help="Where SSH may come from; auto: this machine's public address, or the VPC when it is in it.",
        ),
    ] = AUTO
    open_to_the_world: Annotated[
        bool, typer.Option("--open-to-the-world", help="Let SSH come from anywhere. You hardly want this.")
    ] = False
    private_ips: Annotated[bool, typer.Option("--private-ips", help="Reach the nodes by their private addresses.")] = (
        False
    )
    key_pair: Annotated[
        str | None, typer.Option("--key-pair", "-k", help="EC2 key pair that may log in besides the cluster's own key.")
    ] = None
    instance_profile: Annotated[
        str | None, typer.Option(help="IAM instance profile of the nodes: a name or an ARN.")
    ] = None
    volume_gb: Annotated[int, typer.Option(min=8, max=16384, help="Size of each node's disk in GB (EBS gp3).")] = 30
    tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Tag of your own on all that is made; repeatable.")
    ] = None
    user_data: Annotated[
        Path | None, typer.Option(help="Script or cloud-config of your own, run on every node besides ours.")
    ] = None
    hours: Hours = 4

    def spec(self, name: str, access: Access) -> ClusterSpec:
        """The cluster that is asked for. UsageError, naming both options, for what does not go together."""
        if access.identity_file and not self.key_pair:
            raise UsageError(
                "--identity-file needs --key-pair: the nodes admit the cluster's own key and that of the key pair, and "
                "no other"
            )
        if (self.minimum_workers or 0) > self.workers:
            raise UsageError(
                f"--minimum-workers {self.minimum_workers} and --workers {self.workers} do not go together: fewer will "
                "do, and not more"
            )
        with usage_checked():
            spec = ClusterSpec(
                name=name,
                workers=self.workers,
                expires_at=expiry(self.hours),
                minimum_workers=self.minimum_workers,
                instance_type=self.instance_type,
                fallback_types=tuple(self.fallback_type or ()),
                master_type=self.master_type,
                market=self._market(),
                ami=self.ami,
                subnets=tuple(self.subnet or ()),
                operator_cidr=self._operator_cidr(),
                allow_world=self.open_to_the_world,
                private_ips=self.private_ips,
                user=access.user,
                ssh_port=access.ssh_port,
                key_pair=self.key_pair,
                instance_profile=self.instance_profile,
                volume_gb=self.volume_gb,
                tags=pairs(self.tag, option="--tag"),
                user_data=_read(self.user_data) if self.user_data else "",
            )
            # Only for what it refuses: the launch renders it again, with the real keys.
            no_keys = KeyRing(bytes(32), spec.key_run)
            render(role="worker", keys=no_keys, expires_at=spec.expires_at, login=spec.user, extra=spec.user_data)
        return spec

    def _market(self) -> Choice:
        if self.spot and self.spot_or_on_demand:
            raise UsageError("--spot and --spot-or-on-demand do not go together: say whether on-demand will do")
        if self.spot:
            return "spot"
        return "spot-or-on-demand" if self.spot_or_on_demand else "on-demand"

    def located(self, spec: ClusterSpec, ec2: Any) -> ClusterSpec:
        """The cluster with SSH open to where this machine is, unless another place was named. Raises ClusterError."""
        if self.operator_cidr != AUTO or self.open_to_the_world or self.private_ips:
            return spec
        vpc = placement.vpc_of(ec2, spec)["CidrBlock"]
        return replace(spec, operator_cidr=firewall.operator_cidr(vpc))

    def _operator_cidr(self) -> str | None:
        if not self.open_to_the_world:
            return None if self.operator_cidr == AUTO else self.operator_cidr
        if self.operator_cidr not in (AUTO, WORLD):
            raise UsageError(
                f"--open-to-the-world and --operator-cidr {self.operator_cidr} do not go together: leave "
                "one of them out"
            )
        if self.private_ips:
            raise UsageError(
                "--open-to-the-world and --private-ips do not go together: the world reaches no private address"
            )
        return WORLD


def expiry(hours: float) -> datetime:
    """The moment so many hours from now, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--user-data {path} can not be read: {error}") from error


@option_group
class SparkOptions:
    """Which Spark the nodes should have, and where it comes from when their image lacks it."""

    remote_spark_home: Annotated[str, typer.Option(help="Where Spark lies on the nodes.")] = "~/spark"
    spark_version: Annotated[str, typer.Option(help="Version of Spark.")] = SPARK_VERSION
    spark_source: Annotated[
        str | None,
        typer.Option(help="Spark tarball for images without it: https, s3 or a file here; {v} means the version."),
    ] = None
    spark_sha512: Annotated[str | None, typer.Option(help="Checksum of the tarball.")] = None
    wheelhouse: Annotated[
        Path | None, typer.Option(help="Folder of wheels to install Spark and its Python from, for bare images.")
    ] = None

    def runtime(self) -> Runtime:
        """What the nodes should have. UsageError, naming the options, for what can not work."""
        if self.spark_sha512 and not self.spark_source:
            raise UsageError("--spark-sha512 needs --spark-source: there is nothing else to check")
        if self.wheelhouse and not any(self.wheelhouse.glob("*.whl")):
            raise UsageError(f"--wheelhouse {self.wheelhouse} holds no wheels: fill it with `make wheelhouse`")
        with usage_checked():
            return Runtime(
                spark_version=self.spark_version,
                spark_home=self.remote_spark_home.rstrip("/"),
                wheelhouse=self.wheelhouse,
                spark_source=self.spark_source,
                spark_sha512=self.spark_sha512,
            )
