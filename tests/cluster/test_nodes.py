"""Work by hand on the nodes of a live cluster."""

import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nightreel.cluster import nodes, ssh
from nightreel.cluster.keys import KeyRing
from nightreel.sandbox.client import Sandbox

pytestmark = pytest.mark.sandbox


@pytest.fixture
def cluster(launch: Callable[..., Any]) -> Any:
    return launch(workers=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "films" / "deep").mkdir(parents=True)
    (tmp_path / "films" / "a name with 'quotes' and $HOME").write_text("odd")
    (tmp_path / "films" / "deep" / "data").write_bytes(bytes(range(256)) * 4000)
    (tmp_path / "films" / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "films" / "run.sh").chmod(0o755)
    return tmp_path / "films"


def test_a_command_runs_on_every_node(cluster: Any, connect: ssh.Connect) -> None:
    results = nodes.run_on(cluster.nodes, connect, "echo here; exit 3")
    assert [(done.node.role, done.exit_code, done.output) for done in results] == [
        ("master", 3, "here\n"),
        ("worker", 3, "here\n"),
    ]


def test_a_node_that_can_not_be_reached_is_told_beside_the_others(
    cluster: Any, connect: ssh.Connect, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "CONNECT_TIMEOUT", 2.0)
    sandbox.crash(cluster.workers[0].instance_id)
    master, worker = nodes.run_on(cluster.nodes, connect, "echo here")
    assert (master.ok, worker.ok, worker.exit_code, bool(worker.error)) == (True, False, None, True)


def test_a_folder_goes_to_all_nodes_and_comes_back(
    cluster: Any, connect: ssh.Connect, folder: Path, tmp_path: Path
) -> None:
    for _ in range(2):  # a repeat does not put it into itself
        assert all(done.ok for done in nodes.copy_to(cluster.nodes, connect, folder, "~/films"))
    assert [done.output for done in nodes.run_on(cluster.nodes, connect, "films/run.sh")] == ["ran\n"] * 2
    back = tmp_path / "back"
    assert all(done.ok for done in nodes.copy_from(cluster.nodes, connect, "~/films", back))
    sent = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for node in cluster.nodes:
        place = back / node.instance_id
        assert {p.relative_to(place): p.read_bytes() for p in place.rglob("*") if p.is_file()} == sent


@pytest.mark.parametrize(
    ("target", "lands"), [("other", "other"), ("into/", "into/run.sh"), ("~/there", "there/run.sh")]
)
def test_a_file_lands_where_it_is_meant(
    cluster: Any, connect: ssh.Connect, folder: Path, target: str, lands: str
) -> None:
    nodes.run_on([cluster.master], connect, "mkdir there")
    assert nodes.copy_to([cluster.master], connect, folder / "run.sh", target)[0].ok
    assert nodes.run_on([cluster.master], connect, lands if "/" in lands else f"./{lands}")[0].output == "ran\n"


def test_a_file_that_arrives_damaged_is_told(
    cluster: Any, connect: ssh.Connect, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ssh.Connection.upload
    monkeypatch.setattr(ssh.Connection, "upload", lambda self, _, target: real(self, b"cut", target))
    [done] = nodes.copy_to([cluster.master], connect, folder / "run.sh", "run.sh")
    assert "arrived damaged" in str(done.error)


def test_nothing_to_copy_is_said_before_anybody_is_asked(connect: ssh.Connect, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing to copy"):
        nodes.copy_to([], connect, tmp_path / "none", "x")


def test_a_login_by_openssh_trusts_the_one_key_and_leaves_nothing(
    cluster: Any, keys: KeyRing, sandbox: Sandbox, tmp_path: Path
) -> None:
    port = sandbox.record.ssh_port
    with nodes.login_command(cluster.master, keys=keys, user="ec2-user", port=port) as words:
        key = Path(words[words.index("-i") + 1])
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        done = subprocess.run(
            [*words, "echo in"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    assert (done.returncode, done.stdout, key.parent.exists()) == (0, "in\n", False)


def test_a_login_to_another_host_is_refused(cluster: Any, keys: KeyRing, sandbox: Sandbox) -> None:
    port = sandbox.record.ssh_port
    stranger = KeyRing(b"another secret altogether", "films")
    with nodes.login_command(cluster.master, keys=stranger, user="ec2-user", port=port) as words:
        done = subprocess.run([*words, "true"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 255
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in done.stderr
