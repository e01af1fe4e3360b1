"""Survey and reap against the live sandbox."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nightreel.cluster import inventory, reap, tags
from nightreel.cluster.cost import fixed_prices
from nightreel.cluster.destroy import leftovers
from nightreel.cluster.inventory import KINDS
from nightreel.cluster.reap import Reaped, Remains
from nightreel.sandbox.client import Sandbox
from nightreel.sandbox.faults import Fault

pytestmark = pytest.mark.sandbox
NOTHING = dict.fromkeys(KINDS, 0)
HOUR = timedelta(hours=1)


@pytest.fixture
def now(ec2: Any) -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def group(ec2: Any) -> Iterator[Callable[[dict[str, str]], str]]:
    """Makes security groups with the given tags, which is the cheapest thing that a cluster can leave behind."""
    made: list[str] = []

    def make(own: dict[str, str]) -> str:
        answer = ec2.create_security_group(
            GroupName=f"left-behind-{len(made)}",
            Description="left behind",
            TagSpecifications=[{"ResourceType": "security-group", "Tags": tags.as_list(own)}],
        )
        made.append(answer["GroupId"])
        return made[-1]

    yield make
    for one in {entry["GroupId"] for entry in ec2.describe_security_groups()["SecurityGroups"]} & set(made):
        ec2.delete_security_group(GroupId=one)


def of_cluster(name: str, expires_at: datetime | str) -> dict[str, str]:
    text = expires_at if isinstance(expires_at, str) else tags.format_time(expires_at)
    return {tags.CLUSTER: name, tags.EXPIRES_AT: text}


def by_name(found: list[Any]) -> dict[str, Any]:
    return {one.name: one for one in found}


def surveyed(ec2: Any, now: datetime) -> dict[str, Remains]:
    return by_name(reap.survey(ec2, now))


def test_a_survey_shows_every_cluster_and_removes_nothing(
    launch: Callable[..., Any], group: Callable[..., str], ec2: Any, now: datetime
) -> None:
    nodes = launch(workers=1).nodes
    ec2.stop_instances(InstanceIds=[nodes[1].instance_id])
    group(of_cluster("films-2", now - HOUR))
    found = surveyed(ec2, now)
    assert {name: (one.state, one.expired) for name, one in found.items()} == {
        "films": ("mixed", False),
        "films-2": ("no instances", True),
    }
    assert found["films"].counts == leftovers(ec2, "films")
    left_since = found["films-2"].expired_for(now)
    assert left_since is not None
    assert HOUR <= left_since < HOUR + timedelta(seconds=2)


def test_a_survey_says_what_it_cost_where_prices_are_known(launch: Callable[..., Any], ec2: Any, now: datetime) -> None:
    launch(workers=1)
    [known] = reap.survey(ec2, now + HOUR, prices=fixed_prices({"c7i.large": 0.1}))
    [unknown] = reap.survey(ec2, now + HOUR)
    assert known.cost is not None
    assert known.cost > 0.19
    assert unknown.cost is None


def test_an_expired_cluster_is_reaped_and_another_is_not(
    launch: Callable[..., Any], group: Callable[..., str], ec2: Any, now: datetime
) -> None:
    nodes = launch(workers=1).nodes
    ec2.stop_instances(InstanceIds=[node.instance_id for node in nodes])
    group(of_cluster("films-2", now + 5 * HOUR))
    [done] = reap.reap(ec2, now=now + 2 * HOUR)
    assert done.name == "films"
    assert done.destruction is not None
    assert done.destruction.instances == 2
    assert leftovers(ec2, "films") == NOTHING
    assert leftovers(ec2, "films-2")["security_groups"] == 1
    assert reap.reap(ec2, now=now + 2 * HOUR) == []


def test_all_means_all(launch: Callable[..., Any], group: Callable[..., str], ec2: Any, now: datetime) -> None:
    launch(workers=1)
    group(of_cluster("films-2", now + 5 * HOUR))
    assert by_name(reap.reap(ec2, now=now, only_expired=False)).keys() == {"films", "films-2"}
    assert leftovers(ec2) == NOTHING


def test_what_is_left_without_an_instance_is_reaped(group: Callable[..., str], ec2: Any, now: datetime) -> None:
    own = of_cluster("films-2", now - HOUR)
    group(own)
    specification = [{"ResourceType": "volume", "Tags": tags.as_list(own)}]
    ec2.create_volume(AvailabilityZone="us-east-1a", Size=8, TagSpecifications=specification)
    [done] = reap.reap(ec2, now=now)
    assert done.destruction is not None
    assert done.destruction.removed == NOTHING | {"volumes": 1, "security_groups": 1}


@pytest.mark.parametrize("expiry", ["tomorrow", ""])
def test_an_expiry_that_can_not_be_read_is_reported_and_spared_until_it_is_old(
    launch: Callable[..., Any], ec2: Any, now: datetime, expiry: str
) -> None:
    everything = launch(workers=1)
    ids = [holding.id for holding in inventory.find_holdings(ec2, "films")]
    ec2.create_tags(Resources=ids, Tags=tags.as_list({tags.EXPIRES_AT: expiry}))
    found = surveyed(ec2, now)["films"]
    assert (found.expires_at, found.expired, len(found.nodes) >= len(everything.nodes)) == (None, False, True)
    assert reap.reap(ec2, now=now + timedelta(days=7)) == []
    [done] = reap.reap(ec2, now=now + timedelta(days=8, minutes=1))
    assert done.destruction is not None


def test_a_cluster_that_is_being_renewed_counts_by_its_latest_expiry(
    launch: Callable[..., Any], ec2: Any, now: datetime
) -> None:
    master = launch(workers=1).master
    later = tags.as_list({tags.EXPIRES_AT: tags.format_time(now + 5 * HOUR)})
    ec2.create_tags(Resources=[master.instance_id], Tags=later)
    assert not surveyed(ec2, now + 2 * HOUR)["films"].expired


def test_a_cluster_renewed_after_the_survey_is_spared(
    group: Callable[..., str], ec2: Any, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = group(of_cluster("films-2", now - HOUR))
    look = inventory.find_holdings

    def look_and_renew(client: Any, name: str | None) -> Any:
        found = look(client, name)
        if name is None:
            later = tags.format_time(now + HOUR)
            client.create_tags(Resources=[made], Tags=tags.as_list({tags.EXPIRES_AT: later}))
        return found

    monkeypatch.setattr(reap, "find_holdings", look_and_renew)
    assert reap.reap(ec2, now=now) == [Reaped(name="films-2", spared="it was renewed meanwhile")]
    assert leftovers(ec2, "films-2")["security_groups"] == 1


def test_one_that_can_not_be_removed_does_not_keep_the_others(
    group: Callable[..., str], ec2: Any, now: datetime, sandbox: Sandbox
) -> None:
    guarded = group(of_cluster("films", now - HOUR))
    group(of_cluster("films-2", now - HOUR))
    refusal = Fault(action="DeleteSecurityGroup", code="UnauthorizedOperation", params={"GroupId": guarded})
    sandbox.inject(refusal)
    done = by_name(reap.reap(ec2, now=now))
    assert "UnauthorizedOperation" in str(done["films"].error)
    assert done["films-2"].destruction is not None
    sandbox.clear_faults()
    [again] = reap.reap(ec2, now=now)
    assert again.error is None


def test_a_tag_that_could_mean_other_clusters_reaps_none_of_them(
    launch: Callable[..., Any], group: Callable[..., str], ec2: Any, now: datetime
) -> None:
    launch(workers=1)
    group(of_cluster("*", now - HOUR))
    [done] = reap.reap(ec2, now=now)
    assert "can not be used" in str(done.error)
    assert leftovers(ec2, "films")["instances"] == 2


def test_what_is_not_begun_in_time_is_said(group: Callable[..., str], ec2: Any, now: datetime) -> None:
    group(of_cluster("films-2", now - HOUR))
    [done] = reap.reap(ec2, now=now, timeout=0)
    assert "not begun" in str(done.error)
    assert leftovers(ec2, "films-2")["security_groups"] == 1


def test_what_does_not_carry_our_tag_is_not_even_seen(group: Callable[..., str], ec2: Any, now: datetime) -> None:
    group({"Name": "films-2", "nightreel:expires-at": "2020-01-01T00:00:00Z", "nightreel:clusters": "films"})
    assert reap.survey(ec2, now) == []
