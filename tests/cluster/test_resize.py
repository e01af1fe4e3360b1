"""Growing and shrinking against the live sandbox."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nightreel.cluster import power, resize, spark
from nightreel.cluster.destroy import leftovers
from nightreel.cluster.ec2 import Node, find_nodes
from nightreel.cluster.errors import ClusterError, NoClusterError, RefusedError
from nightreel.cluster.inventory import find_holdings
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.spec import ClusterSpec
from nightreel.cluster.ssh import Connect, Connection
from nightreel.cluster.tags import format_time
from nightreel.sandbox.client import Sandbox
from nightreel.sandbox.faults import Fault
from tests.cluster.conftest import await_the_next_second

pytestmark = pytest.mark.sandbox


def unreachable(_: Node) -> Connection:
    raise ClusterError("nobody gets through")


@pytest.fixture
def grow(ec2: Any, sandbox: Sandbox, keys: KeyRing) -> Callable[..., Any]:
    return lambda workers: resize.grow(ec2, "films", workers=workers, keys=keys, ssh_port=sandbox.record.ssh_port)


def ids(nodes: Any) -> set[str]:
    return {node.instance_id for node in nodes}


def test_the_description_of_a_cluster_is_read_off_its_instances(
    launch: Callable[..., Any], ec2: Any, make_spec: Callable[..., ClusterSpec], sandbox: Sandbox
) -> None:
    asked: dict[str, Any] = {
        "master_type": "m7i.large",
        "volume_gb": 40,
        "operator_cidr": "127.9.0.0/16",
        "tags": {"team": "films", "cost-centre": "7"},
        "user_data": "#!/bin/sh\ntouch /für/mich\n",
        "user": "ec2-user",
    }
    cluster = launch(**asked)
    found = resize.spec_of(ec2, "films", ssh_port=sandbox.record.ssh_port)
    known = {"ami": cluster.master.image_id, "subnets": (cluster.master.subnet,), "run": "films"}
    assert found == replace(make_spec(**asked), **known, expires_at=found.expires_at)


def test_a_cluster_that_is_not_there_has_no_description(ec2: Any) -> None:
    with pytest.raises(NoClusterError):
        resize.spec_of(ec2, "films")


def test_a_cluster_grows_to_the_total_that_is_asked_for(launch: Callable[..., Any], grow: Callable[..., Any]) -> None:
    before = launch(workers=1)
    grown = [grow(3) for _ in range(2)]
    assert [len(cluster.workers) for cluster in grown] == [3, 3]
    assert ids(before.nodes) < ids(grown[0].nodes) == ids(grown[1].nodes)


def test_new_workers_are_like_those_that_are_there(
    launch: Callable[..., Any], grow: Callable[..., Any], ec2: Any
) -> None:
    launch(workers=1, tags={"team": "films"}, volume_gb=40, user_data="#!/bin/sh\n:\n")
    first, second = grow(2).workers
    told = [
        ec2.describe_instance_attribute(InstanceId=node.instance_id, Attribute="userData")["UserData"]["Value"]
        for node in (first, second)
    ]
    assert told[0] == told[1]
    likeness = {"instance_type", "image_id", "subnet", "expires_at", "run", "reach", "key_pair", "instance_profile"}
    assert [getattr(first, name) for name in sorted(likeness)] == [getattr(second, name) for name in sorted(likeness)]
    tags = [holding.tags for holding in find_holdings(ec2, "films") if holding.instance in ids((first, second))]
    assert all(tag["team"] == "films" for tag in tags)


def test_fewer_than_there_are_is_no_growth(launch: Callable[..., Any], grow: Callable[..., Any]) -> None:
    launch(workers=2)
    with pytest.raises(RefusedError, match="has 2 workers already"):
        grow(1)


def test_the_newest_workers_are_removed_with_all_that_hangs_on_them(
    launch: Callable[..., Any], grow: Callable[..., Any], ec2: Any, connect: Connect
) -> None:
    before = launch(workers=1)
    await_the_next_second(before)
    newest = ids(grow(2).nodes) - ids(before.nodes)
    removed = resize.shrink(ec2, "films", workers=1, connect=connect)
    assert (ids(removed), len(find_nodes(ec2, "films", states=["running"]))) == (newest, 2)
    assert not [holding for holding in find_holdings(ec2, "films") if holding.instance in newest]
    assert leftovers(ec2, "films")["volumes"] == 2
    assert resize.shrink(ec2, "films", workers=1, connect=connect) == []


def test_a_busy_worker_stays_before_an_idle_one(
    launch: Callable[..., Any], ec2: Any, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = launch(workers=3)
    newest = max(cluster.workers, key=lambda node: node.launched)
    state = {"workers": [{"host": node.private_ip, "coresused": int(node == newest)} for node in cluster.workers]}
    monkeypatch.setattr(spark, "read_state", lambda *_: state)
    assert newest not in resize.shrink(ec2, "films", workers=1, connect=connect)


def test_a_stopped_worker_goes_before_a_running_one(launch: Callable[..., Any], ec2: Any, connect: Connect) -> None:
    stopped = launch(workers=2).workers[0]
    ec2.stop_instances(InstanceIds=[stopped.instance_id])
    assert ids(resize.shrink(ec2, "films", workers=1, connect=connect)) == {stopped.instance_id}


def test_spark_is_told_before_its_machine_goes(
    launch: Callable[..., Any], ec2: Any, connect: Connect, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    launch(workers=2)
    told: list[str] = []
    monkeypatch.setattr(spark, "stop_worker", lambda connection: told.append(connection.host))
    sandbox.inject(Fault(action="TerminateInstances", code="UnauthorizedOperation"))
    with pytest.raises(RefusedError):
        resize.shrink(ec2, "films", workers=1, connect=connect)
    assert len(told) == 1


def test_workers_that_can_not_be_reached_are_removed_all_the_same(launch: Callable[..., Any], ec2: Any) -> None:
    launch(workers=2)
    assert len(resize.shrink(ec2, "films", workers=1, connect=unreachable)) == 1


def test_a_cluster_keeps_a_worker(ec2: Any) -> None:
    with pytest.raises(ValueError, match="keeps at least one worker"):
        resize.shrink(ec2, "films", workers=0, connect=unreachable)


def test_a_renewed_cluster_grows_with_its_new_expiry(
    launch: Callable[..., Any], grow: Callable[..., Any], ec2: Any, connect: Connect
) -> None:
    launch(workers=1)
    later = datetime.now(UTC) + timedelta(hours=7)
    power.renew(ec2, "films", expires_at=later, connect=connect)
    assert {node.expires_at for node in grow(2).nodes} == {format_time(later)}
