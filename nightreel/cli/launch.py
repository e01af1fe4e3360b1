"""`nightreel launch`."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from nightreel.cli.access import Access
from nightreel.cli.machines import Machines, SparkOptions
from nightreel.cli.money import Cap, PriceOptions, show_estimate
from nightreel.cli.options import AsJson, Name, Yes
from nightreel.cli.output import UsageError, confirm, console, dollars, print_json, usage_checked
from nightreel.cluster import bootstrap, images, keys, lifecycle
from nightreel.cluster import cost as costs
from nightreel.cluster.bootstrap import PAYLOAD, Payload, Runtime
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.launch import cleaned_on_failure, launch_machines
from nightreel.cluster.lifecycle import Cluster, Preparation


def launch(
    name: Name,
    *,
    machines: Machines,
    spark: SparkOptions,
    prices: PriceOptions,
    cap: Cap,
    access: Access,
    ship: Annotated[
        list[Path] | None, typer.Option(help="File or folder to copy to every node's ~/nightreel/payload; repeatable.")
    ] = None,
    ship_to_master: Annotated[
        list[Path] | None, typer.Option(help="As --ship, to the master alone; repeatable.")
    ] = None,
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Launch a cluster and start Spark on it. Run again, it adopts what is there.

    When it fails or is interrupted, what it launched is removed again.
    """
    spec, runtime = machines.spec(name, access), spark.runtime()
    everywhere, on_master = _payload(ship, "--ship"), _payload(ship_to_master, "--ship-to-master")
    estimate = costs.estimate(spec, prices.prices(access))
    show_estimate(estimate, spec)
    costs.require_within(estimate, cap.cost_cap)
    session = access.session()
    ec2 = session.client("ec2")
    spec = machines.located(spec, ec2)
    worst = dollars(estimate.worst_case)
    confirm(f"Launch {spec.workers + 1} machines for at most {machines.hours:g} h (worst case: {worst})?", yes=yes)
    secret = keys.master_secret(os.environ)
    with usage_checked():
        ring = KeyRing(secret, spec.key_run)
    connect = access.connect(ring)
    with cleaned_on_failure(ec2, name):
        image = images.image_for(ec2, session.client("ssm"), spec)
        launch_machines(ec2, spec, image=image, keys=ring)
        preparation = Preparation(runtime=runtime, payload=everywhere, required_workers=spec.required_workers)
        cluster = lifecycle.bootstrap_spark(ec2, name, connect=connect, keys=ring, preparation=preparation)
        if on_master.files:
            with connect(cluster.master) as connection:
                bootstrap.ship(connection, on_master.files, folder=PAYLOAD)
    if as_json:
        print_json(lifecycle.describe(ec2, name, connect=connect) | {"estimate": asdict(estimate)})
        return
    _announce(cluster, runtime)


def _payload(paths: list[Path] | None, option: str) -> Payload:
    try:
        return Payload.of(*(paths or ()))
    except FileNotFoundError as error:
        raise UsageError(f"{option}: {error}") from error


def _announce(cluster: Cluster, runtime: Runtime) -> None:
    console.print(
        f"{cluster.name} is ready: master {cluster.master.address}, {len(cluster.workers)} worker(s), "
        f"Spark {runtime.spark_version}; it ends by itself at {cluster.master.expires_at}."
    )
