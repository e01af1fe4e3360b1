"""Spark's daemons on sandbox hosts, for real: started, found again, restarted for a reason, ended."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nightreel.cluster import bootstrap, spark, ssh
from nightreel.cluster.bootstrap import ROOT, Payload, Runtime
from nightreel.cluster.errors import BootstrapError
from nightreel.cluster.spark import Settings, WorkerSize

pytestmark = pytest.mark.sandbox
SIZE = WorkerSize(cores=1, memory=1024)


@pytest.fixture
def node(launch: Callable[..., Any]) -> Any:
    return launch(workers=1).master


@pytest.fixture
def connection(node: Any, connect: ssh.Connect) -> Iterator[ssh.Connection]:
    with connect(node) as opened:
        bootstrap.prepare(opened, runtime=Runtime(), payload=Payload({}))
        yield opened


def configure(connection: ssh.Connection, node: Any, *, secret: str = "secret") -> None:
    settings = Settings(master_ip=node.private_ip, secret=secret, driver=SIZE, executor=SIZE)
    spark.configure(connection, node_ip=node.private_ip, settings=settings, runtime=Runtime())


def start(connection: ssh.Connection, node: Any) -> str:
    spark.start_master(connection, node_ip=node.private_ip, runtime=Runtime())
    return connection.run(f"cat {ROOT}/master.pid").output


def alive_within(seconds: float, connection: ssh.Connection, node: Any) -> list[str]:
    """The workers that are alive by the master's word, as soon as there are any."""
    deadline = time.monotonic() + seconds
    while not (alive := spark.alive_workers(spark.read_state(connection, node.private_ip))):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return alive


def test_the_life_of_a_master_and_a_worker(connection: ssh.Connection, node: Any, connect: ssh.Connect) -> None:
    configure(connection, node)
    first = start(connection, node)
    assert start(connection, node) == first, "a master that runs is left alone"
    spark.start_worker(connection, node_ip=node.private_ip, master_ip=node.private_ip, size=SIZE, runtime=Runtime())
    assert alive_within(60, connection, node) == [node.private_ip]

    configure(connection, node, secret="another secret")
    assert start(connection, node) != first, "another configuration needs another master"

    spark.stop_worker(connection)
    assert (spark.daemon_runs(connection, "worker"), spark.daemon_runs(connection, "master")) == (False, True)
    for _ in range(2):
        spark.stop_all([node], connect)
        assert not spark.daemon_runs(connection, "master")
    assert connection.run("pgrep -f '[o]rg.apache.spark.deploy'", check=False).output == ""


def test_a_process_that_took_over_the_number_is_no_daemon(connection: ssh.Connection) -> None:
    connection.run(f"setsid sleep 60 >/dev/null 2>&1 </dev/null & echo $! > {ROOT}/worker.pid")
    assert not spark.daemon_runs(connection, "worker")
    spark.stop_worker(connection)
    assert connection.run("pgrep -f '[s]leep 60'").output


def test_a_shell_that_took_over_the_number_and_speaks_of_the_daemon_is_none(connection: ssh.Connection) -> None:
    script = "# org.apache.spark.deploy.worker.Worker\nsleep 60; true"
    connection.run(f"setsid sh -c '{script}' >/dev/null 2>&1 </dev/null & echo $! > {ROOT}/worker.pid")
    assert not spark.daemon_runs(connection, "worker")


def test_a_daemon_that_does_not_listen_is_ended_by_force(connection: ssh.Connection) -> None:
    deaf = "trap '' TERM; while :; do sleep 1; done"
    worker = "org.apache.spark.deploy.worker.Worker"
    connection.run(f'setsid sh -c "{deaf}" {worker} >/dev/null 2>&1 </dev/null & echo $! > {ROOT}/worker.pid')
    assert spark.daemon_runs(connection, "worker")
    spark.stop_worker(connection)
    assert not spark.daemon_runs(connection, "worker")


def test_memory_of_executors_and_driver_follow_their_machines(connection: ssh.Connection, node: Any) -> None:
    settings = Settings(
        master_ip=node.private_ip,
        secret="s",
        driver=WorkerSize(cores=2, memory=2000),
        executor=WorkerSize(cores=2, memory=1000),
    )
    spark.configure(connection, node_ip=node.private_ip, settings=settings, runtime=Runtime(), java_home="/opt/java")
    written = connection.run(f"cat {ROOT}/conf/*").output
    assert "spark.driver.memory 1400m" in written
    assert "spark.executor.extraJavaOptions -Xss16m" in written
    assert "spark.executor.memory 700m" in written
    assert "export JAVA_HOME=/opt/java" in written


def test_a_node_without_curl_is_said_at_once(connection: ssh.Connection, node: Any) -> None:
    without = "PATH=$HOME/bare; export PATH; "
    run = connection.run
    connection.run = lambda script, **options: run(without + script, **options)  # type: ignore[method-assign]
    with pytest.raises(BootstrapError, match="has no curl"):
        spark.read_state(connection, node.private_ip)
