"""Prices, and what a cluster is going to cost."""

import logging
from typing import Annotated

import typer
from rich.table import Table

from nightreel.cli.access import Access
from nightreel.cli.options import option_group, pairs
from nightreel.cli.output import UsageError, aside, dollars, usage_checked
from nightreel.cluster import cost as costs
from nightreel.cluster.cost import Estimate, Prices
from nightreel.cluster.errors import ClusterError
from nightreel.cluster.spec import ClusterSpec, Market

log = logging.getLogger(__name__)


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
            return KnownPrices(costs.fixed_prices(self._given()), access)

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


class KnownPrices:
    """Prices that were given first, then AWS's; not knowing one is no failure, since a launch may do without."""

    def __init__(self, given: Prices, access: Access) -> None:
        self._given = given
        self._access = access
        self._aws: Prices | None = None
        self._silent = False

    def hourly(self, instance_type: str, market: Market) -> float | None:
        """USD per hour of one machine; None where nobody tells."""
        own = self._given.hourly(instance_type, market)
        if own is not None or self._silent:
            return own
        try:
            if self._aws is None:
                session = self._access.session()
                self._aws = costs.aws_prices(session, session.region_name)
            return self._aws.hourly(instance_type, market)
        except ClusterError as error:
            # One answer is enough: whoever can not be asked of one price can not be asked of the next.
            self._silent = True
            log.warning("AWS tells no prices (%s): give them with --price TYPE=USD", error)
            return None


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
