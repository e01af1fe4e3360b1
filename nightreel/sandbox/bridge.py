"""The cable duct of hosts in network namespaces: a bridge of the sandbox's own, and a cable to every host.

A cable goes with its host's namespace. The bridge goes with the sandbox, even when that is killed: a guard holds the
other end of a pipe. Should the guard be killed too, the next sandbox in that network takes the bridge away.

Where Docker has been, a machine's firewall sees what passes a bridge and drops what it does not know; while ours
stands, a rule of its own lets its traffic through.
"""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_interface, ip_network
from pathlib import Path

import psutil

from nightreel.sandbox.settings import SandboxError, number

_GUARD = """
trap "" INT TERM HUP
read -r _
while iptables -w -D FORWARD -i "$1" -o "$1" -j ACCEPT 2>/dev/null; do :; done
exec ip link delete "$1"
"""
_FIREWALL_SEES_BRIDGES = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


@dataclass(frozen=True)
class Bridge:
    """A bridge on this machine, which has the network's first address on it."""

    name: str
    network: IPv4Network

    def cable(self, instance: str) -> str:
        """The name of an instance's cable on this side: at most 15 characters (IFNAMSIZ), the end of the id."""
        return f"nr{number(self.network)}-{instance[-8:]}"

    def plug(self, instance: str, *, connected: bool) -> None:
        """Put the plug of a running host's cable in, or pull it. Raises SandboxError when there is no cable."""
        _ip(["link", "set", self.cable(instance), "up" if connected else "down"])


def name_of(network: IPv4Network) -> str:
    """The name of the network's bridge."""
    return f"nightreel{number(network)}"


@contextmanager
def bridge(network: IPv4Network) -> Iterator[Bridge]:
    """A bridge for as long as the context lasts. Whoever calls has the network to itself; see `server.claimed`."""
    name = name_of(network)
    if name in psutil.net_if_addrs():
        _ip(["link", "delete", name])  # of a sandbox that was killed together with its guard
    if other := in_use(network):
        raise SandboxError(f"{network} is in use on this machine ({other}); choose another 10.N.0.0/16 with --network")
    _ip(["link", "add", name, "type", "bridge", "forward_delay", "0"])
    guard = subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "sh", name], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True, cwd="/",
    )  # fmt: skip
    try:
        _ip(["address", "add", f"{network[1]}/{network.prefixlen}", "dev", name], ["link", "set", name, "up"])
        _pass_firewall(name)
        yield Bridge(name, network)
    finally:
        guard.communicate()  # the end of its input is its signal


def _pass_firewall(name: str) -> None:
    """Let the bridge's own traffic through the machine's firewall, where that sees it; the guard takes it back."""
    try:
        seen = _FIREWALL_SEES_BRIDGES.read_text().strip() == "1"
    except FileNotFoundError:
        return
    if seen and (iptables := shutil.which("iptables")):
        rule = ["FORWARD", "-i", name, "-o", name, "-j", "ACCEPT"]
        done = subprocess.run([iptables, "-w", "-I", *rule], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SandboxError(f"the firewall does not let the hosts reach each other: {done.stderr.strip()}")


def in_use(network: IPv4Network) -> str:
    """What on this machine has addresses or routes in the network; '' when nothing has."""
    routes = subprocess.run(["ip", "-4", "-o", "route", "show"], capture_output=True, text=True, check=False).stdout
    for route in routes.splitlines():
        destination = route.split()[0]
        if destination != "default" and ip_network(destination, strict=False).overlaps(network):
            return route.strip()
    return ""


def lay_cable(bridge_name: str, cable: str, *, address: str, outside: int) -> None:
    """Connect the network namespace that we are in to the bridge in another one, which `outside` is a handle of."""
    there = f"/proc/self/fd/{outside}"  # of whoever reads it, to whom the open file is handed down
    _ip(
        [
            "link",
            "add",
            "eth0",
            "address",
            _hardware_address(address),
            "type",
            "veth",
            "peer",
            "name",
            cable,
            "netns",
            there,
        ],
        ["address", "add", address, "dev", "eth0"],
        ["link", "set", "eth0", "up"],
        ["link", "set", "lo", "up"],
        files=[outside],
    )
    _ip(["link", "set", cable, "master", bridge_name, "up"], prefix=["nsenter", f"--net={there}"], files=[outside])


def _hardware_address(address: str) -> str:
    """Made of the IP address: who inherits one is found at once, whatever its neighbours remember."""
    return ":".join(f"{octet:02x}" for octet in (0x0A, 0x58, *ip_interface(address).ip.packed))


def _ip(*commands: Sequence[str], prefix: Sequence[str] = (), files: Sequence[int] = ()) -> None:
    lines = "".join(" ".join(command) + "\n" for command in commands)
    done = subprocess.run(
        [*prefix, "ip", "-batch", "-"], input=lines, capture_output=True, text=True, check=False, pass_fds=files
    )
    if done.returncode != 0:
        raise SandboxError(f"the network could not be set up by ip(8): {done.stderr.strip()}; asked for:\n{lines}")
