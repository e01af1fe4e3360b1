"""A node's network cable is pulled: only hosts with networks of their own have one."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from nightreel.cluster.destroy import destroy_cluster
from nightreel.cluster.errors import ClusterError
from nightreel.cluster.jobs import JobState
from nightreel.sandbox.client import Sandbox, running_sandbox
from nightreel.sandbox.kinds import missing_for
from tests.chaos.conftest import clean_up, cluster_name
from tests.chaos.scene import NOTHING, TASKS, Scene, right_answer, until

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.sandbox,
    pytest.mark.machines,
    pytest.mark.skipif(bool(missing_for("machines")), reason=f"no hosts with a network: {missing_for('machines')}"),
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def wired_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("wired"), hosts="machines") as sandbox:
        yield sandbox


@pytest.fixture
def scene(wired_sandbox: Sandbox, request: pytest.FixtureRequest) -> Iterator[Scene]:
    made = Scene(wired_sandbox, cluster_name(request.node.name))
    yield made
    clean_up(made)


@pytest.mark.spark
def test_network_of_a_worker_cut_in_mid_job(scene: Scene) -> None:
    scene.launch(workers=2)
    cluster = scene.bootstrap(required_workers=2)
    scene.submit("network-cut", tasks=TASKS)
    scene.await_progress("network-cut", tasks=4)
    lost = cluster.workers[0]
    scene.let("cut", lost)
    assert scene.await_end("network-cut", within=200).state is JobState.SUCCEEDED, scene.job_log("network-cut")[-3000:]
    assert right_answer(TASKS) in scene.job_log("network-cut")
    with pytest.raises((ClusterError, OSError)):
        scene.run(lost, "true")
    # EC2 knows nothing of it; plugged in again, the same machine is a worker again.
    scene.let("heal", lost)
    again = scene.bootstrap(required_workers=2)
    assert scene.workers_alive(again) == {worker.private_ip for worker in cluster.workers}
    assert scene.living() == {node.instance_id for node in cluster.nodes}
    scene.let("cut", lost)
    destroy_cluster(scene.ec2, scene.name)
    assert scene.left() == NOTHING


def test_expiry_reached_with_the_network_cut(scene: Scene) -> None:
    """The dead-man's switch needs nobody: no launcher, no network."""
    scene.expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=40)
    cluster = scene.launch()
    for node in cluster.nodes:
        scene.let("cut", node)
    until(lambda: not scene.living(), within=120, what="the nodes to power themselves off")
    destroy_cluster(scene.ec2, scene.name)
    assert scene.left() == NOTHING
