"""From instance states to SSH hosts and back: one reconciler that keeps both true.

An instance is `pending` until its host's SSH banner has been read; a host that ends by itself stops or terminates its
instance. Hosts are tier 1 of the design: processes of this user in a pid namespace of their own, with a home directory
each and one file system between them. Not simulated: security groups' effect, the metadata service, disks, reboots.
"""

import contextlib
import json
import logging
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncssh

from nightreel.sandbox import cloud_init, ssh_host
from nightreel.sandbox.account import DEAD, Account, Instance
from nightreel.sandbox.faults import Fault
from nightreel.sandbox.settings import BAKED_IMAGE
from nightreel.sandbox.ssh_host import HostSpec

LOGIN = "ec2-user"
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_END_TIMEOUT = 10.0  # seconds until a host that does not end is killed

_POWEROFF = """\
#!/bin/sh
# Ends this host of the sandbox, and nothing else.
exec kill -TERM "$(cat '{pid_file}')"
"""
_SHUTDOWN = """\
#!/bin/sh
# Stand-in: `shutdown [-hP] now` powers this host of the sandbox off.
for argument do
    case $argument in now | +0) exec poweroff ;; esac
done
echo "shutdown: the sandbox's hosts know 'shutdown now' only" >&2
exit 1
"""
_SUDO = """\
#!/bin/sh
# Stand-in: runs the command as the login itself; it grants nothing.
while [ $# -gt 0 ]; do
    case $1 in
        --) shift; break ;;
        -u | -g | -U | -p | -h | -C | -D | -r | -t | -T) shift 2 ;;
        -*) shift ;;
        *) break ;;
    esac
done
[ $# -eq 0 ] || exec env "$@"
"""
_SYSTEMCTL = """\
#!/bin/sh
# Stand-in: hosts of the sandbox have no systemd; `systemctl poweroff` alone works.
case " $* " in *" poweroff "* | *" halt "*) exec poweroff ;; esac
echo "systemctl: the sandbox's hosts know 'systemctl poweroff' only" >&2
exit 1
"""


@dataclass(frozen=True)
class Isolation:
    """How a host's processes are kept together: a command that wraps it, and a sentence on what that means."""

    command: tuple[str, ...]
    description: str

    @classmethod
    def detect(cls) -> "Isolation":
        """A pid namespace where the kernel lets us have one, else a child subreaper."""
        flags = ("--pid", "--fork", "--kill-child", "--mount-proc")
        for candidate in (("unshare", *flags), ("unshare", "-U", "-c", *flags)):
            with contextlib.suppress(OSError):
                if subprocess.run([*candidate, "true"], capture_output=True, check=False).returncode == 0:
                    return cls(candidate, "each host has a pid namespace of its own")
        return cls((), "pid namespaces are not permitted here: hosts share one, and are ended by walking their tree")


class Machine:
    """An instance's host through stops and starts: its directory, its keys, and the process while it runs."""

    def __init__(self, directory: Path, instance: Instance, *, public_key: str | None, faults: Sequence[str]) -> None:
        self.directory = directory
        self.home = directory / "home"
        self.answered = False
        self.mute = "mute" in faults
        self._process: subprocess.Popen[bytes] | None = None
        self._address = str(instance.private_ip)
        self._instance = str(instance.id)
        self._first_boot = time.time()
        self._user_data = cloud_init.parse(str(instance.user_data) if instance.user_data else None)
        for folder in (self.home / ".ssh", directory / "tmp", directory / "bin"):
            folder.mkdir(parents=True, mode=0o700)
        self._say(f"instance {instance.id}, image {instance.image_id}, address {self._address}")
        for note in self._user_data.notes:
            self._say(f"cloud-init: {note}")
        self._install_commands()
        self._install_keys(public_key, own_host_key="host-key" not in faults)
        if instance.image_id == BAKED_IMAGE:
            self._bake()

    def _say(self, line: str) -> None:
        with (self.directory / "boot.log").open("a") as log:
            log.write(f"{_utc(time.time())} {line}\n")

    def _install_commands(self) -> None:
        scripts = {"poweroff": _POWEROFF, "shutdown": _SHUTDOWN, "sudo": _SUDO, "systemctl": _SYSTEMCTL}
        for name, text in scripts.items():
            script = self.directory / "bin" / name
            script.write_text(text.replace("{pid_file}", str(self.directory / "host.pid")))
            script.chmod(0o755)

    def _install_keys(self, public_key: str | None, *, own_host_key: bool) -> None:
        authorized = [key for key in (public_key, *self._user_data.authorized_keys) if key]
        (self.home / ".ssh" / "authorized_keys").write_text("".join(f"{key}\n" for key in authorized))
        key = asyncssh.generate_private_key("ssh-ed25519")
        if own_host_key and self._user_data.host_key:
            try:
                key = asyncssh.import_private_key(self._user_data.host_key)
            except asyncssh.KeyImportError as error:
                self._say(f"cloud-init: ignored: ssh_keys.ed25519_private, which is not a key: {error}")
        host_key = self.directory / "host_key"
        host_key.touch(mode=0o600)
        host_key.write_bytes(key.export_private_key())
        self._say(f"host key {key.get_fingerprint()} (ssh-ed25519)")

    def _bake(self) -> None:
        """The image's Spark: the installed distribution, and a Python that has it."""
        spark = find_spec("pyspark")
        if spark is None or not spark.submodule_search_locations:
            self._say("~/spark: pyspark is not installed beside the sandbox, so this image has no Spark")
            return
        (self.home / "spark").symlink_to(spark.submodule_search_locations[0])
        # Not a symbolic link: through one, Python would not find the virtual environment that it belongs to.
        python = self.home / "spark-python"
        python.write_text(f"#!/bin/sh\nexec '{sys.executable}' \"$@\"\n")
        python.chmod(0o755)

    def boot(self, *, port: int, isolation: Isolation) -> None:
        """Start the host's process; its banner comes a moment later."""
        self.answered = False
        spec = HostSpec(
            instance=self._instance, address=self._address, port=port, login=LOGIN, home=str(self.home),
            host_key=str(self.directory / "host_key"), pid_file=str(self.directory / "host.pid"),
            environment=self._environment(), power_offs=self._power_offs(), mute=self.mute,
        )  # fmt: skip
        description = self.directory / "host.json"
        description.write_text(json.dumps(asdict(spec)))
        self._say(f"boot, powers off at {_utc(min(spec.power_offs))}" if spec.power_offs else "boot")
        command = [*isolation.command, sys.executable, "-I", ssh_host.__file__, str(description)]
        with (self.directory / "boot.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=spec.environment, start_new_session=True
            )

    def _environment(self) -> dict[str, str]:
        java = shutil.which("java")
        path = f"{self.directory / 'bin'}:{_SYSTEM_PATH}"
        if java and str(Path(java).parent) not in path.split(":"):
            path += f":{Path(java).parent}"
        return {
            "HOME": str(self.home), "USER": LOGIN, "LOGNAME": LOGIN, "SHELL": "/bin/bash", "LANG": "C.UTF-8",
            "TMPDIR": str(self.directory / "tmp"), "PATH": path,
        }  # fmt: skip

    def _power_offs(self) -> list[float]:
        """The timers armed at this boot: a missed one elapses at once if it is persistent (systemd.timer(5))."""
        now = time.time()
        timers = ((timer.at.timestamp(), timer.persistent) for timer in self._user_data.power_offs)
        return [at for at, persistent in timers if at > (self._first_boot if persistent else now)]

    def exit_code(self) -> int | None:
        """How the host ended by itself; None while it runs."""
        return self._process.poll() if self._process else 0

    def greets(self, port: int) -> bool:
        """Whether the host's SSH banner can be read (of a mute one: whether it listens)."""
        try:
            with socket.create_connection((self._address, port), timeout=0.2) as connection:
                connection.settimeout(1)
                return self.mute or connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def crash(self) -> None:
        """Let the host die at once, as if the power had gone; the reconciler finds out."""
        if self._process and self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(ssh_host.CRASH)
                self._process.stdin.flush()

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
        self._say("off")

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


def _utc(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))


class Hosts(threading.Thread):
    """The reconciler. Whoever changes or reads instance states holds `lock`, so that nobody sees a state too early."""

    def __init__(self, account: Account, directory: Path, *, ssh_port: int, isolation: Isolation) -> None:
        super().__init__(name="reconciler", daemon=True)
        self.lock = threading.RLock()
        self._account = account
        self._directory = directory
        self._ssh_port = ssh_port
        self._isolation = isolation
        self._machines: dict[str, Machine] = {}
        self._faults: dict[str, list[str]] = {}
        self._buried: set[str] = set()
        self._closing = threading.Event()

    def run(self) -> None:
        """Reconcile until closed."""
        while not self._closing.wait(0.05):
            try:
                self._listen_for_banners()
                with self.lock:
                    self.reconcile()
            except Exception:
                logging.exception("the reconciler goes on after this error")

    def expect_fault(self, instance_id: str, fault: Fault) -> None:
        """Let a host that has not been booted yet be a faulty one."""
        self._faults.setdefault(instance_id, []).append(fault.kind)

    def reconcile(self) -> None:
        """Bring hosts and instance states together, once. Hold the lock."""
        instances = list(self._account.instances())
        for instance in instances:
            self._notice_end(instance)
        ended = [instance for instance in instances if instance.state not in ("pending", "running")]
        running = [machine for i in ended if (machine := self._machines.get(i.id)) and machine.running]
        for machine in running:
            machine.order_end()
        for machine in running:
            machine.await_end()
        for instance in instances:
            if instance.state in DEAD and instance.id not in self._buried:
                self._bury(instance)
            elif instance.state == "running":
                self._ensure_booted(instance)

    def _notice_end(self, instance: Instance) -> None:
        """A host that has gone by itself takes its instance along."""
        machine = self._machines.get(instance.id)
        if machine is None or not machine.running or (code := machine.exit_code()) is None:
            return
        if instance.state not in ("pending", "running"):
            return
        if code == ssh_host.POWERED_OFF:
            reason = {"code": "Client.InstanceInitiatedShutdown", "message": "Instance initiated shutdown"}
        else:
            reason = {"code": "Server.InternalError", "message": "The host has died"}
        launching = instance.state == "pending" and not machine.answered
        behaviour = instance.instance_initiated_shutdown_behavior
        self._account.shut_down(instance, terminate=launching or behaviour == "terminate", **reason)

    def _bury(self, instance: Instance) -> None:
        self._buried.add(instance.id)
        self._account.release(instance)
        if machine := self._machines.get(instance.id):
            machine.wipe()

    def _ensure_booted(self, instance: Instance) -> None:
        machine = self._machines.get(instance.id)
        if machine and machine.running:
            return
        instance._state.name, instance._state.code = "pending", 0
        try:
            if machine is None:
                machine = self._machines[instance.id] = Machine(
                    self._directory / instance.id,
                    instance,
                    public_key=self._account.public_key(instance),
                    faults=self._faults.pop(instance.id, ()),
                )
            machine.boot(port=self._ssh_port, isolation=self._isolation)
        except OSError as error:
            logging.exception("the host of %s can not be started", instance.id)
            message = f"The host could not be started: {error}"
            self._account.shut_down(instance, code="Server.InternalError", message=message, terminate=True)

    def _listen_for_banners(self) -> None:
        with self.lock:
            pending = [instance for instance in self._account.instances() if instance.state == "pending"]
        for instance in pending:
            machine = self._machines.get(instance.id)
            if machine and machine.exit_code() is None and machine.greets(self._ssh_port):
                with self.lock:
                    if instance.state == "pending" and machine.running:
                        machine.answered = True
                        instance._state.name, instance._state.code = "running", 16

    def crash(self, instance_id: str) -> bool:
        """Kill a host; False when there is no such running one."""
        with self.lock:
            machine = self._machines.get(instance_id)
            if machine is None or not machine.running:
                return False
            machine.crash()
            return True

    def console(self, instance_id: str) -> str:
        """The boot log of an instance, '' when it has none."""
        log = self._directory / instance_id / "boot.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def view(self) -> list[dict[str, Any]]:
        """Every instance: id, state, address and home."""
        with self.lock:
            return [
                {
                    "id": instance.id,
                    "state": instance.state,
                    "address": instance.private_ip,
                    "home": str(self._directory / instance.id / "home"),
                }
                for instance in self._account.instances()
            ]

    def close(self) -> None:
        """End every host and wait until all are gone."""
        self._closing.set()
        self.join()
        with self.lock:
            running = [machine for machine in self._machines.values() if machine.running]
            for machine in running:
                machine.order_end()
            for machine in running:
                machine.await_end()
