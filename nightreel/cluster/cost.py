"""What a cluster will cost, before it is launched, and what it has cost. All amounts are US dollars, without tax."""

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from nightreel.cluster.ec2 import Node, translated
from nightreel.cluster.errors import ClusterError, RefusedError
from nightreel.cluster.spec import ClusterSpec, Market

if TYPE_CHECKING:
    import boto3

log = logging.getLogger(__name__)

# https://aws.amazon.com/ebs/pricing/: gp3 storage in us-east-1, USD per GB and month, billed by the second; other
# regions ask up to twice as much.
GP3_GB_MONTH = 0.08
HOURS_PER_MONTH = 730
# https://aws.amazon.com/vpc/pricing/: a public IPv4 address, USD per hour, in every region.
PUBLIC_IPV4_HOUR = 0.005
# https://aws.amazon.com/ec2/pricing/: Linux is billed by the second, a minute at least.
MINIMUM_USE = timedelta(minutes=1)
# The Price List API has endpoints in few regions and answers for all of them from each.
_PRICING_REGION = "us-east-1"


class Prices(Protocol):
    """Where prices come from."""

    def hourly(self, instance_type: str, market: Market) -> float | None:
        """USD per hour of one machine; None where it is not known."""
        ...


@dataclass(frozen=True)
class _Function:
    """Prices that some function knows."""

    ask: Callable[[str, Market], float | None]

    def hourly(self, instance_type: str, market: Market) -> float | None:
        """USD per hour of one machine; None where it is not known."""
        return self.ask(instance_type, market)


def fixed_prices(mapping: Mapping[str, float | Mapping[Market, float]]) -> Prices:
    """Prices that the operator gives, USD per hour by instance type: one number, or one for each market.

    One number counts for spot as well, which never costs more. Raises ValueError for what is no price.
    """
    known: dict[tuple[str, str], float] = {}
    for instance_type, given in mapping.items():
        by_market = given if isinstance(given, Mapping) else {"on-demand": given, "spot": given}
        for market, price in by_market.items():
            if market not in ("on-demand", "spot"):
                raise ValueError(f"prices: {instance_type} has a price for {market!r}; supported: on-demand, spot")
            if isinstance(price, bool) or not isinstance(price, int | float) or not 0 <= price < math.inf:
                raise ValueError(f"prices: {price!r} is no price of {instance_type}: give US dollars per hour")
            known[instance_type, market] = float(price)
    return _Function(lambda instance_type, market: known.get((instance_type, market)))


def aws_prices(session: "boto3.Session", region: str) -> Prices:
    """AWS's own prices for Linux in this region: the list price on demand, and today's highest zone on spot.

    Every price is asked for once. `hourly` raises ClusterError or RefusedError when AWS can not be asked.
    """
    pricing = session.client("pricing", region_name=_PRICING_REGION)
    ec2 = session.client("ec2", region_name=region)

    @cache
    def ask(instance_type: str, market: Market) -> float | None:
        with translated(f"look up the {market} price of {instance_type}"):
            return _spot(ec2, instance_type) if market == "spot" else _on_demand(pricing, instance_type, region)

    return _Function(ask)


class KnownPrices:
    """Prices that were given first, then those that `others` gives; not knowing one is no failure.

    `others` is called when it is needed for the first time. Once it fails it is not asked again, and the log says
    `remedy`: whoever can not be asked of one price can not be asked of the next.
    """

    def __init__(self, given: Prices, others: Callable[[], Prices], *, remedy: str) -> None:
        self._given = given
        self._ask_for_others = others
        self._others: Prices | None = None
        self._remedy = remedy
        self._silent = False

    def hourly(self, instance_type: str, market: Market) -> float | None:
        """USD per hour of one machine; None where nobody tells."""
        own = self._given.hourly(instance_type, market)
        if own is not None or self._silent:
            return own
        try:
            self._others = self._others or self._ask_for_others()
            return self._others.hourly(instance_type, market)
        except ClusterError as error:
            self._silent = True
            log.warning("AWS tells no prices (%s): %s", error, self._remedy)
            return None


def _on_demand(pricing: Any, instance_type: str, region: str) -> float | None:
    wanted = {
        "instanceType": instance_type,
        "regionCode": region,
        "operatingSystem": "Linux",
        "preInstalledSw": "NA",
        "tenancy": "Shared",
        "capacitystatus": "Used",
    }
    filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in wanted.items()]
    pages = pricing.get_paginator("get_products").paginate(ServiceCode="AmazonEC2", Filters=filters)
    found = [price for page in pages for product in page["PriceList"] for price in _list_prices(json.loads(product))]
    return max(found, default=None)


def _list_prices(product: Any) -> Iterable[float]:
    """The hourly prices on demand of a product of the Price List API; one that costs nothing is a reservation's."""
    for offer in product["terms"].get("OnDemand", {}).values():
        for dimension in offer["priceDimensions"].values():
            price = float(dimension["pricePerUnit"].get("USD", 0))
            if dimension["unit"] == "Hrs" and price > 0:
                yield price


def _spot(ec2: Any, instance_type: str) -> float | None:
    """The dearest zone's price now: from this moment on, the history tells what counts at this moment."""
    pages = ec2.get_paginator("describe_spot_price_history").paginate(
        InstanceTypes=[instance_type], ProductDescriptions=["Linux/UNIX"], StartTime=datetime.now(UTC)
    )
    latest: dict[str, tuple[datetime, float]] = {}
    for page in pages:
        for entry in page["SpotPriceHistory"]:
            this = (entry["Timestamp"], float(entry["SpotPrice"]))
            latest[entry["AvailabilityZone"]] = max(latest.get(entry["AvailabilityZone"], this), this)
    return max((price for _, price in latest.values()), default=None)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of an estimate."""

    what: str
    count: int
    hourly: float | None
    """USD per hour of all of them together; None where the price is not known."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a cluster will cost."""

    lines: tuple[Line, ...]
    hourly: float | None
    """USD per hour of the machines as they are asked for first; None where a price is not known."""
    hours: float
    """From now to the cluster's expiry, when the machines power themselves off."""
    worst_case: float | None
    """USD until the expiry with all workers, each of the dearest type allowed, at the price on demand."""
    unknown: tuple[str, ...]
    """What the price is not known of."""


def estimate(spec: ClusterSpec, prices: Prices, *, now: datetime | None = None) -> Estimate:
    """What the cluster costs from `now` to its expiry; traffic and what the jobs do to S3 are not in it.

    The worst case takes spot machines at the price on demand, which is the most that EC2 asks for them.
    """
    nodes = spec.workers + 1
    lines = [
        _machines(f"master {spec.master_types[0]} on-demand", 1, prices.hourly(spec.master_types[0], "on-demand")),
        _machines(
            f"workers {spec.worker_types[0]} {spec.worker_markets[0]}",
            spec.workers,
            prices.hourly(spec.worker_types[0], spec.worker_markets[0]),
        ),
        _disks(spec),
    ]
    # Where nodes have public addresses is the subnet's affair: they are counted unless the cluster is private.
    if not spec.private_ips:
        lines.append(_machines("public IPv4 addresses", nodes, PUBLIC_IPV4_HOUR))
    hours = max(0.0, (spec.expires_at - (now or datetime.now(UTC))) / timedelta(hours=1))
    master, worker = (_dearest(types, prices) for types in (spec.master_types, spec.worker_types))
    worst = _sum([master, None if worker is None else worker * spec.workers, *(line.hourly for line in lines[2:])])
    return Estimate(
        lines=tuple(lines),
        hourly=_sum([line.hourly for line in lines]),
        hours=hours,
        worst_case=None if worst is None else worst * hours,
        unknown=_unknown(spec, prices),
    )


def estimate_stopped(spec: ClusterSpec, *, now: datetime | None = None) -> Estimate:
    """What the stopped cluster costs from `now` to its expiry, after which it may be reaped: its disks alone."""
    hours = max(0.0, (spec.expires_at - (now or datetime.now(UTC))) / timedelta(hours=1))
    disks = _disks(spec)
    worst = disks.hourly * hours if disks.hourly is not None else None
    return Estimate(lines=(disks,), hourly=disks.hourly, hours=hours, worst_case=worst, unknown=())


def _disks(spec: ClusterSpec) -> Line:
    return _machines(
        f"disks gp3 {spec.volume_gb} GB", spec.workers + 1, spec.volume_gb * GP3_GB_MONTH / HOURS_PER_MONTH
    )


def _machines(what: str, count: int, each: float | None) -> Line:
    return Line(what=what, count=count, hourly=None if each is None else each * count)


def _dearest(types: Iterable[str], prices: Prices) -> float | None:
    found = [prices.hourly(instance_type, "on-demand") for instance_type in types]
    return None if None in found else max(price for price in found if price is not None)


def _sum(amounts: Iterable[float | None]) -> float | None:
    total = 0.0
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def _unknown(spec: ClusterSpec, prices: Prices) -> tuple[str, ...]:
    types = dict.fromkeys((*spec.master_types, *spec.worker_types))
    asked: list[tuple[str, Market]] = [(instance_type, "on-demand") for instance_type in types]
    asked += [(spec.worker_types[0], market) for market in spec.worker_markets if market == "spot"]
    return tuple(f"{kind} {market}" for kind, market in asked if prices.hourly(kind, market) is None)


def require_within(estimate: Estimate, cap: float | None) -> None:
    """Nothing when the worst case is within `cap` USD or there is no cap; RefusedError otherwise.

    With a cap, a price that is not known is refused too: nobody could say that it holds.
    """
    if cap is None:
        return
    if estimate.worst_case is None:
        raise RefusedError(
            f"the cap of ${cap:.2f} can not be held: the price of {', '.join(estimate.unknown)} is not known; give it "
            "in the configuration's prices, or launch without a cap"
        )
    if not estimate.worst_case <= cap:
        raise RefusedError(
            f"the cluster could cost ${estimate.worst_case:.2f} in the {estimate.hours:.1f} h to its expiry, more than "
            f"the cap of ${cap:.2f}: ask for fewer or smaller machines or a shorter life, or raise the cap"
        )


@dataclass(frozen=True, kw_only=True)
class MeteredLine:
    """What one instance has used."""

    instance_id: str
    what: str
    hours: float
    cost: float | None
    running: bool
    """Whether it is still going on, or its end is not known and counted as now."""


@dataclass(frozen=True, kw_only=True)
class Metered:
    """What a cluster has cost."""

    lines: tuple[MeteredLine, ...]
    total: float | None
    """None where a price is not known."""


def metered(nodes: Iterable[Node], prices: Prices, now: datetime, *, volume_gb: float = 0.0) -> Metered:
    """What these instances have cost so far, each from its last start to its end, with a disk of `volume_gb` each.

    EC2 lists a terminated instance for about an hour, and tells the last start alone of one that was stopped. Spot
    machines are taken at today's price.
    """
    lines = tuple(_metered(node, prices, now, disk=volume_gb * GP3_GB_MONTH / HOURS_PER_MONTH) for node in nodes)
    return Metered(lines=lines, total=_sum([line.cost for line in lines]))


def _metered(node: Node, prices: Prices, now: datetime, *, disk: float) -> MeteredLine:
    end = node.ended if node.ended and node.state not in ("pending", "running") else None
    hours = max((end or now) - node.launched, MINIMUM_USE) / timedelta(hours=1)
    each = prices.hourly(node.instance_type, node.market)
    address = PUBLIC_IPV4_HOUR if node.public_ip else 0.0
    return MeteredLine(
        instance_id=node.instance_id,
        what=f"{node.role} {node.instance_type} {node.market}",
        hours=hours,
        cost=None if each is None else (each + disk + address) * hours,
        running=end is None,
    )
