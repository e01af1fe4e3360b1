from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nightreel.cluster.spec import ClusterSpec

TOMORROW = datetime.now(UTC) + timedelta(days=1)


def spec(**changes: Any) -> ClusterSpec:
    return ClusterSpec(**{"name": "films", "workers": 2, "expires_at": TOMORROW} | changes)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "-films"),
        ("name", "fi lms"),
        ("name", "x" * 64),
        ("workers", 0),
        ("workers", 201),
        ("minimum_workers", 0),
        ("minimum_workers", 3),
        ("expires_at", datetime(2026, 1, 1)),
        ("volume_gb", 7),
        ("operator_cidr", "0.0.0.0/0"),
        ("operator_cidr", "0.0.0.0/1"),
        ("operator_cidr", "10.0.0.0/7"),
        ("operator_cidr", "::/0"),
        ("operator_cidr", "nonsense"),
        ("operator_cidr", "2001:db8::/64"),
        ("instance_type", "large"),
        ("fallback_types", ("m7i.large", "large")),
        ("master_type", "large"),
        ("market", "reserved"),
        ("subnets", ("vpc-1",)),
        ("user", "no such user"),
        ("ssh_port", 0),
        ("tags", {"Name": "films"}),
        ("tags", {"nightreel:cluster": "other"}),
        ("tags", {"aws:team": "films"}),
        ("tags", {"": "films"}),
        ("tags", {"k" * 129: "films"}),
        ("tags", {"team": "v" * 257}),
        ("tags", {f"key{number}": "" for number in range(41)}),
    ],
)
def test_spec_refuses(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        spec(**{field: value})


def test_spec_requires_all_workers_by_default() -> None:
    assert spec(workers=5).required_workers == 5


def test_spec_accepts_fewer_workers_when_told() -> None:
    assert spec(workers=5, minimum_workers=3).required_workers == 3


def test_spec_knows_that_it_expired() -> None:
    assert spec(expires_at=datetime.now(UTC) - timedelta(seconds=1)).expired


def test_spec_refuses_private_addresses_for_a_public_operator_naming_both() -> None:
    with pytest.raises(ValueError, match=r"private_ips and operator_cidr 8\.8\.4\.4/32 do not go together"):
        spec(private_ips=True, operator_cidr="8.8.4.4/32")


def test_spec_admits_private_addresses_for_an_operator_inside() -> None:
    assert spec(private_ips=True, operator_cidr="10.0.0.0/8").reach == "private"


def test_spec_opens_to_the_world_when_told_so() -> None:
    assert spec(operator_cidr="0.0.0.0/0", allow_world=True).reach == "public"


@pytest.mark.parametrize(
    ("operator_cidr", "reach"), [(None, "private"), ("10.0.0.0/8", "private"), ("8.8.4.0/24", "public")]
)
def test_spec_reaches_by_public_addresses_from_a_public_network_alone(operator_cidr: str | None, reach: str) -> None:
    assert spec(operator_cidr=operator_cidr).reach == reach


def test_spec_tries_each_type_once() -> None:
    types = spec(instance_type="c7i.large", fallback_types=("m7i.large", "c7i.large", "m7i.large")).worker_types
    assert types == ("c7i.large", "m7i.large")


def test_spec_falls_back_for_a_master_of_its_own_type_too() -> None:
    chosen = spec(instance_type="c7i.large", master_type="r7i.large", fallback_types=("m7i.large",))
    assert chosen.master_types == ("r7i.large", "m7i.large")


@pytest.mark.parametrize(
    ("market", "tried"),
    [("on-demand", ("on-demand",)), ("spot", ("spot",)), ("spot-or-on-demand", ("spot", "on-demand"))],
)
def test_spec_tries_markets_in_order(market: Any, tried: tuple[str, ...]) -> None:
    assert spec(market=market).worker_markets == tried
