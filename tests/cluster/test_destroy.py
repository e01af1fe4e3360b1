"""Destroy against the live sandbox: everything of ours goes, nothing of anybody else's."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from nightreel.cluster import tags
from nightreel.cluster.destroy import destroy_cluster, leftovers
from nightreel.cluster.ec2 import find_nodes
from nightreel.cluster.errors import ClusterError, LeakError
from nightreel.cluster.inventory import KINDS
from nightreel.sandbox.client import Sandbox
from nightreel.sandbox.faults import Fault

pytestmark = pytest.mark.sandbox
NOTHING = dict.fromkeys(KINDS, 0)


def tagged(kind: str, name: str = "films") -> list[Any]:
    return [{"ResourceType": kind, "Tags": tags.as_list({tags.CLUSTER: name})}]


def run_stranger(ec2: Any, sandbox: Sandbox, **options: Any) -> str:
    """An instance of somebody else's that looks like ours: by its name, and by tags that are like our tag."""
    likeness = {"Name": "films-master", "nightreel:cluster-2": "films", "Nightreel:Cluster": "films"}
    [instance] = ec2.run_instances(
        ImageId=sandbox.environment["NIGHTREEL_AMI"],
        InstanceType="t3.medium",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags.as_list(likeness)}],
        **options,
    )["Instances"]
    return str(instance["InstanceId"])


@pytest.fixture
def stranger(ec2: Any, sandbox: Sandbox) -> Iterator[str]:
    instance = run_stranger(ec2, sandbox)
    yield instance
    ec2.terminate_instances(InstanceIds=[instance])


def state_of(ec2: Any, instance: str) -> str:
    [reservation] = ec2.describe_instances(InstanceIds=[instance])["Reservations"]
    return str(reservation["Instances"][0]["State"]["Name"])


def test_destroy_says_what_it_removed_and_for_how_long_it_ran(launch: Callable[..., Any], ec2: Any) -> None:
    launch(workers=1)
    done = destroy_cluster(ec2, "films")
    assert (done.instances, done.removed["security_groups"], done.left) == (2, 1, NOTHING)
    assert {node.state for node in done.nodes} == {"terminated"}
    # EC2 tells whole seconds, and this cluster may have lived for less than one.
    lives = [node.ended - node.launched for node in done.nodes if node.ended]
    assert len(lives) == 2
    assert done.instance_hours == pytest.approx(sum(life.total_seconds() for life in lives) / 3600)


def test_destroy_again_ends_nothing_more(launch: Callable[..., Any], ec2: Any) -> None:
    launch(workers=1)
    destroy_cluster(ec2, "films")
    assert destroy_cluster(ec2, "films").instances == 0


def test_destroy_takes_stopped_instances_too(launch: Callable[..., Any], ec2: Any) -> None:
    ec2.stop_instances(InstanceIds=[node.instance_id for node in launch(workers=1).nodes])
    assert destroy_cluster(ec2, "films").instances == 2
    assert leftovers(ec2, "films") == NOTHING


def test_destroy_at_the_same_time_succeeds_for_all(launch: Callable[..., Any], ec2: Any) -> None:
    launch()
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: destroy_cluster(ec2, "films"), range(4)))
    assert [each.left for each in done] == [NOTHING] * 4


def test_a_volume_that_outlived_its_instance_is_deleted(ec2: Any) -> None:
    ec2.create_volume(AvailabilityZone="us-east-1a", Size=8, TagSpecifications=tagged("volume"))
    assert leftovers(ec2, "films")["volumes"] == 1
    assert destroy_cluster(ec2, "films").removed["volumes"] == 1
    assert leftovers(ec2, "films") == NOTHING


def test_an_interface_that_nothing_uses_is_deleted(ec2: Any) -> None:
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    ec2.create_network_interface(SubnetId=subnet, TagSpecifications=tagged("network-interface"))
    assert leftovers(ec2, "films")["network_interfaces"] == 1
    assert destroy_cluster(ec2, "films").removed["network_interfaces"] == 1
    assert leftovers(ec2, "films") == NOTHING


def test_spot_requests_end_with_their_instances(launch: Callable[..., Any], ec2: Any) -> None:
    launch(workers=2, market="spot")
    assert leftovers(ec2, "films")["spot_requests"] == 2
    assert destroy_cluster(ec2, "films").removed["spot_requests"] == 2
    assert leftovers(ec2, "films") == NOTHING


def test_an_instance_that_only_looks_like_ours_is_left_alone(
    launch: Callable[..., Any], ec2: Any, stranger: str
) -> None:
    launch(workers=1)
    destroy_cluster(ec2, "films")
    assert state_of(ec2, stranger) == "running"


def test_what_appears_while_a_cluster_is_destroyed_goes_too(
    launch: Callable[..., Any], ec2: Any, sandbox: Sandbox
) -> None:
    launch(workers=1)
    # The group is still there when the second launch has come through: it can not be overlooked.
    sandbox.inject(Fault(kind="delay", action="DeleteSecurityGroup", seconds=2))
    with ThreadPoolExecutor(1) as pool:
        destruction = pool.submit(destroy_cluster, ec2, "films")
        while any(node.state != "terminated" for node in find_nodes(ec2, "films")):
            pass
        group = ec2.describe_security_groups(Filters=tags.filters("films"))["SecurityGroups"][0]["GroupId"]
        ec2.run_instances(
            ImageId=sandbox.environment["NIGHTREEL_AMI"], InstanceType="c7i.large", MinCount=1, MaxCount=1,
            SecurityGroupIds=[group], TagSpecifications=tagged("instance"),
        )  # fmt: skip
        assert destruction.result(timeout=60).left == NOTHING
    assert {node.state for node in find_nodes(ec2, "films")} == {"terminated"}


def test_a_group_that_somebody_else_uses_is_named_with_its_user(
    launch: Callable[..., Any], ec2: Any, sandbox: Sandbox
) -> None:
    launch(workers=1)
    [group] = ec2.describe_security_groups(Filters=tags.filters("films"))["SecurityGroups"]
    squatter = run_stranger(ec2, sandbox, SecurityGroupIds=[group["GroupId"]])
    with pytest.raises(LeakError, match=f"used by {squatter}"):
        destroy_cluster(ec2, "films", timeout=3)
    assert state_of(ec2, squatter) == "running"
    ec2.terminate_instances(InstanceIds=[squatter])
    assert destroy_cluster(ec2, "films").left == NOTHING


def test_a_refusal_is_no_success(launch: Callable[..., Any], ec2: Any, sandbox: Sandbox) -> None:
    launch(workers=1)
    sandbox.inject(Fault(action="TerminateInstances", code="UnauthorizedOperation"))
    with pytest.raises(ClusterError, match="UnauthorizedOperation"):
        destroy_cluster(ec2, "films")
    assert leftovers(ec2, "films")["instances"] == 2
