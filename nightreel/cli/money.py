"""Prices, and what a cluster is going to cost."""

from functools import partial
from typing import Annotated

import typer
from rich.table import Table

from nightreel.cli.access import Access
from nightreel.cli.options import option_group, pairs
from nightreel.cli.output import UsageError, aside, dollars, usage_checked
from nightreel.cluster import cost as costs
from nightreel.cluster.cost import Estimate, Prices
from nightreel.cluster.spec import ClusterSpec


@option_group
class PriceOptions:
    """What machines cost."""

    price: Annotated[
        list[str] | None,
        typer.Option(metavar="TYPE=USD", help="Price of a type per hour, instead of AWS's; repeatable."),
    ] = None

    def prices(self, access: Access) -> Prices:
        """The prices given, and AWS's for everything else."""
        with usage_checked():
            given = costs.fixed_prices(self._given())
        return costs.KnownPrices(given, partial(_aws_prices, access), remedy="give them with --price TYPE=USD")

    def _given(self) -> dict[str, float]:
        found = {}
        for instance_type, price in pairs(self.price, option="--price").items():
            try:
                found[instance_type] = float(price)
            except ValueError as error:
                raise UsageError(f"--price {instance_type}={price}: {price!r} is no number of US dollars") from error
        return found


@option_group
class Cap:
    """What the cluster may cost."""

    cost_cap: Annotated[
        float | None,
        typer.Option(min=0, metavar="USD", help="Refuse when the worst case until the expiry is more than this."),
    ] = None


def _aws_prices(access: Access) -> Prices:
    session = access.session()
    return costs.aws_prices(session, session.region_name)


def show_estimate(estimate: Estimate, spec: ClusterSpec) -> None:
    """Say, aside from the results, what the cluster will cost."""
    table = Table("", "how many", "USD per hour", box=None)
    for line in estimate.lines:
        table.add_row(line.what, str(line.count), "unknown" if line.hourly is None else f"{line.hourly:.4f}")
    aside.print(table)
    hourly = "unknown" if estimate.hourly is None else f"${estimate.hourly:.4f}"
    aside.print(
        f"{spec.name}: {hourly} per hour; worst case until its expiry at {spec.expires_at:%Y-%m-%d %H:%M} UTC: "
        f"{dollars(estimate.worst_case)}.",
        markup=False,
    )
    if estimate.unknown:
        aside.print(f"The price of {', '.join(estimate.unknown)} is not known.", markup=False)
