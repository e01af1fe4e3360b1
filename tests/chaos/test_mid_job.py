"""Something dies while a job runs: the right sums all the same, or an error that says what is gone."""

import pytest

from nightreel.cluster import jobs
from nightreel.cluster.destroy import destroy_cluster
from nightreel.cluster.errors import ClusterError, JobLostError, NoClusterError
from nightreel.cluster.jobs import JobState
from nightreel.cluster.lifecycle import Cluster
from tests.chaos.scene import NOTHING, Scene, right_answer, until

pytestmark = [pytest.mark.chaos, pytest.mark.sandbox, pytest.mark.spark, pytest.mark.timeout(300)]
TASKS = 24
EXECUTOR, WORKER = "CoarseGrainedExecutorBackend", "deploy.worker.Worker"


@pytest.fixture
def cluster(scene: Scene) -> Cluster:
    """A cluster of two workers that is in the middle of a job."""
    scene.launch(workers=2)
    ready = scene.bootstrap(required_workers=2)
    assert scene.submit(tasks=TASKS)
    scene.await_progress(4)
    return ready


def assert_right_sums(scene: Scene) -> None:
    assert scene.await_end().state is JobState.SUCCEEDED, scene.job_log()[-3000:]
    assert right_answer(TASKS) in scene.job_log()


def assert_destroyed(scene: Scene) -> None:
    destroy_cluster(scene.ec2, scene.name)
    assert scene.left() == NOTHING


def test_executor_killed_in_mid_job(scene: Scene, cluster: Cluster) -> None:
    scene.kill_java(cluster.workers[0], EXECUTOR)
    assert_right_sums(scene)
    assert "Lost executor" in scene.job_log()
    assert_destroyed(scene)


def test_worker_killed_in_mid_job(scene: Scene, cluster: Cluster) -> None:
    scene.kill_java(cluster.workers[0], WORKER)
    assert_right_sums(scene)
    # The daemon is started again, on the same machine, by the same step that started it first.
    scene.bootstrap(required_workers=2)
    assert scene.workers_alive(cluster) == {worker.private_ip for worker in cluster.workers}
    assert scene.living() == {node.instance_id for node in cluster.nodes}
    assert_destroyed(scene)


def test_instance_of_a_worker_crashes_in_mid_job(scene: Scene, cluster: Cluster) -> None:
    scene.sandbox.crash(cluster.workers[0].instance_id)
    assert_right_sums(scene)
    # A launch replaces the one that is missing, and nothing else.
    scene.launch(workers=2)
    again = scene.bootstrap(required_workers=2)
    kept = {node.instance_id for node in cluster.nodes} & {node.instance_id for node in again.nodes}
    assert len(kept) == 2
    assert scene.workers_alive(again) >= {worker.private_ip for worker in again.workers}
    assert_destroyed(scene)


def test_instance_of_the_master_crashes_in_mid_job(scene: Scene, cluster: Cluster) -> None:
    scene.sandbox.crash(cluster.master.instance_id)
    until(lambda: cluster.master.instance_id not in scene.living(), within=30, what="EC2 to see that it is gone")
    with pytest.raises(NoClusterError, match="launch it"):
        scene.submit()
    assert_destroyed(scene)


def test_ssh_connection_cut_in_mid_job(scene: Scene, cluster: Cluster) -> None:
    with scene.connect(cluster.master) as connection:
        scene.drop(cluster.master)
        with pytest.raises(ClusterError, match=f"{cluster.master.address}: (lost|the connection is closed)"):
            until(lambda: connection.run("true").exit_code, within=30, what="the connection to be cut")
    assert scene.submit(tasks=TASKS) is False
    assert_right_sums(scene)
    assert_destroyed(scene)


def test_driver_killed_in_mid_job(scene: Scene, cluster: Cluster) -> None:
    scene.run(cluster.master, f"kill -KILL -- -$(cat {jobs.folder('squares')}/pid)")
    lost = scene.await_end()
    with pytest.raises(JobLostError, match="left no exit code"):
        jobs.require_success(lost, "squares", scene.job_log())
    assert scene.submit(tasks=TASKS) is True
    assert_right_sums(scene)
    assert_destroyed(scene)


def test_submitter_killed_in_mid_job(scene: Scene) -> None:
    launcher = scene.launcher()
    for step in ("launched", "bootstrapped", "submitted"):
        launcher.await_step(step)
        launcher.go_on() if step != "submitted" else launcher.kill()
    assert scene.submit() is False
    assert scene.running_job()
    assert scene.await_end().state is JobState.SUCCEEDED
    assert right_answer(32) in scene.job_log()
    assert_destroyed(scene)
