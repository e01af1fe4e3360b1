import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from nightreel.local.services import Service, ServiceError, Services, free_port


def shell(tmp_path: Path, script: str, *, stop_timeout: float = 5.0) -> Service:
    return Service(name="thing", command=["sh", "-c", script], log=tmp_path / "log", stop_timeout=stop_timeout)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def pids_in(file: Path, count: int) -> list[int]:
    eventually(lambda: file.exists() and len(file.read_text().split()) == count)
    return [int(word) for word in file.read_text().split()]


def test_stop_ends_the_whole_family(tmp_path: Path) -> None:
    with Services() as services:
        services.start(shell(tmp_path, f"sleep 60 & echo $! $$ > {tmp_path}/pids; wait"))
        pids = pids_in(tmp_path / "pids", 2)
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_stop_ends_what_does_not_listen(tmp_path: Path) -> None:
    with Services() as services:
        services.start(
            shell(tmp_path, f"trap '' TERM; echo $$ > {tmp_path}/pids; while :; do sleep 1; done", stop_timeout=0.2)
        )
        [pid] = pids_in(tmp_path / "pids", 1)
    assert not psutil.pid_exists(pid)


def test_a_process_that_slipped_away_is_ended_too(tmp_path: Path) -> None:
    # A session of its own and a parent that is gone: nothing but being adopted leads to it. In a process of its own,
    # since it ends everything below it.
    script = f"""
from pathlib import Path
from nightreel.local.services import Service, Services, end_descendants
command = ["sh", "-c", "setsid sh -c 'echo $$ > {tmp_path}/pids; exec sleep 60' & exec sleep 60"]
with Services() as services:
    services.start(Service(name="thing", command=command, log=Path({str(tmp_path / "log")!r})))
    services.await_true(lambda: Path({str(tmp_path / "pids")!r}).exists(), what="it", timeout=10)
end_descendants()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    [pid] = pids_in(tmp_path / "pids", 1)
    assert not psutil.pid_exists(pid)


def test_a_service_that_ends_by_itself_is_noticed_with_its_log(tmp_path: Path) -> None:
    with Services() as services:
        services.start(shell(tmp_path, "echo the reason; exit 3"))
        with pytest.raises(ServiceError, match=r"exit code 3:\nthe reason"):
            services.await_true(lambda: False, what="nothing", timeout=10)


def test_waiting_ends_in_time(tmp_path: Path) -> None:
    with Services() as services:
        services.start(shell(tmp_path, "sleep 60"))
        with pytest.raises(ServiceError, match="for the impossible"):
            services.await_true(lambda: False, what="the impossible", timeout=0.2)


def test_run_waits_for_the_end(tmp_path: Path) -> None:
    with Services() as services:
        services.run(shell(tmp_path, f"sleep 0.1; touch {tmp_path}/done"))
    assert (tmp_path / "done").exists()


def test_run_says_why_it_failed(tmp_path: Path) -> None:
    with Services() as services, pytest.raises(ServiceError, match=r"exit code 1:\nno luck"):
        services.run(shell(tmp_path, "echo no luck; exit 1"))


def test_environment_reaches_the_service(tmp_path: Path) -> None:
    script = f"import os, pathlib; pathlib.Path({str(tmp_path / 'seen')!r}).write_text(os.environ['GREETING'])"
    with Services() as services:
        services.run(
            Service(
                name="thing",
                command=[sys.executable, "-c", script],
                log=tmp_path / "log",
                environment={"GREETING": "hello"},
            )
        )
    assert (tmp_path / "seen").read_text() == "hello"


def test_free_port_keeps_to_the_preferred_one() -> None:
    port = free_port(0)
    assert free_port(port) == port


def test_free_port_gives_way_to_who_is_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
