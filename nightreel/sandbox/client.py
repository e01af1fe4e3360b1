"""The sandbox from outside: start it, find it, let things go wrong in it, stop it."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import psutil

from nightreel.sandbox.bridge import in_use
from nightreel.sandbox.faults import Fault
from nightreel.sandbox.server import claimed
from nightreel.sandbox.settings import (
    BAKED_IMAGE,
    REGION,
    Record,
    SandboxError,
    Settings,
    require_linux,
)

_START_TIMEOUT = 180.0
_STOP_TIMEOUT = 30.0


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox and its control path."""

    state: Path
    record: Record

    @classmethod
    def find(cls, state: Path) -> "Sandbox | None":
        """The sandbox that runs in this state directory, if one does."""
        record = Record.read(state)
        return cls(state, record) if record else None

    @property
    def endpoint(self) -> str:
        """The URL of its AWS API."""
        return self.record.endpoint

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point any AWS client, and Nightreel's own commands, at this sandbox."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "sandbox",
            "AWS_SECRET_ACCESS_KEY": "sandbox",
            "AWS_DEFAULT_REGION": REGION,
            "NIGHTREEL_AMI": BAKED_IMAGE,
            "NIGHTREEL_SSH_PORT": str(self.record.ssh_port),
        }

    def instances(self) -> list[dict[str, Any]]:
        """Every instance, the terminated ones too: id, state, address, home."""
        instances: list[dict[str, Any]] = self._control("GET", "/sandbox/instances")
        return instances

    def inject(self, fault: Fault) -> None:
        """Let something go wrong. Raises SandboxError when the sandbox refuses the fault."""
        self._control("POST", "/sandbox/faults", fault.as_json())

    def crash(self, instance_id: str) -> None:
        """Let an instance's host die at once."""
        self.inject(Fault(kind="crash", instance=instance_id))

    def drop(self, instance_id: str) -> None:
        """Cut every SSH session of an instance's host."""
        self.inject(Fault(kind="drop", instance=instance_id))

    def cut(self, instance_id: str) -> None:
        """Pull the plug of an instance's network cable; hosts of the kind `machines` have one."""
        self.inject(Fault(kind="cut", instance=instance_id))

    def heal(self, instance_id: str) -> None:
        """Put the plug back in."""
        self.inject(Fault(kind="heal", instance=instance_id))

    def faults(self) -> list[dict[str, Any]]:
        """The faults that are set, each with the number of calls it has `met`."""
        faults: list[dict[str, Any]] = self._control("GET", "/sandbox/faults")
        return faults

    def clear_faults(self) -> None:
        """Let nothing go wrong any more."""
        self._control("DELETE", "/sandbox/faults")

    def journal(self) -> list[dict[str, Any]]:
        """Every AWS request since the state directory was made, oldest first."""
        lines = (self.state / "journal.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def _control(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.endpoint + path, data=data, method=method)  # noqa: S310 (http, our own)
        try:
            with _DIRECT.open(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SandboxError(json.load(error)["error"]) from error
        except OSError as error:
            raise SandboxError(f"the sandbox at {self.endpoint} does not answer: {error}") from error


# A proxy of the environment is for the outside world.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def start(settings: Settings) -> Sandbox:
    """Start a sandbox in a session of its own and wait until it answers; one that runs already is returned as it is.

    Raises SandboxError with the reason when it does not come up.
    """
    require_linux()
    if running := Sandbox.find(settings.state):
        return running
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    environment = {
        **os.environ,
        "NIGHTREEL_SANDBOX_STATE": str(settings.state),
        "NIGHTREEL_SANDBOX_NETWORK": str(settings.network),
        "NIGHTREEL_SANDBOX_PORT": str(settings.port),
        "NIGHTREEL_SANDBOX_SSH_PORT": str(settings.ssh_port),
        "NIGHTREEL_SANDBOX_HOSTS": settings.hosts,
    }
    log = settings.state / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "nightreel.sandbox.server"], env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        if sandbox := Sandbox.find(settings.state):  # ours, or that of whoever was faster
            sandbox.instances()
            return sandbox
        if ended:
            break
        time.sleep(0.05)
    process.terminate()
    tail = "\n".join(log.read_text().strip().splitlines()[-15:])
    raise SandboxError(f"the sandbox did not come up (log: {log}):\n{tail}")


def stop(state: Path) -> bool:
    """Stop the sandbox of this state directory and wait until all of it is gone; False when none runs."""
    record = Record.read(state)
    process = record.process() if record else None
    if process is None:
        return False
    with suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT)
        except psutil.TimeoutExpired:
            process.kill()  # its hosts end with it
            process.wait(_STOP_TIMEOUT)
    return True


def free_network(hosts: str = "processes") -> str:
    """A network that no sandbox of this machine uses, for this kind of host; the default one if possible."""
    for second in (77, *range(78, 255), *range(1, 77)):
        loopback, wired = IPv4Network(f"127.{second}.0.0/16"), IPv4Network(f"10.{second}.0.0/16")
        if hosts == "machines" and in_use(wired):
            continue
        with suppress(SandboxError), claimed(loopback):
            return str(wired if hosts == "machines" else loopback)
    raise SandboxError("254 sandboxes run on this machine; stop one with: nightreel sandbox down --state DIR")


@contextmanager
def running_sandbox(
    state: Path, network: str | None = None, *, hosts: str | None = None, ssh_port: int = 0
) -> Iterator[Sandbox]:
    """A sandbox of one's own for as long as the context lasts, on free ports of the network (default: a free one)."""
    kind = hosts or os.environ.get("NIGHTREEL_SANDBOX_HOSTS") or "processes"
    sandbox = _start_somewhere(state, network, hosts=kind, ssh_port=ssh_port)
    try:
        yield sandbox
    finally:
        stop(state)


def _start_somewhere(state: Path, network: str | None, *, hosts: str, ssh_port: int) -> Sandbox:
    """Start in this network, or in a free one: another sandbox may be faster to take what was free a moment ago."""
    for tries_left in reversed(range(5)):
        chosen = network or free_network(hosts)
        try:
            return start(Settings.resolve(state=state, network=chosen, port=0, ssh_port=ssh_port, hosts=hosts))
        except SandboxError:
            if network or not tries_left or free_network(hosts) == chosen:
                raise
    raise AssertionError("the last try returns or raises")
