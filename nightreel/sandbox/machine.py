"""An instance's host, whatever its kind, as the reconciler sees it: its directory, its keys, and its process."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import asyncssh

from nightreel.sandbox import cloud_init, init
from nightreel.sandbox.account import Instance
from nightreel.sandbox.init import HostSpec
from nightreel.sandbox.settings import SandboxError
from nightreel.sandbox.timers import Armed

LOGIN = "ec2-user"
_END_TIMEOUT = 10.0  # seconds until a host that does not end is killed
_SOURCES = str(Path(__file__).resolve().parents[2])


@dataclass(frozen=True, kw_only=True)
class Program:
    """How the process of a host is started."""

    module: str
    """Run with the description of the host as its argument."""
    wrapper: Sequence[str] = ()
    """A command that gives it its namespaces."""
    files: Sequence[int] = ()
    """Open files that it inherits."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """What its HostSpec has besides the address, the port and the keys."""


class Kind(Protocol):
    """What hosts of one kind have in common; there is one object of it per sandbox."""

    description: str
    """A sentence's end on what such hosts share and what not."""

    def home(self, directory: Path) -> Path:
        """The login's home directory, as this machine sees it."""

    def prepare(self, machine: "Machine") -> None:
        """Furnish a new host's directory."""

    def program(self, machine: "Machine") -> Program:
        """How to boot it."""

    def plug(self, machine: "Machine", *, connected: bool) -> None:
        """Put the plug of a running host's network cable in, or pull it. Raises SandboxError where there is none."""

    def close(self) -> None:
        """Clean up when the last host has ended."""


class Machine:
    """An instance's host through stops and starts."""

    def __init__(
        self, directory: Path, instance: Instance, *, kind: Kind, public_key: str | None, faults: Sequence[str]
    ) -> None:
        self.directory = directory
        self.home = kind.home(directory)
        self.id = str(instance.id)
        self.address = str(instance.private_ip)
        self.image = str(instance.image_id)
        self.mute = "mute" in faults
        self.answered = False
        self.user_data = cloud_init.parse(str(instance.user_data) if instance.user_data else None)
        self.authorized_keys = [key for key in (public_key, *self.user_data.authorized_keys) if key]
        self.pid_file = directory / "host.pid"
        self._kind = kind
        self._process: subprocess.Popen[bytes] | None = None
        self._boots = 0
        self._first_boot = time.time()
        self.stamps = directory / "stamps"
        directory.mkdir(parents=True, mode=0o700)
        self.stamps.mkdir()
        self.say(f"instance {self.id}, image {self.image}, address {self.address}")
        for note in self.user_data.notes:
            self.say(f"cloud-init: {note}")
        self.host_key = self._host_key(own="host-key" in faults)
        kind.prepare(self)

    def say(self, line: str) -> None:
        """Write a line to the boot log."""
        with (self.directory / "boot.log").open("a") as log:
            log.write(f"{_utc(time.time())} {line}\n")

    def _host_key(self, *, own: bool) -> str | None:
        """The host key of the user data, if it has one and the host is not to have `own` ones."""
        key = self.user_data.host_key
        if own or not key:
            return None
        try:
            fingerprint = asyncssh.import_private_key(key).get_fingerprint()
        except asyncssh.KeyImportError as error:
            self.say(f"cloud-init: ignored: ssh_keys.ed25519_private, which is not a key: {error}")
            return None
        self.say(f"host key {fingerprint} (ssh-ed25519)")
        return key

    def boot(self, *, port: int) -> None:
        """Start the host's process; its banner comes a moment later."""
        self.answered = False
        self._boots += 1
        program = self._kind.program(self)
        settings: dict[str, Any] = {
            "instance": self.id, "address": self.address, "port": port, "login": LOGIN, "home": str(self.home),
            "pid_file": str(self.pid_file), "mute": self.mute, "host_keys": (), "environment": {},
        }  # fmt: skip
        description = self.directory / "host.json"
        description.touch(mode=0o600)
        description.write_text(json.dumps(asdict(HostSpec(**settings | dict(program.spec)))))
        self.say("boot")
        command = [*program.wrapper, sys.executable, "-P", "-s", "-m", program.module, str(description)]
        with (self.directory / "boot.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=program.files, start_new_session=True,
                env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": _SOURCES, "LANG": "C.UTF-8"},
            )  # fmt: skip

    def timers(self) -> dict[str, Armed]:
        """The timers of the user data that run from this boot on; of the missed ones those that are persistent."""
        now = time.time()
        armed = {}
        for number, timer in enumerate(self.user_data.timers):
            name = f"timer-{number}"
            if timer.boots not in ("all", "first" if self._boots == 1 else "later"):
                continue
            if timer.at is None:
                armed[name] = Armed(command=timer.command, due=now + (timer.delay or 0), interval=timer.interval)
            elif timer.at.timestamp() > (self._first_boot if timer.persistent else now) and not self._elapsed(name):
                self.say(f"a timer elapses at {_utc(timer.at.timestamp())}: {timer.command}")
                armed[name] = Armed(command=timer.command, due=timer.at.timestamp())
        return armed

    def _elapsed(self, timer: str) -> bool:
        return (self.stamps / timer).exists()

    def exit_code(self) -> int | None:
        """How the host ended by itself; None while it runs."""
        return self._process.poll() if self._process else 0

    def greets(self, port: int) -> bool:
        """Whether the host's SSH banner can be read (of a mute one: whether it listens)."""
        try:
            with socket.create_connection((self.address, port), timeout=0.2) as connection:
                connection.settimeout(1)
                return self.mute or connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def crash(self) -> None:
        """Let the host die at once, as if the power had gone; the reconciler finds out."""
        self._tell(init.CRASH)

    def drop(self) -> None:
        """Cut every SSH session of the host; what runs detached goes on."""
        self._tell(init.DROP)

    def _tell(self, word: bytes) -> None:
        if self._process and self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(word)
                self._process.stdin.flush()

    def plug(self, *, connected: bool) -> None:
        """Put the plug of the host's network cable in, or pull it. Raises SandboxError when it has none."""
        self._kind.plug(self, connected=connected)

    def order_end(self) -> None:
        """Tell the host to end, without waiting for it."""
        if self._process and self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def await_end(self) -> None:
        """Wait until every process of the host is gone."""
        if self._process is None:
            return
        self.order_end()
        try:
            self._process.wait(_END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self.say("off")

    def wipe(self) -> None:
        """Delete everything but the boot log, which GetConsoleOutput shows of terminated instances too."""
        for entry in self.directory.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != "boot.log":
                entry.unlink()

    @property
    def running(self) -> bool:
        """Whether a process of this machine was started and not yet waited for."""
        return self._process is not None


def no_cable(kind: str) -> SandboxError:
    """What a kind of host says whose hosts have no network cable that could be pulled."""
    return SandboxError(
        f"hosts of the kind {kind!r} share this machine's network, so there is no cable to cut; start the sandbox with "
        "--hosts machines (as root)"
    )


def _utc(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))
