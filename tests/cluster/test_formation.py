"""Machines become a Spark cluster, and what does not is left out or told."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from nightreel.cluster import formation, lifecycle, spark, ssh
from nightreel.cluster.bootstrap import Payload, Runtime
from nightreel.cluster.ec2 import find_nodes
from nightreel.cluster.errors import BootstrapError, HostKeyError
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.lifecycle import Preparation
from nightreel.cluster.spark import WorkerSize

pytestmark = pytest.mark.sandbox


@pytest.fixture(autouse=True)
def _small_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    # The hosts share one computer; the keys of their own come late or never, and are tested elsewhere.
    sizes = {"c7i.large": WorkerSize(cores=1, memory=1024), "m7i.large": WorkerSize(cores=1, memory=2048)}
    monkeypatch.setattr(formation, "worker_size", lambda _, kind: sizes[kind])


@pytest.fixture
def form(ec2: Any, connect: ssh.Connect, keys: KeyRing) -> Callable[..., lifecycle.Cluster]:
    def run(*, required: int, **changes: Any) -> lifecycle.Cluster:
        preparation = Preparation(runtime=Runtime(), payload=Payload({}), required_workers=required, timeout=60)
        preparation = dataclasses.replace(preparation, **changes)
        return lifecycle.bootstrap_spark(ec2, "films", connect=connect, keys=keys, preparation=preparation)

    return run


def break_node(node: Any, connect: ssh.Connect) -> None:
    """A file where the bootstrap needs a folder."""
    with connect(node) as connection:
        connection.run("touch nightreel")


def running(ec2: Any) -> set[str]:
    return {node.instance_id for node in find_nodes(ec2, "films", states=["running"])}


def test_all_workers_are_alive_and_a_repeat_changes_nothing(
    launch: Callable[..., Any], form: Callable[..., lifecycle.Cluster], ec2: Any, connect: ssh.Connect
) -> None:
    launch(workers=2)
    first = form(required=2)
    assert form(required=2) == first
    state = lifecycle.on_master(
        ec2, "films", connect=connect, action=lambda c: spark.read_state(c, first.master.private_ip)
    )
    assert state is not None
    assert [worker["state"] for worker in state["workers"]] == ["ALIVE", "ALIVE"]


def test_one_bad_worker_of_two_is_let_go_when_one_will_do(
    launch: Callable[..., Any],
    form: Callable[..., lifecycle.Cluster],
    ec2: Any,
    connect: ssh.Connect,
    caplog: pytest.LogCaptureFixture,
) -> None:
    good, bad = launch(workers=2).workers
    break_node(bad, connect)
    cluster = form(required=1)
    assert [node.instance_id for node in cluster.workers] == [good.instance_id]
    assert running(ec2) == {cluster.master.instance_id, good.instance_id}
    assert f"worker {bad.instance_id}" in caplog.text
    assert "cannot create directory" in caplog.text


def test_a_bad_worker_that_is_needed_is_told_with_its_own_words(
    launch: Callable[..., Any], form: Callable[..., lifecycle.Cluster], ec2: Any, connect: ssh.Connect
) -> None:
    cluster = launch(workers=1)
    break_node(cluster.workers[0], connect)
    with pytest.raises(BootstrapError, match=r"0 of 1 workers(.|\n)*cannot create(.|\n)*console output:\n.*\w"):
        form(required=1)
    assert running(ec2) == {node.instance_id for node in cluster.nodes}


def test_a_bad_master_is_told_with_its_own_words(
    launch: Callable[..., Any], form: Callable[..., lifecycle.Cluster], connect: ssh.Connect
) -> None:
    master = launch(workers=1).master
    break_node(master, connect)
    with pytest.raises(BootstrapError, match=rf"master {master.instance_id}(.|\n)*cannot create"):
        form(required=1)


def test_a_worker_that_is_another_host_ends_everything(
    launch: Callable[..., Any], ec2: Any, connect: ssh.Connect, keys: KeyRing
) -> None:
    cluster = launch(workers=2)

    def suspicious(node: Any) -> ssh.Connection:
        if node == cluster.workers[0]:
            raise HostKeyError("another machine may be answering")
        return connect(node)

    preparation = Preparation(runtime=Runtime(), payload=Payload({}), required_workers=1, timeout=60)
    with pytest.raises(HostKeyError):
        lifecycle.bootstrap_spark(ec2, "films", connect=suspicious, keys=keys, preparation=preparation)
    assert running(ec2) == {node.instance_id for node in cluster.nodes}


def test_a_cluster_that_was_stopped_is_healed(
    launch: Callable[..., Any], form: Callable[..., lifecycle.Cluster], ec2: Any, sandbox: Any
) -> None:
    launch(workers=1)
    before = form(required=1)
    ids = [node.instance_id for node in before.nodes]
    ec2.stop_instances(InstanceIds=ids)
    ec2.get_waiter("instance_stopped").wait(InstanceIds=ids, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    ec2.start_instances(InstanceIds=ids)
    ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    after = form(required=1)
    assert [(node.instance_id, node.host_key) for node in after.nodes] == [
        (node.instance_id, node.host_key) for node in before.nodes
    ]
