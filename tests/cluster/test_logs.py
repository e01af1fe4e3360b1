"""Logs come home before the cluster is gone, whatever its state is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nightreel.cluster import logs, ssh
from nightreel.cluster.errors import ClusterError

pytestmark = pytest.mark.sandbox
WRITE = """mkdir -p nightreel/logs nightreel/jobs/train nightreel/work/app-1/0 nightreel/conf
echo daemon > nightreel/logs/master.log; echo job > nightreel/jobs/train/log
echo executor > nightreel/work/app-1/0/stderr
echo secret > nightreel/conf/spark-defaults.conf"""


@pytest.fixture
def cluster(launch: Callable[..., Any], connect: ssh.Connect) -> Any:
    found = launch(workers=1)
    with connect(found.master) as connection:
        connection.run(WRITE)
    return found


def fetched(folder: Path, node: Any) -> dict[str, str]:
    place = folder / f"{node.role}-{node.instance_id}"
    return {str(path.relative_to(place)): path.read_text() for path in place.rglob("*") if path.is_file()}


def test_every_kind_of_log_comes_and_no_secret(cluster: Any, ec2: Any, connect: ssh.Connect, tmp_path: Path) -> None:
    collected = logs.fetch_logs(ec2, "films", connect=connect, target=tmp_path, seconds=60)
    found = fetched(tmp_path, cluster.master)
    console = found.pop("console.txt")
    assert cluster.master.instance_id in console
    assert found == {"logs/master.log": "daemon\n", "jobs/train/log": "job\n", "work/app-1/0/stderr": "executor\n"}
    assert (collected.files, collected.problems) == (5, ())


def test_a_node_that_can_not_be_reached_is_named_and_the_others_come(
    cluster: Any, ec2: Any, connect: ssh.Connect, tmp_path: Path
) -> None:
    def partly(node: Any) -> ssh.Connection:
        if node.role == "worker":
            raise ClusterError("no route to host")
        return connect(node)

    collected = logs.fetch_logs(ec2, "films", connect=partly, target=tmp_path, seconds=60)
    assert "logs/master.log" in fetched(tmp_path, cluster.master)
    [problem] = collected.problems
    assert cluster.workers[0].instance_id in problem
    assert "no route to host" in problem


def test_of_a_big_log_the_end_comes(
    cluster: Any, ec2: Any, connect: ssh.Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MOST_OF_A_FILE", 4)
    collected = logs.fetch_logs(ec2, "films", connect=connect, target=tmp_path, seconds=60)
    assert fetched(tmp_path, cluster.master)["logs/master.log"] == "mon\n"
    assert any("only the end was fetched" in problem for problem in collected.problems)


def test_of_too_many_logs_the_newest_come(
    cluster: Any, ec2: Any, connect: ssh.Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MOST_OF_A_NODE", 1)
    with connect(cluster.master) as connection:
        connection.run("touch -d '2 hours ago' nightreel/jobs/train/log nightreel/logs/master.log")
    collected = logs.fetch_logs(ec2, "films", connect=connect, target=tmp_path, seconds=60)
    assert "logs/master.log" not in fetched(tmp_path, cluster.master)
    assert any("only the newest" in problem for problem in collected.problems)


def test_a_node_that_hangs_does_not_hold_up_the_end(
    cluster: Any, ec2: Any, connect: ssh.Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_LIST", "sleep 600")
    collected = logs.fetch_logs(ec2, "films", connect=connect, target=tmp_path, seconds=2)
    assert len([problem for problem in collected.problems if "within 2 s" in problem]) == 2


@pytest.mark.usefixtures("cluster")
def test_a_node_that_names_a_path_elsewhere_is_not_followed(
    ec2: Any, connect: ssh.Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_LIST", "echo '1.0 10 ../../../outside'; echo '1.0 10 /etc/passwd'")
    collected = logs.fetch_logs(ec2, "films", connect=connect, target=tmp_path / "deep" / "er", seconds=60)
    assert collected.files == 2
    assert not (tmp_path / "outside").exists()


def test_of_no_cluster_there_are_no_logs(ec2: Any, connect: ssh.Connect, tmp_path: Path) -> None:
    assert logs.fetch_logs(ec2, "films", connect=connect, target=tmp_path).files == 0
