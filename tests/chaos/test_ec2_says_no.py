"""EC2 has no machines, refuses, is too busy, or breaks: the next choice is taken, or it is said and nothing is left."""

import pytest

from nightreel.cluster.destroy import destroy_cluster
from nightreel.cluster.errors import CapacityError, ClusterError, RefusedError
from nightreel.sandbox.faults import Fault
from tests.chaos.scene import NOTHING, Scene, going_wrong

pytestmark = [pytest.mark.chaos, pytest.mark.sandbox, pytest.mark.quick]
EVER = 1000


def test_capacity_missing_for_the_first_type(scene: Scene) -> None:
    none_left = Fault(kind="capacity", params={"InstanceType": "c7i.large"}, times=EVER)
    with going_wrong(scene.sandbox, none_left):
        cluster = scene.launch(fallback_types=("c6i.large",))
    assert {node.instance_type for node in cluster.nodes} == {"c6i.large"}
    assert len(scene.living()) == 2


def test_capacity_missing_for_all(scene: Scene) -> None:
    ec2 = scene.client(retries={"total_max_attempts": 1})
    with (
        going_wrong(scene.sandbox, Fault(kind="capacity", times=EVER)),
        pytest.raises(CapacityError, match="InsufficientInstanceCapacity") as caught,
    ):
        scene.launch(ec2=ec2, fallback_types=("c6i.large", "m7i.large"))
    for tried in ("c7i.large", "c6i.large", "m7i.large"):
        assert tried in str(caught.value)
    assert scene.living() == set()
    destroy_cluster(scene.ec2, scene.name)
    assert scene.left() == NOTHING


def test_capacity_missing_for_some_of_the_workers(scene: Scene) -> None:
    one = Fault(kind="capacity", tags={"nightreel:role": "worker"}, available=1)
    rest = Fault(kind="capacity", tags={"nightreel:role": "worker"}, times=EVER)
    with going_wrong(scene.sandbox, one, rest):
        cluster = scene.launch(workers=2, minimum_workers=1)
    assert len(cluster.workers) == 1
    assert len(scene.living()) == 2


def test_no_capacity_for_workers_and_the_command_leaves_no_master_behind(scene: Scene) -> None:
    with going_wrong(scene.sandbox, Fault(kind="capacity", after=1, times=EVER)):
        code, said = scene.finish(scene.launch_command(AWS_MAX_ATTEMPTS="1"))
    assert code == 1
    assert "InsufficientInstanceCapacity" in said
    assert scene.answered("RunInstances") == 1
    assert scene.left() == NOTHING


def test_quota_refused(scene: Scene) -> None:
    with going_wrong(scene.sandbox, Fault(code="VcpuLimitExceeded", times=EVER)):
        code, said = scene.finish(scene.launch_command(AWS_MAX_ATTEMPTS="1"))
    assert code == 1
    assert "VcpuLimitExceeded" in said
    assert "ask for a higher vCPU quota" in said
    assert scene.answered("RunInstances", status=400) == 1
    assert scene.left() == NOTHING


def test_quota_refused_for_the_workers(scene: Scene) -> None:
    refused = Fault(code="VcpuLimitExceeded", after=1, times=EVER)
    with going_wrong(scene.sandbox, refused), pytest.raises(RefusedError, match="ask for a higher vCPU quota"):
        scene.launch()
    assert len(scene.living()) == 1
    destroy_cluster(scene.ec2, scene.name)
    assert scene.left() == NOTHING


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "InternalError", "Unavailable"])
def test_api_throttled_or_broken_for_a_moment(scene: Scene, code: str) -> None:
    actions = ("CreateSecurityGroup", "RunInstances", "DescribeInstances", "TerminateInstances", "DeleteSecurityGroup")
    faults = [Fault(action=action, code=code, after=1 if action == "RunInstances" else 0) for action in actions]
    with going_wrong(scene.sandbox, *faults):
        scene.launch()
        assert len(scene.living()) == 2
        destroy_cluster(scene.ec2, scene.name)
        assert all(fault["met"] > fault["after"] for fault in scene.sandbox.faults())
    assert scene.left() == NOTHING


def test_api_broken_for_longer_and_the_retry_adopts(scene: Scene) -> None:
    ec2 = scene.client(retries={"total_max_attempts": 2})
    broken = Fault(action="RunInstances", code="InternalError", after=1, times=EVER)
    with going_wrong(scene.sandbox, broken), pytest.raises(ClusterError, match="InternalError"):
        scene.launch(ec2=ec2)
    [master] = scene.living()
    cluster = scene.launch()
    assert cluster.master.instance_id == master
    assert len(scene.living()) == 2


def test_answer_lost_and_the_call_repeated(scene: Scene) -> None:
    # EC2 does what it was asked, but its answer comes after the client has stopped to wait and asked again.
    impatient = scene.client(read_timeout=1, retries={"total_max_attempts": 5})
    with going_wrong(scene.sandbox, Fault(kind="delay", action="RunInstances", times=2, seconds=2)):
        cluster = scene.launch(ec2=impatient)
        assert scene.hits(kind="delay") == 2
    assert scene.living() == {node.instance_id for node in cluster.nodes}
    assert len(scene.living()) == 2


def test_terminate_refused_and_destroyed_again(scene: Scene) -> None:
    scene.launch()
    with going_wrong(scene.sandbox, Fault(action="TerminateInstances", code="UnauthorizedOperation", times=EVER)):
        destroy = scene.command("destroy", scene.name, "--yes")
        code, said = scene.finish(destroy)
    assert code == 1
    assert "UnauthorizedOperation" in said
    assert "give the launcher's role this permission" in said
    destroy_cluster(scene.ec2, scene.name)
    assert scene.left() == NOTHING


def test_security_group_in_use_for_a_while(scene: Scene) -> None:
    scene.launch()
    with going_wrong(scene.sandbox, Fault(action="DeleteSecurityGroup", code="DependencyViolation", times=3)):
        destroy_cluster(scene.ec2, scene.name)
        assert scene.hits(code="DependencyViolation") == 3
    assert scene.left() == NOTHING
