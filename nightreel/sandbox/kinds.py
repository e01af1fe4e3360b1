"""The kinds of host that a sandbox can give its instances.

`processes` (the default) needs nothing: an SSH server in Python. `sshd` needs OpenSSH and nss_wrapper, and is the
reference for what a real server does. Both are processes of the sandbox's user: each host has a home directory of its
own and mostly a pid namespace, and all share one file system and one network. `machines` needs root: every host has a
root file system, a network cable, cloud-init, services and sudo of its own.
"""

import base64
import contextlib
import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, replace
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path

import asyncssh

from nightreel.sandbox import rootfs, stand_ins
from nightreel.sandbox.bridge import bridge
from nightreel.sandbox.images import USER_ID, Images, hidden_paths
from nightreel.sandbox.machine import LOGIN, Kind, Machine, Program, no_cable
from nightreel.sandbox.machine_host import SOCKET, CloudInit, MachineSpec
from nightreel.sandbox.settings import PLAIN_IMAGE, SandboxError, Settings
from nightreel.sandbox.sshd_host import PROGRAM as SSHD

_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_NAMESPACES = ("unshare", "--pid", "--mount", "--net", "--uts", "--ipc", "--fork", "--kill-child")
_INSTALL = "install what is missing with .setup/hosts, or: apt-get install openssh-server libnss-wrapper sudo iproute2"
_ABSOLUTE_STAND_IN = re.compile(r"(?<![\w./-])(/usr)?/s?bin/(?=(systemctl|poweroff|shutdown|halt)\b)")


def kind_of_host(settings: Settings) -> Kind:
    """The kind that the settings ask for, ready to be used. Raises SandboxError, saying what is missing for it."""
    if missing := missing_for(settings.hosts):
        raise SandboxError(f"hosts of the kind {settings.hosts!r} can not be had here: {missing}")
    if settings.hosts == "machines":
        return Machines(settings)
    return Processes() if settings.hosts == "processes" else SshdHosts()


def missing_for(hosts: str) -> str:
    """What this machine lacks for a kind of host, in a sentence; '' when it lacks nothing."""
    if hosts == "processes":
        return ""
    programs = {"sshd": [SSHD], "machines": [SSHD, "unshare", "nsenter", "ip", "sudo"]}[hosts]
    missing = [name for name in programs if shutil.which(name, path=f"{os.defpath}:{_SYSTEM_PATH}") is None]
    if hosts == "sshd" and not _has_nss_wrapper():
        missing.append("libnss_wrapper.so")
    if missing:
        return f"{', '.join(missing)} not found; {_INSTALL}"
    if hosts == "machines" and os.geteuid() != 0:
        return "they need root; start the sandbox as root, or choose the hosts 'sshd' or 'processes'"
    if hosts == "machines" and not _unshares([*_NAMESPACES, "--mount-proc"]):
        return "this machine permits no namespaces, even to root: in a container, run it privileged"
    return ""


def _has_nss_wrapper() -> bool:
    """The dynamic linker says on standard error when it can not preload a library, and goes on."""
    environment = {"LD_PRELOAD": "libnss_wrapper.so", "PATH": _SYSTEM_PATH}
    done = subprocess.run(["/bin/true"], env=environment, capture_output=True, check=False)
    return not done.stderr


def _unshares(command: list[str]) -> bool:
    with contextlib.suppress(OSError):
        return subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    return False


# ---- hosts that are processes


class Processes:
    """Hosts with an SSH server in Python."""

    module = "nightreel.sandbox.ssh_host"

    def __init__(self) -> None:
        flags = ("--pid", "--fork", "--kill-child", "--mount-proc")
        candidates = (("unshare", *flags), ("unshare", "-U", "-c", *flags))
        self._wrapper = next((candidate for candidate in candidates if _unshares([*candidate])), ())
        self.description = (
            "each host has a pid namespace of its own"
            if self._wrapper
            else "pid namespaces are not permitted here: hosts share one, and are ended by walking their tree"
        )

    def home(self, directory: Path) -> Path:
        """Implements Kind."""
        return directory / "home"

    def prepare(self, machine: Machine) -> None:
        """Implements Kind: folders, stand-ins, keys, and the image's Spark."""
        for folder in (machine.home / ".ssh", machine.directory / "tmp", machine.directory / "bin"):
            folder.mkdir(parents=True, mode=0o700)
        for note in machine.user_data.unexecuted:
            machine.say(f"cloud-init: {note}")
        for name, text in stand_ins.for_processes(str(machine.pid_file)).items():
            _write_program(machine.directory / "bin" / name, text)
        keys = "".join(f"{key}\n" for key in machine.authorized_keys)
        (machine.home / ".ssh" / "authorized_keys").write_text(keys)
        self._make_host_keys(machine)
        if machine.image != PLAIN_IMAGE:
            _bake(machine)

    def _make_host_keys(self, machine: Machine) -> None:
        key = machine.host_key or _new_key("ssh-ed25519")
        keys = {"host_key": key}
        if machine.user_data.own_host_key:
            keys["host_key_ecdsa"] = _new_key("ecdsa-sha2-nistp256")
        for name, text in keys.items():
            file = machine.directory / name
            file.touch(mode=0o600)
            file.write_text(text)
            machine.say(f"host key {asyncssh.import_private_key(text).get_fingerprint()} ({name})")

    def program(self, machine: Machine) -> Program:
        """Implements Kind."""
        timers = {
            name: replace(timer, command=_ABSOLUTE_STAND_IN.sub("", timer.command))
            for name, timer in machine.timers().items()  # never this machine's own systemctl, whatever they say
        }
        return Program(
            module=self.module,
            wrapper=self._wrapper,
            spec={
                "host_keys": sorted(map(str, machine.directory.glob("host_key*"))),
                "environment": _environment(machine),
                "timers": {name: asdict(timer) for name, timer in timers.items()},
                "stamps": str(machine.stamps),
            },
        )

    def plug(self, machine: Machine, *, connected: bool) -> None:
        """Implements Kind."""
        raise no_cable("processes")

    def close(self) -> None:
        """Implements Kind."""


class SshdHosts(Processes):
    """Hosts with OpenSSH's own server, run by the sandbox's user."""

    module = "nightreel.sandbox.sshd_host"

    def plug(self, machine: Machine, *, connected: bool) -> None:
        """Implements Kind."""
        raise no_cable("sshd")


def _new_key(algorithm: str) -> str:
    return asyncssh.generate_private_key(algorithm).export_private_key().decode()


def _environment(machine: Machine) -> dict[str, str]:
    java = shutil.which("java")
    path = f"{machine.directory / 'bin'}:{_SYSTEM_PATH}"
    if java and str(Path(java).parent) not in path.split(":"):
        path += f":{Path(java).parent}"
    return {
        "HOME": str(machine.home), "USER": LOGIN, "LOGNAME": LOGIN, "SHELL": "/bin/bash", "LANG": "C.UTF-8",
        "TMPDIR": str(machine.directory / "tmp"), "PATH": path,
    }  # fmt: skip


def _bake(machine: Machine) -> None:
    """The image's Spark: the installed distribution, and a Python that has it."""
    spark = find_spec("pyspark")
    if spark is None or not spark.submodule_search_locations:
        machine.say("~/spark: pyspark is not installed beside the sandbox, so this image has no Spark")
        return
    (machine.home / "spark").symlink_to(spark.submodule_search_locations[0])
    # Not a symbolic link: through one, Python would not find the virtual environment that it belongs to.
    _write_program(machine.home / "spark-python", f"#!/bin/sh\nexec '{sys.executable}' \"$@\"\n")


def _write_program(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)


# ---- hosts in namespaces


class Machines:
    """Hosts with everything of their own but the kernel, on a bridge of the sandbox's own."""

    description = "each host has a root file system, a network and a service manager of its own"

    def __init__(self, settings: Settings) -> None:
        self._state = settings.state
        self._network = settings.network
        self._instances = settings.state / "instances"
        self._instances.mkdir(exist_ok=True)
        _require_overlay(settings.state)
        self._images = Images(settings.state / "images", login=LOGIN, socket=SOCKET)
        self._held = ExitStack()
        self._bridge = self._held.enter_context(bridge(settings.network))
        self._outside = os.open("/proc/self/ns/net", os.O_RDONLY)
        self._held.callback(os.close, self._outside)
        self._names = self._instances / "hosts"
        self._names.write_text("127.0.0.1 localhost\n")

    def home(self, directory: Path) -> Path:
        """Implements Kind."""
        return directory / "home" / LOGIN

    def prepare(self, machine: Machine) -> None:
        """Implements Kind: the image's scripts and links in the home directory."""
        if (
            machine.address not in map(str, [ip_address(machine.address)])
            or ip_address(machine.address) not in self._network
        ):
            raise OSError(f"{machine.address} is not in this sandbox's network {self._network}")
        machine.home.mkdir(parents=True)
        for name, text in self._images.home(_image(machine)).items():
            if text.startswith("-> "):
                (machine.home / name).symlink_to(text.removeprefix("-> "))
            else:
                _write_program(machine.home / name, text)
            os.chown(machine.home / name, USER_ID, USER_ID, follow_symlinks=False)
        machine.home.chmod(0o700)

    def program(self, machine: Machine) -> Program:
        """Implements Kind."""
        name = f"ip-{machine.address.replace('.', '-')}"
        line = f"{machine.address} {name}.ec2.internal {name}\n"
        if line not in self._names.read_text():
            with self._names.open("a") as names:
                names.write(line)
        layers = [os.path.relpath(layer, machine.directory) for layer in self._images.layers(_image(machine))]
        root = rootfs.RootPlan(
            disk=str(machine.directory), layers=layers, read_only=self._images.read_only,
            hidden=hidden_paths(self._state, self._images.interpreter), files={"/etc/hosts": str(self._names)},
        )  # fmt: skip
        spec = MachineSpec(
            hostname=f"{name}.ec2.internal", root=asdict(root), bridge=self._bridge.name,
            cable=self._bridge.cable(machine.id), prefix_length=self._network.prefixlen, outside=self._outside,
            cloud_init=asdict(_cloud_init(machine)),
        )  # fmt: skip
        return Program(
            module="nightreel.sandbox.machine_host",
            wrapper=_NAMESPACES,
            files=[self._outside],
            spec={"machine": asdict(spec), "pid_file": "/run/init.pid"},
        )

    def plug(self, machine: Machine, *, connected: bool) -> None:
        """Implements Kind."""
        self._bridge.plug(machine.id, connected=connected)

    def close(self) -> None:
        """Implements Kind."""
        self._held.close()


def _image(machine: Machine) -> str:
    return "plain" if machine.image == PLAIN_IMAGE else "baked"


def _cloud_init(machine: Machine) -> CloudInit:
    data = machine.user_data
    return CloudInit(
        host_key=machine.host_key,
        authorized_keys=machine.authorized_keys,
        files=[{**asdict(file), "content": base64.b64encode(file.content).decode()} for file in data.files],
        boot_commands=data.boot_commands,
        first_boot_commands=data.first_boot_commands,
        scripts=data.scripts,
    )


def _require_overlay(state: Path) -> None:
    """SandboxError where disks of hosts can not lie, as on a file system that is an overlay itself."""
    trial = state / "trial"
    shutil.rmtree(trial, ignore_errors=True)
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PATH": _SYSTEM_PATH}
    command = ["unshare", "--mount", sys.executable, "-P", "-m", "nightreel.sandbox.rootfs", str(trial)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    shutil.rmtree(trial, ignore_errors=True)
    if done.returncode != 0:
        raise SandboxError(
            f"the hosts' disks can not lie below {state} ({done.stderr.strip()}); choose a folder on an ordinary file "
            "system with --state"
        )
