"""A host does not answer, is not the one that we know, or can not be prepared: named, and left out or cleaned up."""

import pytest

from nightreel.cluster.destroy import destroy_cluster
from nightreel.cluster.ec2 import Node
from nightreel.cluster.errors import BootstrapError, ClusterError, HostKeyError
from nightreel.sandbox.faults import Fault
from tests.chaos.scene import NOTHING, Scene, going_wrong, until

pytestmark = [pytest.mark.chaos, pytest.mark.sandbox]


@pytest.mark.quick
def test_host_that_never_answers_ssh(scene: Scene) -> None:
    with going_wrong(scene.sandbox, Fault(kind="mute", tags={"nightreel:role": "worker"})):
        cluster = scene.launch()
    with pytest.raises(ClusterError, match="did not let us in by SSH") as caught:
        scene.bootstrap(timeout=1)
    assert cluster.workers[0].instance_id in str(caught.value)
    destroy_cluster(scene.ec2, scene.name)
    assert scene.left() == NOTHING


@pytest.mark.quick
def test_host_with_another_key(scene: Scene) -> None:
    with going_wrong(scene.sandbox, Fault(kind="host-key", tags={"nightreel:role": "worker"})):
        cluster = scene.launch()
    with pytest.raises(HostKeyError, match="presents another host key") as caught:
        scene.bootstrap()
    assert cluster.workers[0].address in str(caught.value)
    assert "another machine may be answering in its place" in str(caught.value)
    destroy_cluster(scene.ec2, scene.name)
    assert scene.left() == NOTHING


@pytest.mark.quick
def test_host_with_another_key_and_the_command_cleans_up(scene: Scene) -> None:
    with going_wrong(scene.sandbox, Fault(kind="host-key", tags={"nightreel:role": "master"})):
        code, said = scene.finish(scene.launch_command())
    assert code == 1
    assert "presents another host key" in said
    assert scene.left() == NOTHING


def spoil(scene: Scene, node: Node) -> None:
    """Let the node be one whose image lost its Spark."""
    scene.run(node, "rm ~/spark && mkdir ~/spark")


@pytest.mark.spark
def test_bootstrap_fails_on_one_node_of_three(scene: Scene) -> None:
    cluster = scene.launch(workers=3)
    spoil(scene, cluster.workers[1])
    with pytest.raises(BootstrapError, match="no Spark") as caught:
        scene.bootstrap(required_workers=3)
    assert cluster.workers[1].address in str(caught.value)
    destroy_cluster(scene.ec2, scene.name)
    assert scene.left() == NOTHING


@pytest.mark.spark
def test_bootstrap_fails_on_one_node_of_three_and_two_are_enough(scene: Scene) -> None:
    cluster = scene.launch(workers=3)
    good, spoiled, also_good = cluster.workers
    spoil(scene, spoiled)
    ready = scene.bootstrap(required_workers=2)
    assert [worker.instance_id for worker in ready.workers] == [good.instance_id, also_good.instance_id]
    assert scene.workers_alive(ready) == {good.private_ip, also_good.private_ip}
    # What can not work costs money all the same.
    until(lambda: spoiled.instance_id not in scene.living(), within=30, what="the end of the spoiled node")
    destroy_cluster(scene.ec2, scene.name)
    assert scene.left() == NOTHING


@pytest.mark.spark
def test_bootstrap_that_failed_goes_on_when_the_node_is_mended(scene: Scene) -> None:
    cluster = scene.launch()
    [worker] = cluster.workers
    home = scene.run(worker, "readlink ~/spark").strip()
    spoil(scene, worker)
    with pytest.raises(BootstrapError, match="no Spark"):
        scene.bootstrap()
    scene.run(worker, f"rmdir ~/spark && ln -s {home} ~/spark")
    scene.launch()
    ready = scene.bootstrap()
    assert {node.instance_id for node in cluster.nodes} == scene.living()
    assert scene.workers_alive(ready) == {worker.private_ip}
