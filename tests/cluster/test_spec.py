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
        ("operator_cidr", "::/0"),
        ("operator_cidr", "nonsense"),
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
