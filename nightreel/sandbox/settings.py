"""Where a sandbox lives: its folder, its addresses, its images, and the record by which others find it."""

import json
import os
import sys
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network, ip_network
from pathlib import Path

import psutil

REGION = "us-east-1"
BAKED_IMAGE = "ami-00000000000000001"
PLAIN_IMAGE = "ami-00000000000000002"
ARM_IMAGE = "ami-00000000000000003"
KINDS_OF_HOST = ("processes", "sshd", "machines")
DEFAULT_NETWORK = "127.77.0.0/16"
DEFAULT_MACHINES_NETWORK = "10.77.0.0/16"
DEFAULT_PORT = 5000
DEFAULT_SSH_PORT = 2222
MACHINES_SSH_PORT = 22


class SandboxError(RuntimeError):
    """The sandbox can not do this; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a sandbox is told before it starts. Port 0 means a free one."""

    state: Path
    network: IPv4Network
    port: int
    ssh_port: int
    hosts: str = "processes"
    """The kind of host that instances get; see `kinds`."""

    @classmethod
    def resolve(
        cls,
        *,
        state: Path | None = None,
        network: str | None = None,
        port: int | None = None,
        ssh_port: int | None = None,
        hosts: str | None = None,
    ) -> "Settings":
        """Fill in what is not given: from NIGHTREEL_SANDBOX_{STATE,NETWORK,PORT,SSH_PORT,HOSTS}, then the defaults.

        Raises SandboxError when a value is of no use.
        """
        environment = os.environ
        kind = _kind_of_host(hosts or environment.get("NIGHTREEL_SANDBOX_HOSTS") or "processes")
        cables = kind == "machines"
        default_network = DEFAULT_MACHINES_NETWORK if cables else DEFAULT_NETWORK
        return cls(
            state=state_folder(state),
            network=_network(network or environment.get("NIGHTREEL_SANDBOX_NETWORK") or default_network, kind),
            port=_port(port, "NIGHTREEL_SANDBOX_PORT", DEFAULT_PORT),
            ssh_port=_port(ssh_port, "NIGHTREEL_SANDBOX_SSH_PORT", MACHINES_SSH_PORT if cables else DEFAULT_SSH_PORT),
            hosts=kind,
        )

    @property
    def loopback(self) -> IPv4Network:
        """The loopback network that belongs to the sandbox: that of its hosts, or the one of the same number."""
        return self.network if self.network.is_loopback else IPv4Network(f"127.{number(self.network)}.0.0/16")

    @property
    def address(self) -> str:
        """The endpoint's address: the network's third, which EC2 reserves in every subnet.

        Hosts of the kind `machines` have a network that is theirs alone, so there it is the loopback network's.
        """
        return str((self.loopback if self.hosts == "machines" else self.network)[2])


def state_folder(given: Path | None = None) -> Path:
    """The sandbox's folder: the one given, that of NIGHTREEL_SANDBOX_STATE, or one in the user's state directory."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    folder = given or Path(os.environ.get("NIGHTREEL_SANDBOX_STATE") or home / "nightreel" / "sandbox")
    return folder.expanduser().absolute()


def number(network: IPv4Network) -> int:
    """The second octet, by which networks of sandboxes differ."""
    return network.network_address.packed[1]


def _kind_of_host(text: str) -> str:
    if text not in KINDS_OF_HOST:
        raise SandboxError(f"there are no hosts of the kind {text!r}; choose one of: {', '.join(KINDS_OF_HOST)}")
    return text


def _network(text: str, kind: str) -> IPv4Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise SandboxError(f"{text!r} is not a network: {error}") from error
    wide = ("10.0.0.0/8",) if kind == "machines" else ("127.0.0.0/8", "10.0.0.0/8")
    example = DEFAULT_MACHINES_NETWORK if kind == "machines" else DEFAULT_NETWORK
    if (
        not isinstance(network, IPv4Network)
        or network.prefixlen != 16
        or not any(network.subnet_of(IPv4Network(each)) for each in wide)
    ):
        raise SandboxError(
            f"the network {text} is of no use to hosts of the kind {kind!r}; choose a /16 in {' or '.join(wide)}, such "
            f"as {example}"
        )
    if number(network) == 0:
        raise SandboxError(f"the network {network} is where the machine's own services live; choose {example}")
    return network


def _port(given: int | None, variable: str, default: int) -> int:
    text = os.environ.get(variable)
    try:
        port = given if given is not None else int(text or default)
    except ValueError as error:
        raise SandboxError(f"{variable} is {text!r}, which is not a port number") from error
    if not 0 <= port <= 65535:
        raise SandboxError(f"{port} is not a port number; choose 0 (any free one) to 65535")
    return port


def require_linux() -> None:
    """SandboxError where the machine can not give every instance a loopback address."""
    if sys.platform != "linux":
        raise SandboxError(
            "the sandbox needs Linux, where all of 127.0.0.0/8 answers and processes have namespaces; this system "
            f"({sys.platform}) has 127.0.0.1 alone. Run it in a Linux container or virtual machine."
        )


@dataclass(frozen=True, kw_only=True)
class Record:
    """A running sandbox as it describes itself in its state directory."""

    pid: int
    started: float
    """The process's start time by the kernel, so that a recycled process id is not taken for the sandbox."""
    endpoint: str
    network: str
    ssh_port: int
    isolation: str
    hosts: str = "processes"

    @classmethod
    def read(cls, state: Path) -> "Record | None":
        """The record of the sandbox that runs in this directory; None when none does."""
        try:
            record = cls(**json.loads(_record_file(state).read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return record if record.process() else None

    def process(self) -> psutil.Process | None:
        """The sandbox's process, None when it is gone: another one may have its number by now."""
        try:
            process = psutil.Process(self.pid)
            same = process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if same else None

    def write(self, state: Path) -> None:
        """Put the record where others find it, at once and whole."""
        partial = _record_file(state).with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self), indent=2))
        partial.replace(_record_file(state))

    @staticmethod
    def remove(state: Path) -> None:
        """Take the record away."""
        _record_file(state).unlink(missing_ok=True)


def _record_file(state: Path) -> Path:
    return state / "sandbox.json"
