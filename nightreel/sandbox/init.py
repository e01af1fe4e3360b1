"""Process 1 of an instance's host, whatever the kind of host: it collects orphans, and it ends everything.

The host ends on SIGTERM (that is how it powers itself off), when one of its parts ends, and when the supervisor's pipe
on its standard input says so or ends. Where there is no pid namespace it is a child subreaper instead of process 1.
"""

import contextlib
import ctypes
import json
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from nightreel.sandbox.timers import Armed, Timers

POWERED_OFF, CRASHED = 10, 70
CRASH = b"c"  # written down the supervisor's pipe: die at once, as a machine does that loses its power
DROP = b"d"  # written down the supervisor's pipe: cut every SSH session, and go on
DROP_SIGNAL = signal.SIGUSR1  # what a DROP becomes for the part that serves SSH
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


@dataclass(frozen=True, kw_only=True)
class HostSpec:
    """What the supervisor wants of a host; read from and written to a JSON file."""

    instance: str
    address: str
    port: int
    login: str
    home: str
    host_keys: Sequence[str]
    """Files with private host keys, in OpenSSH's format."""
    pid_file: str
    environment: Mapping[str, str]
    """Of everything that runs on the host."""
    timers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """A `timers.Armed` each, by name."""
    stamps: str = ""
    """A folder for a file named after every timer that has elapsed."""
    mute: bool = False
    """Accept connections and never say a word on them."""
    machine: Mapping[str, Any] | None = None
    """Of a host in namespaces of its own alone: a `machine_host.MachineSpec`."""

    @classmethod
    def read(cls, file: str) -> "HostSpec":
        """Read what the supervisor has written."""
        return cls(**json.loads(Path(file).read_text()))


class Init:
    """Process 1 of a host; `ssh_server` is the part that hears of a DROP, and without any of its parts it ends."""

    def __init__(self, *, pid_file: str, ssh_server: int, others: Sequence[int] = ()) -> None:
        self._pid_file = pid_file
        self._ssh_server = ssh_server
        self._parts = {ssh_server, *others}
        self._ending = threading.Lock()

    def run(self) -> NoReturn:
        """Reap children until the host ends; never returns."""
        signal.signal(signal.SIGTERM, lambda *_: self._end(POWERED_OFF))
        Path(self._pid_file).write_text(str(os.getpid()))
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            with contextlib.suppress(ChildProcessError):
                pid, _ = os.wait()
                if pid in self._parts:
                    self._end(CRASHED)

    def _listen(self) -> None:
        """Do what the supervisor says; end with it."""
        while (word := os.read(0, 1)) == DROP:
            os.kill(self._ssh_server, DROP_SIGNAL)
        self._end(CRASHED if word == CRASH else 0)

    def _end(self, code: int) -> None:
        if not self._ending.acquire(blocking=False):
            return  # the first reason counts, and is being acted upon
        if os.getpid() != 1:
            _kill_descendants()
        os._exit(code)  # as process 1 of a pid namespace this takes everything in it along


def be_host(spec: HostSpec, serve_ssh: Callable[[], None]) -> NoReturn:
    """Be process 1 of a host that is an SSH server and timers, and nothing else."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")  # to the boot log
    os.chdir(spec.home)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    server = part("the SSH server", serve_ssh)
    clock = part("the clock", lambda: keep_time(spec))
    Init(pid_file=spec.pid_file, ssh_server=server, others=[clock]).run()


def part(name: str, work: Callable[[], None]) -> int:
    """Start a part of the host: a child that does `work`, without which the host can not go on. Returns its id."""
    child = os.fork()
    if child:
        return child
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the supervisor's pipe is init's alone
    try:
        work()
    except BaseException:
        logging.exception("%s ended", name)
    os._exit(CRASHED)


def stay_mute(spec: HostSpec) -> NoReturn:
    """Accept connections and never say a word on them."""
    listener = socket.create_server((spec.address, spec.port))
    connections = []
    while True:
        connections.append(listener.accept())


def keep_time(spec: HostSpec) -> NoReturn:
    """Run the timers of the description, as the login."""
    timers = Timers(
        lambda command: subprocess.Popen(["/bin/sh", "-c", command], env=spec.environment, cwd=spec.home),
        elapsed=lambda name: Path(spec.stamps, name).touch(),
    )
    for name, timer in spec.timers.items():
        timers.arm(name, Armed(**timer))
    timers.run()


def _kill_descendants() -> None:
    """Kill until none is left, and reap: what is killed hands its children up to us, the subreaper."""
    while living := descendants(os.getpid()):
        for pid in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def descendants(root: int) -> list[int]:
    """Every living process below this one."""
    offspring = _offspring()
    found: list[int] = []
    queue = [root]
    while queue:
        nearest = offspring.get(queue.pop(), [])
        found.extend(nearest)
        queue.extend(nearest)
    return found


def _offspring() -> dict[int, list[int]]:
    """Every process that has living children, and these."""
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    found.setdefault(int(parent), []).append(int(entry.name))
    return found
