"""Something dies while a job runs: the right sums all the same, or an error that says what is gone.

The tests share a cluster, since starting Spark takes long. Each begins as a retry would: whatever the one before has
left is adopted, and what is missing is replaced.
"""

import pytest

from nightreel.cluster import jobs
from nightreel.cluster.errors import ClusterError, JobLostError, NoClusterError
from nightreel.cluster.jobs import JobState
from nightreel.cluster.lifecycle import Cluster
from tests.chaos.scene import TASKS, Scene, right_answer, until

pytestmark = [pytest.mark.chaos, pytest.mark.sandbox, pytest.mark.spark, pytest.mark.timeout(400)]
EXECUTOR, WORKER = "CoarseGrainedExecutorBackend", "deploy.worker.Worker"


@pytest.fixture
def scene(lasting_scene: Scene) -> Scene:
    """The scene with a cluster of two spot workers, all of them alive."""
    heal(lasting_scene)
    return lasting_scene


def heal(scene: Scene) -> Cluster:
    scene.launch(workers=2, market="spot")
    ready = scene.bootstrap(required_workers=2)
    assert scene.workers_alive(ready) >= {worker.private_ip for worker in ready.workers}
    return ready


def cluster_in_mid_job(scene: Scene, job: str) -> Cluster:
    """The cluster in the middle of a job."""
    assert scene.submit(job, tasks=TASKS)
    scene.await_progress(job, tasks=4)
    return scene.cluster()


def assert_right_sums(scene: Scene, job: str) -> None:
    assert scene.await_end(job).state is JobState.SUCCEEDED, scene.job_log(job)[-3000:]
    assert right_answer(TASKS) in scene.job_log(job)


def assert_healed(scene: Scene, before: Cluster, *, replaced: int) -> None:
    """A retry of the launch replaces those that are missing, and nothing else."""
    after = heal(scene)
    kept = {node.instance_id for node in before.nodes} & {node.instance_id for node in after.nodes}
    assert len(kept) == len(before.nodes) - replaced
    assert scene.living() == {node.instance_id for node in after.nodes}
    assert len(after.nodes) == len(before.nodes)


def test_executor_killed_in_mid_job(scene: Scene) -> None:
    cluster = cluster_in_mid_job(scene, "executor-killed")
    scene.kill_java(cluster.workers[0], EXECUTOR)
    assert_right_sums(scene, "executor-killed")
    assert "Lost executor" in scene.job_log("executor-killed")
    assert_healed(scene, cluster, replaced=0)


def test_worker_killed_in_mid_job(scene: Scene) -> None:
    cluster = cluster_in_mid_job(scene, "worker-killed")
    scene.kill_java(cluster.workers[0], WORKER)
    lost = cluster.workers[0].private_ip
    until(lambda: lost not in scene.workers_alive(cluster), within=60, what="the master to miss the worker")
    assert_right_sums(scene, "worker-killed")
    assert_healed(scene, cluster, replaced=0)


def test_instance_of_a_worker_crashes_in_mid_job(scene: Scene) -> None:
    cluster = cluster_in_mid_job(scene, "instance-crashed")
    scene.let("crash", cluster.workers[0])
    assert_right_sums(scene, "instance-crashed")
    assert_healed(scene, cluster, replaced=1)


def test_spot_worker_reclaimed_in_mid_job(scene: Scene) -> None:
    cluster = cluster_in_mid_job(scene, "spot-reclaimed")
    scene.let("reclaim", cluster.workers[0])
    assert_right_sums(scene, "spot-reclaimed")
    assert_healed(scene, cluster, replaced=1)


def test_ssh_connection_cut_in_mid_job(scene: Scene) -> None:
    cluster = cluster_in_mid_job(scene, "connection-cut")
    with scene.connect(cluster.master) as connection:
        connection.run("true")
        scene.let("drop", cluster.master)
        with pytest.raises(ClusterError, match=cluster.master.address):
            connection.run("sleep 60")
    assert scene.submit("connection-cut", tasks=TASKS) is False
    assert_right_sums(scene, "connection-cut")
    assert_healed(scene, cluster, replaced=0)


def test_ssh_connection_cut_while_the_log_is_followed(scene: Scene) -> None:
    cluster = cluster_in_mid_job(scene, "follow-cut")
    seen = []
    with scene.connect(cluster.master) as connection:
        for line in jobs.follow(connection, "follow-cut", reconnect=lambda: scene.connect(cluster.master)):
            seen.append(line)
            if line == "4 tasks are done":
                scene.let("drop", cluster.master)
    assert right_answer(TASKS) in seen
    assert [line for line in seen if "tasks are done" in line] == [f"{n} tasks are done" for n in range(1, TASKS + 1)]


def test_submitter_killed_in_mid_job(scene: Scene) -> None:
    launcher = scene.launcher(workers=2, market="spot")
    for step in ("launched", "bootstrapped"):
        launcher.await_step(step)
        launcher.go_on()
    launcher.await_step("submitted")
    launcher.kill()
    assert scene.submit("squares", tasks=TASKS) is False
    assert_right_sums(scene, "squares")
    assert_healed(scene, scene.cluster(), replaced=0)


def test_driver_killed_in_mid_job(scene: Scene) -> None:
    cluster = cluster_in_mid_job(scene, "driver-killed")
    scene.run(cluster.master, f"kill -KILL -- -$(cat {jobs.folder('driver-killed')}/pid)")
    lost = scene.await_end("driver-killed")
    with pytest.raises(JobLostError, match="left no exit code"):
        jobs.require_success(lost, "driver-killed", scene.job_log("driver-killed"))
    assert scene.submit("driver-killed", tasks=TASKS) is True
    assert_right_sums(scene, "driver-killed")
    assert_healed(scene, cluster, replaced=0)


def test_instance_of_the_master_crashes_in_mid_job(scene: Scene) -> None:
    cluster = cluster_in_mid_job(scene, "master-crashed")
    scene.let("crash", cluster.master)
    until(lambda: cluster.master.instance_id not in scene.living(), within=60, what="EC2 to see that it is gone")
    with pytest.raises(NoClusterError, match="launch it"):
        scene.submit("master-crashed", tasks=TASKS)
    # The workers find the new master; the job is begun anew, since its folder was lost with the old one.
    assert_healed(scene, cluster, replaced=1)
    assert scene.submit("master-crashed", tasks=TASKS) is True
    assert_right_sums(scene, "master-crashed")
