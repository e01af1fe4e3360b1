"""Machines and Spark on and off, more and fewer workers."""

from typing import Annotated, Any

import typer

from nightreel.cli.access import Access
from nightreel.cli.cost import check_cost
from nightreel.cli.machines import SparkOptions, expiry
from nightreel.cli.money import Cap, PriceOptions
from nightreel.cli.options import AsJson, Hours, Name, Yes
from nightreel.cli.output import confirm, console, print_json
from nightreel.cluster import lifecycle, power, spark
from nightreel.cluster.bootstrap import Payload
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.lifecycle import Cluster, Preparation
from nightreel.cluster.runtime import Runtime
from nightreel.cluster.ssh import Connect


def stop(
    name: Name,
    *,
    access: Access,
    keep: Annotated[
        float,
        typer.Option(min=1, max=24 * 7, metavar="HOURS", help="After so many hours from now `reap` may remove it."),
    ] = 72,
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Stop a cluster's machines; only their disks cost from then on. What runs on them ends."""
    confirm(f"Stop every machine of {name}, with what runs on it?", yes=yes)
    ec2 = access.ec2()
    keep_until = expiry(keep)
    _, connect = access.reach(ec2, name)
    power.stop(ec2, name, keep_until=keep_until, connect=connect)
    say(ec2, name, f"{name} is stopped; its disks are kept until {keep_until:%Y-%m-%d %H:%M} UTC.", as_json=as_json)


def start(
    name: Name,
    *,
    access: Access,
    spark_options: SparkOptions,
    prices: PriceOptions,
    cap: Cap,
    hours: Hours = 4,
    start_spark: Annotated[bool, typer.Option("--spark/--no-spark", help="Start Spark on them too.")] = True,
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Start a stopped cluster's machines again, with a new expiry, and Spark on them."""
    runtime = spark_options.runtime()
    ec2 = access.ec2()
    check_cost(ec2, name, access=access, prices=prices, cap=cap, hours=hours)
    confirm(f"Start the machines of {name} for at most {hours:g} h?", yes=yes)
    ring, connect = access.reach(ec2, name)
    cluster = power.start(ec2, name, expires_at=expiry(hours), connect=connect)
    if start_spark:
        cluster = prepare_spark(ec2, name, connect=connect, ring=ring, runtime=runtime)
    say(ec2, name, f"{name} runs: master {cluster.master.address}, {len(cluster.workers)} worker(s).", as_json=as_json)


def renew(
    name: Name,
    *,
    access: Access,
    prices: PriceOptions,
    cap: Cap,
    hours: Hours = 4,
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Give a running cluster a new expiry, later or earlier."""
    ec2 = access.ec2()
    check_cost(ec2, name, access=access, prices=prices, cap=cap, hours=hours)
    confirm(f"Let {name} run for another {hours:g} h?", yes=yes)
    _, connect = access.reach(ec2, name)
    expires_at = expiry(hours)
    power.renew(ec2, name, expires_at=expires_at, connect=connect)
    say(ec2, name, f"{name} ends by itself at {expires_at:%Y-%m-%d %H:%M} UTC.", as_json=as_json)


def start_spark(name: Name, *, access: Access, spark_options: SparkOptions, as_json: AsJson = False) -> None:
    """Start Spark on the running machines of a cluster. Where it runs already it is left alone."""
    runtime = spark_options.runtime()
    ec2 = access.ec2()
    lifecycle.find(ec2, name)
    ring, connect = access.reach(ec2, name)
    cluster = prepare_spark(ec2, name, connect=connect, ring=ring, runtime=runtime)
    say(ec2, name, f"Spark runs on {name}: {len(cluster.workers)} worker(s).", as_json=as_json)


def stop_spark(name: Name, *, access: Access, as_json: AsJson = False, yes: Yes = False) -> None:
    """End Spark on all nodes, with the jobs that use it. The machines go on."""
    confirm(f"End Spark on {name}, with the jobs that use it?", yes=yes)
    ec2 = access.ec2()
    cluster = lifecycle.find(ec2, name)
    _, connect = access.reach(ec2, name)
    spark.stop_all(cluster.nodes, connect)
    say(ec2, name, f"Spark is ended on {name}; its machines go on.", as_json=as_json)


def prepare_spark(ec2: Any, name: str, *, connect: Connect, ring: KeyRing, runtime: Runtime) -> Cluster:
    """Start Spark on all machines that run, and wait for its workers. Raises the cluster's errors."""
    preparation = Preparation(
        runtime=runtime, payload=Payload({}), required_workers=len(lifecycle.find(ec2, name).workers)
    )
    return lifecycle.bootstrap_spark(ec2, name, connect=connect, keys=ring, preparation=preparation)


def say(ec2: Any, name: str, sentence: str, *, as_json: bool) -> None:
    """Say what was done, or for JSON what is there now."""
    if as_json:
        print_json(lifecycle.describe(ec2, name))
    else:
        console.print(sentence, markup=False)
