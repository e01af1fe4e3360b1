"""Renew, stop and start against the live sandbox."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nightreel.cluster import lifecycle, power, tags
from nightreel.cluster.ec2 import Node, find_nodes
from nightreel.cluster.errors import ClusterError, NoClusterError, RefusedError
from nightreel.cluster.inventory import find_holdings
from nightreel.cluster.ssh import Connect, Connection
from nightreel.cluster.user_data import CHECK_SECONDS, EXPIRY_FILE
from nightreel.sandbox.client import Sandbox
from nightreel.sandbox.faults import Fault

pytestmark = pytest.mark.sandbox


def moment(**ahead: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(**ahead)


def written(connect: Connect, node: Node) -> str:
    with connect(node) as connection:
        return connection.run(f"cat {EXPIRY_FILE} 2>/dev/null", check=False).output.strip()


def tagged(ec2: Any) -> dict[str, set[str]]:
    """The expiries in the tags, by kind of resource."""
    found: dict[str, set[str]] = {}
    for holding in find_holdings(ec2, "films"):
        found.setdefault(holding.kind, set()).add(holding.tags[tags.EXPIRES_AT])
    return found


def everywhere(expires_at: datetime) -> dict[str, set[str]]:
    kinds = ("instances", "volumes", "network_interfaces", "security_groups")
    return {kind: {tags.format_time(expires_at)} for kind in kinds}


def unreachable(_: Node) -> Connection:
    raise ClusterError("nobody gets through")


@pytest.mark.parametrize("ahead", [timedelta(hours=5), timedelta(minutes=30)], ids=["later", "earlier"])
def test_renew_reaches_every_node_and_every_tag(
    launch: Callable[..., Any], ec2: Any, connect: Connect, ahead: timedelta
) -> None:
    launch(workers=1)
    expires_at = moment() + ahead
    cluster = power.renew(ec2, "films", expires_at=expires_at, connect=connect)
    assert [written(connect, node) for node in cluster.nodes] == [str(int(expires_at.timestamp()))] * 2
    assert tagged(ec2) == everywhere(expires_at)


def test_a_renewal_that_reaches_no_node_leaves_the_switch_before_the_tag(
    launch: Callable[..., Any], ec2: Any, connect: Connect
) -> None:
    cluster = launch(workers=1)
    later, before = moment(hours=5), cluster.master.expires_at
    with pytest.raises(ClusterError, match="2 of 2 nodes of films could not be told"):
        power.renew(ec2, "films", expires_at=later, connect=unreachable)
    assert (tagged(ec2), written(connect, cluster.master)) == (everywhere(later), "")
    assert before < tags.format_time(later)


def test_a_shorter_life_that_reaches_no_node_is_not_in_the_tags(launch: Callable[..., Any], ec2: Any) -> None:
    cluster = launch(workers=1)
    with pytest.raises(ClusterError, match="could not be told"):
        power.renew(ec2, "films", expires_at=moment(minutes=10), connect=unreachable)
    assert tagged(ec2) == everywhere(tags.parse_time(cluster.master.expires_at))


def test_a_renewal_cut_off_at_the_tags_leaves_the_nodes_as_they_were(
    launch: Callable[..., Any], ec2: Any, connect: Connect, sandbox: Sandbox
) -> None:
    cluster = launch(workers=1)
    sandbox.inject(Fault(action="CreateTags", code="UnauthorizedOperation"))
    with pytest.raises(RefusedError):
        power.renew(ec2, "films", expires_at=moment(hours=5), connect=connect)
    assert written(connect, cluster.master) == ""


@pytest.mark.parametrize(
    ("ahead", "why"), [(timedelta(seconds=-1), "has passed"), (timedelta(days=9), "more than 8 days ahead")]
)
def test_an_expiry_that_no_node_would_take_is_refused(ec2: Any, ahead: timedelta, why: str) -> None:
    for verb, argument in ((power.renew, "expires_at"), (power.stop, "keep_until"), (power.start, "expires_at")):
        with pytest.raises(RefusedError, match=why):
            verb(ec2, "films", connect=unreachable, **{argument: moment() + ahead})


def test_a_cluster_that_is_not_there_is_said_to_be_missing(ec2: Any) -> None:
    for verb, argument in ((power.renew, "expires_at"), (power.stop, "keep_until"), (power.start, "expires_at")):
        with pytest.raises(NoClusterError):
            verb(ec2, "films", connect=unreachable, **{argument: moment(hours=1)})


def test_a_stopped_cluster_starts_again_with_its_new_expiry(
    launch: Callable[..., Any], ec2: Any, connect: Connect
) -> None:
    before = launch(workers=1)
    keep_until, expires_at = moment(hours=72), moment(hours=2)
    stopped = power.stop(ec2, "films", keep_until=keep_until, connect=connect)
    assert ({node.state for node in stopped}, tagged(ec2)) == ({"stopped"}, everywhere(keep_until))
    cluster = power.start(ec2, "films", expires_at=expires_at, connect=connect)
    assert [node.instance_id for node in cluster.nodes] == [node.instance_id for node in before.nodes]
    assert [written(connect, node) for node in cluster.nodes] == [str(int(expires_at.timestamp()))] * 2
    assert tagged(ec2) == everywhere(expires_at)


def test_stop_and_start_mend_a_cluster_of_which_half_is_stopped(
    launch: Callable[..., Any], ec2: Any, connect: Connect
) -> None:
    cluster = launch(workers=2)
    ec2.stop_instances(InstanceIds=[cluster.workers[0].instance_id])
    started = power.start(ec2, "films", expires_at=moment(hours=2), connect=connect)
    assert len(started.workers) == 2
    ec2.stop_instances(InstanceIds=[cluster.master.instance_id])
    for _ in range(2):  # twice, for it is safe to run again
        stopped = power.stop(ec2, "films", keep_until=moment(hours=72), connect=connect)
        assert [node.state for node in stopped] == ["stopped"] * 3


def test_a_node_that_can_not_be_reached_is_stopped_with_a_warning(
    launch: Callable[..., Any], ec2: Any, caplog: pytest.LogCaptureFixture
) -> None:
    launch(workers=1)
    with caplog.at_level(logging.WARNING):
        stopped = power.stop(ec2, "films", keep_until=moment(hours=72), connect=unreachable)
    assert [node.state for node in stopped] == ["stopped", "stopped"]
    assert caplog.text.count("could not be told that it is kept until") == 2


def test_a_stop_that_ec2_refuses_leaves_the_early_expiry_in_the_tags(
    launch: Callable[..., Any], ec2: Any, connect: Connect, sandbox: Sandbox
) -> None:
    cluster = launch(workers=1)
    sandbox.inject(Fault(action="StopInstances", code="UnauthorizedOperation"))
    with pytest.raises(RefusedError):
        power.stop(ec2, "films", keep_until=moment(hours=72), connect=connect)
    assert tagged(ec2) == everywhere(tags.parse_time(cluster.master.expires_at))


def test_spot_workers_can_not_be_stopped(launch: Callable[..., Any], ec2: Any, connect: Connect) -> None:
    cluster = launch(workers=1, market="spot")
    with pytest.raises(RefusedError, match=f"{cluster.workers[0].instance_id} are spot instances"):
        power.stop(ec2, "films", keep_until=moment(hours=72), connect=connect)
    assert {node.state for node in find_nodes(ec2, "films") if node.state != "terminated"} == {"running"}


@pytest.mark.parametrize("expiry", ["2026-01-01T00:00:00Z", "tomorrow"])
def test_an_expired_cluster_is_not_started(launch: Callable[..., Any], ec2: Any, connect: Connect, expiry: str) -> None:
    ids = [node.instance_id for node in launch(workers=1).nodes]
    power.stop(ec2, "films", keep_until=moment(hours=1), connect=connect)
    ec2.create_tags(Resources=ids, Tags=tags.as_list({tags.EXPIRES_AT: expiry}))
    with pytest.raises(RefusedError, match="expired at"):
        power.start(ec2, "films", expires_at=moment(hours=2), connect=connect)
    assert lifecycle.describe(ec2, "films")["state"] == "stopped"


# ---- The dead-man's switch, live. What ends here is ended by the nodes alone.


def await_end(ec2: Any, ids: set[str]) -> None:
    deadline = time.monotonic() + 90
    while {node.state for node in find_nodes(ec2, "films") if node.instance_id in ids} != {"terminated"}:
        assert time.monotonic() < deadline, "the nodes outlived their expiry"
        time.sleep(0.2)


def test_nodes_end_at_the_expiry_that_they_were_given_last(
    launch: Callable[..., Any], ec2: Any, connect: Connect
) -> None:
    nodes = launch(workers=1).nodes
    power.renew(ec2, "films", expires_at=moment(seconds=5), connect=connect)
    await_end(ec2, {node.instance_id for node in nodes})


def test_a_renewed_node_outlives_its_first_expiry(launch: Callable[..., Any], ec2: Any, connect: Connect) -> None:
    original = moment(seconds=40)
    launch(workers=1, expires_at=original)
    power.renew(ec2, "films", expires_at=moment(hours=1), connect=connect)
    while datetime.now(UTC) < original + timedelta(seconds=2 * CHECK_SECONDS):
        time.sleep(0.5)
    assert len(lifecycle.find(ec2, "films").nodes) == 2


def test_a_node_that_was_stopped_over_its_expiry_ends_when_it_is_started(
    launch: Callable[..., Any], ec2: Any, connect: Connect
) -> None:
    ids = {node.instance_id for node in launch(workers=1).nodes}
    keep_until = moment(seconds=15)
    power.stop(ec2, "films", keep_until=keep_until, connect=connect)
    while datetime.now(UTC) <= keep_until:
        time.sleep(0.2)
    ec2.start_instances(InstanceIds=sorted(ids))  # by hand: our own start refuses
    await_end(ec2, ids)
