"""Start a process, wait until it answers, and end it together with everything that it started."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psutil

_PR_SET_CHILD_SUBREAPER = 36
_POLL = 0.1


class ServiceError(RuntimeError):
    """A service did not come up or ended by itself; the message ends with its log."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One process to run: its command, what it adds to the environment, and where its output goes."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_timeout: float = 15.0
    """Seconds between the polite signal and the other one."""


class Services:
    """Processes that live exactly as long as this context."""

    def __init__(self) -> None:
        self._running: list[tuple[Service, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Self:
        adopt_orphans()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, service: Service) -> None:
        """Start a service in a process group of its own."""
        service.log.parent.mkdir(parents=True, exist_ok=True)
        with service.log.open("ab") as output:
            process = subprocess.Popen(
                _tied_to_us(service.command),
                env={**os.environ, **service.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append((service, process))

    def run(self, service: Service) -> None:
        """Run a command to its end. Raises ServiceError when it fails."""
        self.start(service)
        _, process = self._running.pop()
        try:
            code = process.wait()
        except BaseException:
            _end(process, timeout=service.stop_timeout)
            raise
        if code != 0:
            raise ServiceError(f"{service.name} ended with exit code {code}:\n{_tail(service.log)}")

    def await_true(self, condition: Callable[[], bool], *, what: str, timeout: float) -> None:
        """Wait until `condition` holds. Raises ServiceError after `timeout` seconds, or when a service ended."""
        deadline = time.monotonic() + timeout
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                logs = ", ".join(str(service.log) for service, _ in self._running)
                raise ServiceError(f"waited {timeout:.0f} s for {what}; logs: {logs}")
            time.sleep(_POLL)

    def check(self) -> None:
        """Raise ServiceError when a service has ended by itself."""
        for service, process in self._running:
            if process.poll() is not None:
                raise ServiceError(
                    f"{service.name} ended by itself with exit code {process.returncode}:\n{_tail(service.log)}"
                )

    def kill(self, name: str) -> Service:
        """End one service as the kernel does when memory runs out: SIGKILL to it and all that it started.

        Gives its description, to start it anew. Raises KeyError when none of that name runs.
        """
        for entry in self._running:
            service, process = entry
            if service.name == name:
                self._running.remove(entry)
                for member in _family(process):
                    with suppress(psutil.NoSuchProcess):
                        member.kill()
                process.wait()
                return service
        raise KeyError(name)

    def stop(self) -> None:
        """End all services, the last started first, and whatever they left behind."""
        while self._running:
            service, process = self._running.pop()
            _end(process, timeout=service.stop_timeout)


def _tied_to_us(command: Sequence[str]) -> list[str]:
    """The command, ended by the kernel when we are killed without a chance to clean up (where there is setpriv)."""
    return ["setpriv", "--pdeathsig", "TERM", "--", *command] if shutil.which("setpriv") else list(command)


def adopt_orphans() -> None:
    """Become the parent of every process below us whose own parent ends, so that none can slip away (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end(process: subprocess.Popen[bytes], *, timeout: float) -> None:
    family = _family(process)
    for member in family:
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(member.pid) != process.pid:  # it made a group of its own
                member.terminate()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=timeout)
    for survivor in alive:
        with suppress(psutil.NoSuchProcess):
            survivor.kill()
    psutil.wait_procs(alive, timeout=5)
    process.wait()


def _family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    return []


def end_descendants(*, timeout: float = 5.0) -> int:
    """End every process below this one, asked politely first; how many there were."""
    left = psutil.Process().children(recursive=True)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(left, timeout=timeout)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=timeout)
    return len(left)


def _tail(log: Path, *, lines: int = 25) -> str:
    return "\n".join(log.read_text(errors="replace").strip().splitlines()[-lines:])


def free_port(preferred: int, *, host: str = "127.0.0.1") -> int:
    """`preferred` when nobody listens there, else any free port."""
    for port in (preferred, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    raise ServiceError(f"no free port on {host}")


def answers(url: str) -> bool:
    """Whether an HTTP GET of `url` succeeds now."""
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False
