"""Commands for the cluster by hand: launch, describe, destroy."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import boto3
import typer
from rich.console import Console
from rich.table import Table

from nightreel.cluster import ec2, keys, lifecycle, ssh
from nightreel.cluster.bootstrap import Payload, Runtime
from nightreel.cluster.destroy import destroy_cluster
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.launch import launch_machines
from nightreel.cluster.lifecycle import Preparation
from nightreel.cluster.spec import ClusterSpec

console = Console(soft_wrap=True)


Name = Annotated[str, typer.Argument(help="The cluster's name, which its instances carry in a tag.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Region = Annotated[str | None, typer.Option("--region", "-r", envvar="AWS_DEFAULT_REGION", help="AWS region.")]
User = Annotated[str, typer.Option("--user", "-u", envvar="NIGHTREEL_SSH_USER", help="Login user of the image.")]
SSHPort = Annotated[int, typer.Option(envvar="NIGHTREEL_SSH_PORT", help="Port of SSH on the nodes.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (launch, describe, destroy):
        app.command()(command)


def launch(
    name: Name,
    *,
    workers: Annotated[int, typer.Option("--workers", "-s", min=1, help="How many workers.")] = 2,
    instance_type: Annotated[
        str, typer.Option("--instance-type", "-t", envvar="NIGHTREEL_INSTANCE_TYPE", help="Type of every machine.")
    ] = "m7i.large",
    ami: Annotated[
        str | None, typer.Option("--ami", "-a", envvar="NIGHTREEL_AMI", help="Image; else the current Amazon Linux.")
    ] = None,
    subnet: Annotated[str | None, typer.Option(help="Subnet; else one of the default VPC.")] = None,
    operator_cidr: Annotated[
        str | None, typer.Option(envvar="NIGHTREEL_OPERATOR_CIDR", help="Where SSH may come from; else the VPC.")
    ] = None,
    hours: Annotated[
        float, typer.Option(min=0.05, max=24 * 7, help="After so many hours the nodes power themselves off.")
    ] = 4,
    remote_spark_home: Annotated[str, typer.Option(help="Where Spark lies on the nodes.")] = "~/spark",
    wheelhouse: Annotated[
        Path | None, typer.Option(help="Folder of wheels to install Spark from, for images that lack it.")
    ] = None,
    ship: Annotated[list[Path] | None, typer.Option(help="File or folder to copy to every node; repeatable.")] = None,
    region: Region = None,
    user: User = "ec2-user",
    ssh_port: SSHPort = 22,
    yes: Yes = False,
) -> None:
    """Launch a cluster and start Spark on it. Run again, it adopts what is there."""
    spec = ClusterSpec(
        name=name,
        workers=workers,
        expires_at=datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours),
        instance_type=instance_type,
        ami=ami,
        subnets=(subnet,) if subnet else (),
        operator_cidr=operator_cidr,
        ssh_port=ssh_port,
    )
    if not yes:
        typer.confirm(f"Launch {workers + 1} × {instance_type} for at most {hours:g} h?", abort=True)
    client = boto3.client("ec2", region_name=region)
    ring = KeyRing(keys.master_secret(os.environ), spec.key_run)
    preparation = Preparation(
        runtime=Runtime(spark_home=remote_spark_home, wheelhouse=wheelhouse),
        payload=Payload.of(*(ship or ())),
        required_workers=spec.required_workers,
    )
    adopted = any(node.state not in ec2.GONE for node in ec2.find_nodes(client, name))
    try:
        image = spec.ami or ec2.latest_image(boto3.client("ssm", region_name=region))
        launch_machines(client, spec, image=image, keys=ring)
        connect = ssh.pinned_connector(ring, user=user, port=ssh_port)
        cluster = lifecycle.bootstrap_spark(client, name, connect=connect, keys=ring, preparation=preparation)
    except BaseException:
        if adopted:
            console.print(f"[yellow]The launch failed; {name} was there before and is left: see `describe`.[/]")
        else:
            console.print(f"[yellow]The launch failed: removing what there is of {name}.[/]")
            destroy_cluster(client, name)
        raise
    console.print(f"{name} is ready: master {cluster.master.address}, {len(cluster.workers)} worker(s).")


def describe(
    name: Name, *, as_json: AsJson = False, region: Region = None, user: User = "ec2-user", ssh_port: SSHPort = 22
) -> None:
    """Show what is there of a cluster."""
    ring = KeyRing(keys.master_secret(os.environ), name)
    connect = ssh.pinned_connector(ring, user=user, port=ssh_port)
    found = lifecycle.describe(boto3.client("ec2", region_name=region), name, connect=connect)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    alive = "unknown" if found["workers_alive"] is None else found["workers_alive"]
    console.print(f"{name}: {found['state']}, workers alive: {alive}, expires at {found['expires_at']}")
    table = Table("role", "state", "address", "type", "instance", "launched")
    for node in found["nodes"]:
        address = node["public_ip"] or node["private_ip"]
        table.add_row(
            node["role"], node["state"], address, node["instance_type"], node["instance_id"], node["launched"]
        )
    console.print(table)


def destroy(name: Name, *, as_json: AsJson = False, region: Region = None, yes: Yes = False) -> None:
    """Remove everything of a cluster and prove that nothing is left. Nothing there is success."""
    if not yes:
        typer.confirm(f"Terminate every instance of {name}?", abort=True)
    client = boto3.client("ec2", region_name=region)
    done = destroy_cluster(client, name)
    if as_json:
        typer.echo(json.dumps({"name": name, "instances": done.instances, "left": done.left}))
        return
    console.print(f"{name}: {done.instances} instance(s) terminated; left: {sum(done.left.values())}.")
