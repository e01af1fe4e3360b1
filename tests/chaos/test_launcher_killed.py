"""The launcher ends by SIGKILL, at every moment that matters, or there are two of them: never a second cluster."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from nightreel.cluster.destroy import destroy_cluster
from nightreel.sandbox.faults import Fault
from tests.chaos.scene import NOTHING, Scene, going_wrong, until

pytestmark = [pytest.mark.chaos, pytest.mark.sandbox]
MACHINES = 2


def launch_cut_short(scene: Scene, *, calls_before: int, seconds: float) -> None:
    """Kill a launcher whose RunInstances call, behind `calls_before` others, EC2 has received and not yet answered."""
    late = Fault(kind="delay", action="RunInstances", after=calls_before, seconds=seconds)
    scene.sandbox.inject(late)
    launcher = scene.launcher()
    until(lambda: scene.hits(kind="delay") > calls_before, within=30, what="the call with the token")
    launcher.kill()


@pytest.mark.quick
def test_launcher_killed_after_the_token_was_sent_and_the_retry_comes_first(scene: Scene) -> None:
    launch_cut_short(scene, calls_before=0, seconds=3)
    cluster = scene.launch()
    # The dead launcher's call, worked off late, gets the master that is there: its token is the retry's.
    until(lambda: scene.answered("RunInstances") == 3, within=30, what="the answer to the dead launcher")
    assert scene.living() == {node.instance_id for node in cluster.nodes}
    assert len(scene.living()) == MACHINES


@pytest.mark.quick
def test_launcher_killed_after_the_token_was_sent_and_the_retry_comes_last(scene: Scene) -> None:
    launch_cut_short(scene, calls_before=0, seconds=1)
    [master] = until(scene.living, within=30, what="the master that nobody knows of")
    cluster = scene.launch()
    assert cluster.master.instance_id == master
    assert len(scene.living()) == MACHINES


@pytest.mark.quick
def test_launcher_killed_after_the_first_instance(scene: Scene) -> None:
    launch_cut_short(scene, calls_before=1, seconds=3)
    [master] = scene.living()
    cluster = scene.launch()
    until(lambda: scene.answered("RunInstances") == 3, within=30, what="the answer to the dead launcher")
    assert cluster.master.instance_id == master
    assert scene.living() == {node.instance_id for node in cluster.nodes}
    assert len(scene.living()) == MACHINES


@pytest.mark.quick
def test_launcher_killed_and_nobody_tries_again_but_destroy_finds_all(scene: Scene) -> None:
    launch_cut_short(scene, calls_before=1, seconds=1)
    until(lambda: len(scene.living()) == MACHINES, within=30, what="the workers that nobody knows of")
    done = destroy_cluster(scene.ec2, scene.name)
    assert done.instances == MACHINES
    assert scene.left() == NOTHING


@pytest.mark.quick
def test_launcher_killed_and_destroy_overtakes_its_call(scene: Scene) -> None:
    launch_cut_short(scene, calls_before=0, seconds=4)
    destroy_cluster(scene.ec2, scene.name)
    # The security group that the call names is gone, so that EC2 refuses what the dead launcher asked for.
    until(lambda: scene.hits(kind="delay") and answers(scene), within=30, what="the answer to the dead launcher")
    assert answers(scene) == [400]
    assert scene.left() == NOTHING


def answers(scene: Scene) -> list[int]:
    """The HTTP status of the answer to each RunInstances call."""
    calls = [entry for entry in scene.sandbox.journal() if entry["action"] == "RunInstances"]
    return [entry["status"] for entry in calls if scene.name in entry["params"].values()]


@pytest.mark.spark
def test_launcher_killed_between_launch_and_bootstrap(scene: Scene) -> None:
    launcher = scene.launcher()
    launcher.await_step("launched")
    launcher.kill()
    before = scene.living()
    scene.launch()
    cluster = scene.bootstrap()
    assert {node.instance_id for node in cluster.nodes} == before
    assert scene.workers_alive(cluster) == {worker.private_ip for worker in cluster.workers}


@pytest.mark.quick
def test_two_launchers_at_once_make_one_cluster(scene: Scene) -> None:
    # Both have looked, found nothing, and then send their calls.
    with going_wrong(scene.sandbox, Fault(kind="delay", action="RunInstances", times=2, seconds=2)):
        launchers = [scene.launcher(), scene.launcher()]
        until(lambda: scene.hits(kind="delay") == 2, within=30, what="both calls")
        for launcher in launchers:
            launcher.await_step("launched")
    assert len(scene.living()) == MACHINES


def test_launcher_killed_after_every_call_that_changes_something(scene: Scene) -> None:
    calls = 0
    while True:
        calls += 1
        launcher = scene.launcher(killed_after=calls)
        survived = launcher.finished_step("launched")
        launcher.kill()
        before = scene.living()
        cluster = scene.launch()
        assert before <= scene.living() == {node.instance_id for node in cluster.nodes}, f"killed after call {calls}"
        assert len(cluster.nodes) == MACHINES
        destroy_cluster(scene.ec2, scene.name)
        assert scene.left() == NOTHING, f"killed after call {calls}"
        if survived:
            break
    assert calls > MACHINES


@pytest.mark.timeout(300)
def test_second_launcher_at_every_moment_of_the_first(scene: Scene) -> None:
    """Before the n-th call of a launch about its instances, another launch takes place from beginning to end."""
    asked: list[str] = []
    launch_watched(scene, asked.append)
    destroy_cluster(scene.ec2, scene.name)
    moments = len(asked) - asked[::-1].index("RunInstances")
    assert moments > asked.count("RunInstances") == MACHINES
    for moment in range(1, moments + 1):
        calls = itertools.count(1)
        launch_watched(scene, lambda _, calls=calls, moment=moment: scene.launch() if next(calls) == moment else None)
        assert len(scene.living()) == MACHINES, f"the other launch came before call {moment} of {asked}"
        destroy_cluster(scene.ec2, scene.name)


def launch_watched(scene: Scene, before_call: Callable[[str], object]) -> None:
    """Launch, and do something before each call about instances."""

    def watch(model: Any, **_: Any) -> None:  # what a handler returns takes the place of the call
        before_call(model.name)

    ec2 = scene.client()
    for call in ("DescribeInstances", "RunInstances"):
        ec2.meta.events.register(f"before-call.ec2.{call}", watch)
    scene.launch(ec2=ec2)
