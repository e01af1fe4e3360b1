"""A host of the kind `machines`: namespaces, a root file system, a network cable, cloud-init, services, OpenSSH.

Run as root, as process 1 of fresh namespaces: `python -m nightreel.sandbox.machine_host host.json`. It moves into the
host's own root file system before anything of the instance is run.
"""

import base64
import json
import logging
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from nightreel.sandbox import bridge, rootfs
from nightreel.sandbox.init import DROP_SIGNAL, HostSpec, Init, part, stay_mute
from nightreel.sandbox.service_manager import ENVIRONMENT, Reply, ServiceManager
from nightreel.sandbox.sshd_host import Sshd, configuration

SOCKET = "/run/sandbox.sock"
_SSHD_CONFIG = Path("/etc/ssh/sshd_config")
_HOST_KEYS = {kind: Path(f"/etc/ssh/ssh_host_{kind}_key") for kind in ("ecdsa", "ed25519")}
_ONCE = Path("/var/lib/cloud/instance/boot-finished")


@dataclass(frozen=True, kw_only=True)
class CloudInit:
    """What cloud-init does on this host."""

    host_key: str | None = None
    """The private ed25519 key; without one the host makes its own keys."""
    authorized_keys: Sequence[str] = ()
    files: Sequence[Mapping[str, Any]] = ()
    """The members of a `cloud_init.File` each, with `content` in base64."""
    boot_commands: Sequence[str] = ()
    """Lines for a shell, run at every boot before anything else."""
    first_boot_commands: Sequence[str] = ()
    """Lines for a shell, run at the first boot when SSH answers."""
    scripts: Sequence[str] = ()
    """Run after them."""


@dataclass(frozen=True, kw_only=True)
class MachineSpec:
    """What a host of this kind is told besides what every host is."""

    hostname: str
    root: Mapping[str, Any]
    """Of a `rootfs.RootPlan`."""
    bridge: str
    cable: str
    prefix_length: int
    outside: int
    """An open file: the network namespace of the bridge."""
    cloud_init: Mapping[str, Any] = field(default_factory=dict)
    """Of a `CloudInit`."""


def main() -> NoReturn:
    """Be the host of the description that the first argument names."""
    spec = HostSpec.read(sys.argv[1])
    assert spec.machine is not None
    machine = MachineSpec(**spec.machine)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")  # to the boot log
    bridge.lay_cable(
        machine.bridge, machine.cable, address=f"{spec.address}/{machine.prefix_length}", outside=machine.outside
    )
    os.close(machine.outside)
    socket.sethostname(machine.hostname)
    rootfs.enter(rootfs.RootPlan(**machine.root))
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    os.umask(0o022)
    manager = part("the service manager", lambda: _Manager(spec, CloudInit(**machine.cloud_init)).run())
    Init(pid_file=spec.pid_file, ssh_server=manager).run()


class _Manager:
    """Everything that runs before and beside the host's own work."""

    def __init__(self, spec: HostSpec, cloud_init: CloudInit) -> None:
        self._spec = spec
        self._cloud_init = cloud_init
        self._sshd = Sshd(str(_SSHD_CONFIG), environment=ENVIRONMENT)
        self._services = ServiceManager(self._sshd)

    def run(self) -> NoReturn:
        """Boot, in cloud-init's order: boot commands; at the first boot keys and files; SSH; first boot commands."""
        signal.signal(DROP_SIGNAL, lambda *_: self._sshd.drop_sessions())
        self._listen()
        threading.Thread(target=self._services.timers.run, daemon=True).start()
        for line in self._cloud_init.boot_commands:
            _run("bootcmd", ["/bin/sh", "-c", line])
        first = not _ONCE.exists()
        if first:
            self._configure()
        self._services.start_enabled()
        if self._spec.mute:
            threading.Thread(target=stay_mute, args=[self._spec], daemon=True).start()
        else:
            self._sshd.start()
        if first:
            self._finish_first_boot()
        while True:
            signal.pause()

    def _finish_first_boot(self) -> None:
        for line in self._cloud_init.first_boot_commands:
            _run("runcmd", ["/bin/sh", "-c", line])
        for number, text in enumerate(self._cloud_init.scripts, 1):
            script = _ONCE.parent / f"scripts/part-{number:03}"
            _write(script, text.encode(), mode=0o700)
            _run("scripts-user", [str(script)])
        _ONCE.parent.mkdir(parents=True, exist_ok=True)
        _ONCE.touch()

    def _configure(self) -> None:
        Path("/etc/hostname").write_text(socket.gethostname() + "\n")
        if self._cloud_init.host_key:
            given = _HOST_KEYS["ed25519"]
            _write(given, self._cloud_init.host_key.encode(), mode=0o600)
            _run("ssh_keys", ["/bin/sh", "-c", f"ssh-keygen -y -f {given} >{given}.pub"])
        else:
            for kind, key in _HOST_KEYS.items():
                _run("ssh_keys", ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(key)])
        _write(_SSHD_CONFIG, configuration(port=self._spec.port).encode(), mode=0o644)
        self._authorize()
        for file in self._cloud_init.files:
            content = base64.b64decode(file["content"])
            before = Path(file["path"]).read_bytes() if file["append"] and Path(file["path"]).exists() else b""
            _write(Path(file["path"]), before + content, mode=file["mode"])
            user, _, group = file["owner"].partition(":")
            shutil.chown(file["path"], user or "root", group or "root")

    def _authorize(self) -> None:
        login = pwd.getpwnam(self._spec.login)
        home = Path(login.pw_dir)
        for folder in (home, home / ".ssh"):
            folder.mkdir(mode=0o700, exist_ok=True)
        keys = "".join(f"{key}\n" for key in self._cloud_init.authorized_keys)
        _write(home / ".ssh" / "authorized_keys", keys.encode(), mode=0o600)
        for path in (home, home / ".ssh", home / ".ssh" / "authorized_keys"):
            os.chown(path, login.pw_uid, login.pw_gid)

    def _listen(self) -> None:
        """Answer the stand-ins of systemctl and its like, each caller in a thread of its own."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(SOCKET)
        os.chmod(SOCKET, 0o666)  # noqa: S103 (everybody may ask; the answer depends on who)
        listener.listen()

        def accept() -> None:
            while True:
                threading.Thread(target=self._answer, args=[listener.accept()[0]], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    def _answer(self, caller: socket.socket) -> None:
        with caller, caller.makefile("rw") as stream:
            credentials = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            _, user, _ = struct.unpack("3i", credentials)
            try:
                reply = self._services.answer(json.loads(stream.readline()), root=user == 0)
            except (OSError, ValueError) as error:
                logging.exception("a request failed")
                reply = Reply(f"{error}\n", 1)
            stream.write(json.dumps([reply.output, reply.code]) + "\n")


def _write(path: Path, content: bytes, *, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)
    path.chmod(mode)


def _run(name: str, command: Sequence[str]) -> None:
    """Run a command of cloud-init's; its output goes to the boot log, and its failure stops nothing."""
    try:
        code = subprocess.run(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        logging.warning("cloud-init: %s: %s", name, error)
        return
    if code != 0:
        logging.warning("cloud-init: %s: exit code %d: %s", name, code, " ".join(command))


if __name__ == "__main__":
    main()
