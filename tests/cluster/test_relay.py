"""Software goes to the master once, and from there to the workers."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from nightreel.cluster import bootstrap, relay, ssh
from nightreel.cluster.bootstrap import ROOT
from nightreel.cluster.relay import Relay

pytestmark = pytest.mark.sandbox
PLACE = ROOT / "wheels"


@pytest.fixture(autouse=True)
def _big_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "WORTH_IT", 1000)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "big wheel").write_bytes(os.urandom(100_000))
    (tmp_path / "small").write_text("small")
    return {path.name: path for path in tmp_path.iterdir()}


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """(host, file) of every upload from this machine."""
    seen: list[tuple[str, str]] = []
    real = ssh.Connection.upload

    def upload(self: ssh.Connection, source: Any, target: PurePosixPath) -> None:
        seen.append((self.host, target.name))
        real(self, source, target)

    monkeypatch.setattr(ssh.Connection, "upload", upload)
    return seen


def content(connection: ssh.Connection, files: Mapping[str, Path]) -> bool:
    return all(connection.run_raw(f"cat '{PLACE / name}'")[1] == path.read_bytes() for name, path in files.items())


def test_a_worker_gets_big_files_from_the_master(
    launch: Callable[..., Any], connect: ssh.Connect, files: dict[str, Path], uploads: list[tuple[str, str]]
) -> None:
    cluster = launch(workers=1)
    passed = Relay(master_ip=cluster.master.private_ip, ship=bootstrap.ship)
    with connect(cluster.master) as master, connect(cluster.workers[0]) as worker, ThreadPoolExecutor() as pool:
        master.run(f"mkdir -p {ROOT}/logs")
        waiting = pool.submit(passed.to_worker, worker, files, folder=PLACE)  # it comes first, and waits
        passed.to_master(master, files, folder=PLACE)
        waiting.result()
        assert content(worker, files)
        assert sorted(uploads) == sorted([(master.host, "big wheel"), (master.host, "small"), (worker.host, "small")])
        passed.end(master)
        assert master.run(f"ls -d {ROOT}/relay*; pgrep -f '[h]ttp.server'", check=False).output.count("http") == 0
        assert master.run("ls nightreel").output.split() == ["logs", "wheels"]


def test_without_a_master_that_serves_a_worker_gets_all_from_here(
    launch: Callable[..., Any], connect: ssh.Connect, files: dict[str, Path]
) -> None:
    cluster = launch(workers=1)
    passed = Relay(master_ip=cluster.master.private_ip, ship=bootstrap.ship)
    passed.close()
    with connect(cluster.workers[0]) as worker:
        passed.to_worker(worker, files, folder=PLACE)
        assert content(worker, files)


def test_what_the_master_damages_comes_again_from_here(
    launch: Callable[..., Any], connect: ssh.Connect, files: dict[str, Path], uploads: list[tuple[str, str]]
) -> None:
    cluster = launch(workers=1)
    passed = Relay(master_ip=cluster.master.private_ip, ship=bootstrap.ship)
    with connect(cluster.master) as master, connect(cluster.workers[0]) as worker:
        master.run(f"mkdir -p {ROOT}/logs")
        passed.to_master(master, files, folder=PLACE)
        master.run(f"for f in {ROOT}/relay/*; do echo damage > $f; done")
        passed.to_worker(worker, files, folder=PLACE)
        assert content(worker, files)
        assert (worker.host, "big wheel") in uploads
        passed.end(master)
