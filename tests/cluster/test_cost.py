import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from nightreel.cluster import cost
from nightreel.cluster.cost import (
    KnownPrices,
    Prices,
    aws_prices,
    estimate,
    estimate_stopped,
    fixed_prices,
    metered,
    require_within,
)
from nightreel.cluster.ec2 import Node
from nightreel.cluster.errors import ClusterError, RefusedError
from nightreel.cluster.spec import ClusterSpec

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
PRICES = fixed_prices({"c7i.large": {"on-demand": 0.1, "spot": 0.04}, "m7i.large": 0.2})
DISK = 30 * cost.GP3_GB_MONTH / cost.HOURS_PER_MONTH


def spec(**changes: Any) -> ClusterSpec:
    settings = {"name": "films", "workers": 3, "expires_at": NOW + timedelta(hours=4), "instance_type": "c7i.large"}
    return ClusterSpec(**settings | changes)


def node(**changes: Any) -> Node:
    settings: dict[str, Any] = {
        "instance_id": "i-1", "role": "worker", "state": "running", "private_ip": "10.0.0.1", "public_ip": None,
        "instance_type": "c7i.large", "launched": NOW - timedelta(hours=2), "expires_at": "", "run": "films",
        "reach": "private",
    }  # fmt: skip
    return Node(**settings | changes)


def test_estimate_adds_machines_disks_and_addresses() -> None:
    found = estimate(spec(), PRICES, now=NOW)
    assert found.hourly == pytest.approx(4 * (0.1 + DISK + 0.005))
    assert found.worst_case == pytest.approx(4 * found.hourly)


def test_estimate_lists_what_it_adds() -> None:
    lines = estimate(spec(market="spot", master_type="m7i.large"), PRICES, now=NOW).lines
    assert [(line.what, line.count) for line in lines] == [
        ("master m7i.large on-demand", 1),
        ("workers c7i.large spot", 3),
        ("disks gp3 30 GB", 4),
        ("public IPv4 addresses", 4),
    ]


def test_estimate_of_a_private_cluster_has_no_public_addresses() -> None:
    lines = estimate(spec(private_ips=True), PRICES, now=NOW).lines
    assert not [line for line in lines if "public" in line.what]


def test_worst_case_takes_the_dearest_type_at_the_price_on_demand() -> None:
    found = estimate(spec(market="spot", fallback_types=("m7i.large",), private_ips=True), PRICES, now=NOW)
    assert found.hourly == pytest.approx(0.1 + 3 * 0.04 + 4 * DISK)
    assert found.worst_case == pytest.approx(4 * 4 * (0.2 + DISK))


def test_worst_case_of_an_expired_cluster_is_nothing() -> None:
    assert estimate(spec(), PRICES, now=NOW + timedelta(days=1)).worst_case == 0


def test_estimate_says_what_it_does_not_know() -> None:
    found = estimate(spec(fallback_types=("r7i.large",)), PRICES, now=NOW)
    assert (found.unknown, found.worst_case) == (("r7i.large on-demand",), None)


def test_cap_above_the_worst_case_is_kept() -> None:
    require_within(estimate(spec(), PRICES, now=NOW), 100.0)


def test_no_cap_admits_unknown_prices() -> None:
    require_within(estimate(spec(), fixed_prices({}), now=NOW), None)


def test_cap_below_the_worst_case_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"could cost \$1\.7\d in the 4\.0 h to its expiry, more than the cap"):
        require_within(estimate(spec(), PRICES, now=NOW), 1.5)


def test_cap_is_refused_where_the_price_is_not_known() -> None:
    with pytest.raises(RefusedError, match=r"price of c7i\.large on-demand is not known"):
        require_within(estimate(spec(), fixed_prices({}), now=NOW), 1000.0)


@pytest.mark.parametrize(
    "given",
    [
        {"c7i.large": -1},
        {"c7i.large": float("nan")},
        {"c7i.large": float("inf")},
        {"c7i.large": "dear"},
        {"c7i.large": {"reserved": 1}},
    ],
)
def test_fixed_prices_refuses(given: Any) -> None:
    with pytest.raises(ValueError, match=r"c7i\.large"):
        fixed_prices(given)


def test_a_stopped_cluster_costs_its_disks() -> None:
    running, stopped = estimate(spec(), PRICES, now=NOW), estimate_stopped(spec(), now=NOW)
    assert stopped.lines == tuple(line for line in running.lines if line.what.startswith("disks"))
    assert stopped.worst_case == pytest.approx(stopped.lines[0].hourly * running.hours)


def test_metered_counts_from_launch_to_now() -> None:
    found = metered([node()], PRICES, NOW)
    assert (found.lines[0].hours, found.total, found.lines[0].running) == (2.0, pytest.approx(0.2), True)


def test_metered_ends_with_the_instance() -> None:
    ended = node(state="terminated", ended=NOW - timedelta(hours=1), market="spot")
    assert metered([ended], PRICES, NOW).total == pytest.approx(0.04)


def test_metered_bills_a_minute_at_least() -> None:
    short = node(launched=NOW - timedelta(seconds=5))
    assert metered([short], PRICES, NOW).total == pytest.approx(0.1 / 60)


def test_metered_counts_disk_and_public_address() -> None:
    found = metered([node(public_ip="203.0.113.9")], PRICES, NOW, volume_gb=30)
    assert found.total == pytest.approx(2 * (0.1 + DISK + 0.005))


def test_metered_has_no_total_where_a_price_is_not_known() -> None:
    found = metered([node(), node(instance_type="r7i.large")], PRICES, NOW)
    assert (found.lines[0].cost, found.total) == (pytest.approx(0.2), None)


# ---- what AWS answers

PRODUCT = {  # shortened, as the Price List API documents it
    "product": {"productFamily": "Compute Instance", "sku": "ABC", "attributes": {"instanceType": "c7i.large"}},
    "terms": {
        "OnDemand": {
            "ABC.JRTCKXETXF": {
                "priceDimensions": {
                    "ABC.JRTCKXETXF.6YS6EN2CT7": {
                        "unit": "Hrs",
                        "description": "$0.08925 per On Demand Linux c7i.large Instance Hour",
                        "pricePerUnit": {"USD": "0.0892500000"},
                    }
                },
                "offerTermCode": "JRTCKXETXF",
            }
        },
        "Reserved": {},
    },
}
FREE = {"terms": {"OnDemand": {"X": {"priceDimensions": {"Y": {"unit": "Hrs", "pricePerUnit": {"USD": "0.0"}}}}}}}


class Session:
    """A boto3 session whose clients answer from a script."""

    def __init__(self) -> None:
        credentials = {"region_name": "eu-west-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
        self.clients: dict[str, Any] = {name: boto3.client(name, **credentials) for name in ("pricing", "ec2")}
        self.stubs = {name: Stubber(client) for name, client in self.clients.items()}
        for stub in self.stubs.values():
            stub.activate()

    def client(self, name: str, *, region_name: str) -> Any:
        return self.clients[name]


@pytest.fixture
def session() -> Session:
    return Session()


def test_aws_prices_reads_the_list_price_and_asks_once(session: Session) -> None:
    session.stubs["pricing"].add_response("get_products", {"PriceList": [json.dumps(FREE), json.dumps(PRODUCT)]})
    prices = aws_prices(session, "eu-west-1")  # type: ignore[arg-type]
    assert [prices.hourly("c7i.large", "on-demand") for _ in range(2)] == [0.08925, 0.08925]


def test_aws_prices_asks_for_the_region_and_plain_linux(session: Session) -> None:
    asked: dict[str, Any] = {}
    session.clients["pricing"].meta.events.register(
        "provide-client-params.pricing.GetProducts", lambda params, **_: asked.update(params)
    )
    session.stubs["pricing"].add_response("get_products", {"PriceList": []})
    assert aws_prices(session, "eu-west-1").hourly("c7i.large", "on-demand") is None  # type: ignore[arg-type]
    assert {entry["Field"]: entry["Value"] for entry in asked["Filters"]} == {
        "instanceType": "c7i.large",
        "regionCode": "eu-west-1",
        "operatingSystem": "Linux",
        "preInstalledSw": "NA",
        "tenancy": "Shared",
        "capacitystatus": "Used",
    }


def test_aws_prices_takes_the_dearest_zone_of_today_on_spot(session: Session) -> None:
    history = [
        {"AvailabilityZone": "a", "SpotPrice": "0.050", "Timestamp": NOW - timedelta(days=1)},
        {"AvailabilityZone": "a", "SpotPrice": "0.030", "Timestamp": NOW},
        {"AvailabilityZone": "b", "SpotPrice": "0.041", "Timestamp": NOW - timedelta(days=2)},
    ]
    session.stubs["ec2"].add_response("describe_spot_price_history", {"SpotPriceHistory": history})
    assert aws_prices(session, "eu-west-1").hourly("c7i.large", "spot") == 0.041  # type: ignore[arg-type]


def test_aws_prices_says_when_it_may_not_ask(session: Session) -> None:
    session.stubs["pricing"].add_client_error("get_products", "AccessDeniedException", "no pricing:GetProducts")
    with pytest.raises(ClusterError, match=r"could not look up the on-demand price of c7i\.large"):
        aws_prices(session, "eu-west-1").hourly("c7i.large", "on-demand")  # type: ignore[arg-type]


def test_a_given_price_goes_before_that_of_others() -> None:
    prices = KnownPrices(fixed_prices({"c7i.large": 0.5}), lambda: PRICES, remedy="")
    assert prices.hourly("c7i.large", "spot") == 0.5
    assert prices.hourly("m7i.large", "spot") == 0.2


def test_who_can_not_tell_one_price_is_not_asked_for_the_next(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []

    def refuse() -> Prices:
        asked.append("once")
        raise ClusterError("no permission")

    prices = KnownPrices(fixed_prices({"c7i.large": 0.5}), refuse, remedy="give them yourself")
    assert [prices.hourly(kind, "spot") for kind in ("m7i.large", "r7i.large", "c7i.large")] == [None, None, 0.5]
    assert asked == ["once"]
    assert "no permission): give them yourself" in caplog.text
