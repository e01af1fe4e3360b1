"""The end comes as it should: at the expiry with everybody dead, twice at once, half-way, and never to a stranger."""

import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nightreel.cluster import power
from nightreel.cluster.destroy import destroy_cluster
from nightreel.cluster.ec2 import LIVE, find_nodes
from nightreel.cluster.errors import RefusedError
from nightreel.cluster.reap import Reaped, reap
from nightreel.sandbox.faults import Fault
from tests.chaos.scene import NOTHING, Scene, going_wrong, until

pytestmark = [pytest.mark.chaos, pytest.mark.sandbox]
MACHINES = 2


def soon(seconds: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)


def test_expiry_reached_with_the_launcher_dead(scene: Scene) -> None:
    scene.expires_at = soon(30)
    launcher = scene.launcher()
    launcher.await_step("launched")
    launcher.kill()
    assert len(scene.living()) == MACHINES
    until(lambda: not scene.living(), within=90, what="the nodes to power themselves off")
    # What costs money is gone without anybody's doing; the reaper takes the rest.
    until(lambda: scene.left() == {**NOTHING, "security_groups": 1}, within=30, what="their end")
    [reaped] = reaped_now(scene)
    assert reaped.error is None
    assert scene.left() == NOTHING


def test_stopped_cluster_outlives_its_expiry_and_is_reaped(scene: Scene) -> None:
    stop_over_the_expiry(scene)
    assert {node.state for node in find_nodes(scene.ec2, scene.name)} == {"stopped"}
    [reaped] = reaped_now(scene)
    assert reaped.error is None
    assert scene.left() == NOTHING


def test_stopped_cluster_started_by_hand_after_its_expiry(scene: Scene) -> None:
    ids = stop_over_the_expiry(scene)
    with pytest.raises(RefusedError, match="expired at"):
        power.start(scene.ec2, scene.name, expires_at=soon(3600), connect=scene.connect)
    scene.ec2.start_instances(InstanceIds=ids)
    until(lambda: states(scene, ids) == {"terminated"}, within=90, what="the nodes to power themselves off")
    destroy_cluster(scene.ec2, scene.name)
    assert scene.left() == NOTHING


@pytest.mark.quick
def test_cluster_renewed_while_the_reaper_comes(scene: Scene) -> None:
    """The reaper's clock is an hour ahead of the cluster's old expiry, and half an hour behind its new one."""
    cluster = scene.launch()
    power.renew(scene.ec2, scene.name, expires_at=soon(2 * 3600), connect=scene.connect)
    assert reaped_now(scene, ahead=timedelta(minutes=90)) == []
    assert scene.living() == {node.instance_id for node in cluster.nodes}
    [reaped] = reaped_now(scene, ahead=timedelta(minutes=150))
    assert reaped.error is None
    assert scene.left() == NOTHING


def stop_over_the_expiry(scene: Scene) -> list[str]:
    """Stop the cluster and wait until it is no longer kept; the ids of its instances."""
    scene.launch()
    until_then = soon(20)
    nodes = power.stop(scene.ec2, scene.name, keep_until=until_then, connect=scene.connect)
    until(lambda: datetime.now(UTC) > until_then, within=30, what="the expiry")
    return [node.instance_id for node in nodes]


def reaped_now(scene: Scene, *, ahead: timedelta = timedelta()) -> list[Reaped]:
    """Let the reaper come, and see what it did to our cluster."""
    found = reap(scene.ec2, now=datetime.now(UTC) + ahead)
    return [reaped for reaped in found if reaped.name == scene.name]


@pytest.mark.quick
def test_destroy_twice_at_once(scene: Scene) -> None:
    scene.launch()
    destroyers = [scene.command("destroy", scene.name, "--yes") for _ in range(2)]
    for destroyer in destroyers:
        code, said = scene.finish(destroyer)
        assert code == 0, said
    assert scene.left() == NOTHING


@pytest.mark.quick
def test_destroy_killed_and_run_again(scene: Scene) -> None:
    scene.launch()
    with going_wrong(scene.sandbox, Fault(kind="delay", action="DeleteSecurityGroup", seconds=3)):
        destroyer = scene.command("destroy", scene.name, "--yes")
        until(lambda: scene.hits(kind="delay"), within=60, what="the destroyer to have ended the instances")
        destroyer.kill()
        destroyer.wait()
    destroy_cluster(scene.ec2, scene.name)
    assert scene.left() == NOTHING


@pytest.mark.quick
def test_launch_interrupted_by_the_operator_cleans_up(scene: Scene) -> None:
    with going_wrong(scene.sandbox, Fault(kind="delay", action="RunInstances", after=1, seconds=2)):
        launch = scene.launch_command()
        until(lambda: scene.hits(kind="delay") == 2, within=60, what="the call for the workers")
        launch.send_signal(signal.SIGTERM)
        code, said = scene.finish(launch)
    assert code == 128 + signal.SIGTERM, said
    assert scene.answered("RunInstances") == MACHINES
    assert scene.left() == NOTHING


def test_one_of_two_launches_interrupted_and_the_other_goes_on(scene: Scene) -> None:
    first, second = scene.launch_command(), scene.launch_command()
    until(lambda: both_work_with(scene), within=120, what="both launches to work with the same machines")
    first.send_signal(signal.SIGTERM)
    code, said = scene.finish(first, within=120)
    assert code == 128 + signal.SIGTERM, said
    code, said = scene.finish(second, within=240)
    assert code == 0, said
    assert len(scene.workers_alive(scene.cluster())) == MACHINES - 1


def both_work_with(scene: Scene) -> bool:
    """Whether all machines of the cluster are there and two launchers claim each."""
    nodes = find_nodes(scene.ec2, scene.name, states=LIVE)
    return len(nodes) == MACHINES and all(len(node.launchers) == 2 for node in nodes)


@pytest.mark.quick
def test_foreign_instances_with_a_similar_name_are_left_untouched(scene: Scene) -> None:
    mine = scene.launch()
    foreign = [
        run_foreign(scene, {"Name": f"{scene.name}-master"}),
        run_foreign(scene, {"Name": scene.name, "nightreel:cluster": f"{scene.name}-2"}),
        run_foreign(scene, {"nightreel:cluster": scene.name[:-1], "nightreel:role": "master"}),
        run_foreign(scene, {"Nightreel:Cluster": scene.name}),
    ]
    try:
        destroy_cluster(scene.ec2, scene.name)
        assert states(scene, [node.instance_id for node in mine.nodes]) == {"terminated"}
        assert states(scene, foreign) == {"running"}
        assert scene.left() == NOTHING
    finally:
        scene.ec2.terminate_instances(InstanceIds=foreign)


def run_foreign(scene: Scene, tags: dict[str, str]) -> str:
    """Launch a machine that is none of ours, and give its id."""
    pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
    answer = scene.ec2.run_instances(
        ImageId=scene.sandbox.environment["NIGHTREEL_AMI"], InstanceType="c7i.large", MinCount=1, MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": pairs}],
    )  # fmt: skip
    [instance] = answer["Instances"]
    until(lambda: states(scene, [instance["InstanceId"]]) == {"running"}, within=60, what="the foreign machine")
    return str(instance["InstanceId"])


def states(scene: Scene, ids: list[str]) -> set[str]:
    found: Any = scene.ec2.describe_instances(InstanceIds=ids)["Reservations"]
    return {instance["State"]["Name"] for group in found for instance in group["Instances"]}
