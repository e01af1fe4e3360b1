"""More and fewer workers."""

from nightreel.cli.access import Access
from nightreel.cli.cost import check_cost
from nightreel.cli.machines import SparkOptions
from nightreel.cli.money import Cap, PriceOptions
from nightreel.cli.options import AsJson, Name, Total, Yes
from nightreel.cli.output import confirm, console, node_json, print_json
from nightreel.cli.power import prepare_spark, say
from nightreel.cluster import lifecycle, resize
from nightreel.cluster.launch import cleaned_on_failure


def add_workers(
    name: Name,
    to: Total,
    *,
    access: Access,
    spark_options: SparkOptions,
    prices: PriceOptions,
    cap: Cap,
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Add workers, as those that are there, until there are so many in all. Nothing happens when there are."""
    runtime = spark_options.runtime()
    ec2 = access.ec2()
    check_cost(ec2, name, access=access, prices=prices, cap=cap, workers=to)
    confirm(f"Add workers to {name}, up to {to} in all?", yes=yes)
    ring, connect = access.reach(ec2, name)
    with cleaned_on_failure(ec2, name):
        resize.grow(ec2, name, workers=to, keys=ring, ssh_port=access.ssh_port, user=access.user)
        cluster = prepare_spark(ec2, name, connect=connect, ring=ring, runtime=runtime)
    say(ec2, name, f"{name} has {len(cluster.workers)} worker(s).", as_json=as_json)


def remove_workers(name: Name, to: Total, *, access: Access, as_json: AsJson = False, yes: Yes = False) -> None:
    """Remove workers until there are so many in all. Nothing happens when there are no more than that."""
    confirm(f"Terminate workers of {name}, down to {to}?", yes=yes)
    ec2 = access.ec2()
    _, connect = access.reach(ec2, name)
    removed = resize.shrink(ec2, name, workers=to, connect=connect)
    if as_json:
        print_json(lifecycle.describe(ec2, name) | {"removed": [node_json(node) for node in removed]})
        return
    console.print(f"{name}: {len(removed)} worker(s) removed.")
