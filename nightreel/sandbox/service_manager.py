"""The service manager of a host in namespaces: what systemctl, systemd-run and poweroff do on it.

It knows sshd, services with an ExecStart, and timers, as far as systemd.service(5), systemd.timer(5) and systemd-run(1)
go for user data like ours. The commands on the host are stand-ins that hand their arguments over a socket.
"""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nightreel.sandbox.sshd_host import Sshd
from nightreel.sandbox.systemd_units import (
    NotUnderstoodError,
    Schedule,
    exec_start,
    read_systemd_run,
    read_unit,
    schedule,
)
from nightreel.sandbox.timers import Armed, Timers

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
UNITS = Path("/etc/systemd/system")
_WANTED = UNITS / "multi-user.target.wants"
_STAMPS = Path("/var/lib/systemd/timers")
_SSHD = ("ssh.service", "sshd.service", "ssh.socket", "sshd.socket")


class UnitError(Exception):
    """A request that is refused; `code` is the exit code of the command."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Reply:
    """What a command prints, and how it ends."""

    output: str = ""
    code: int = 0


class ServiceManager:
    """The units of one host, from this boot on."""

    def __init__(self, sshd: Sshd) -> None:
        self.timers = Timers(_start, elapsed=self._stamp)
        self._sshd = sshd
        self._services: dict[str, subprocess.Popen[bytes]] = {}

    def start_enabled(self) -> None:
        """What was enabled at an earlier boot starts at this one."""
        for link in sorted(_WANTED.glob("*")):
            self._start_unit(link.name)

    def answer(self, arguments: Sequence[str], *, root: bool) -> Reply:
        """Do what a command with these arguments, its own name the first of them, is for."""
        name, *rest = arguments
        commands = {"systemctl": self._systemctl, "systemd-run": self._systemd_run, "shutdown": self._shutdown}
        try:
            if not root and "is-active" not in rest:
                raise UnitError(f"{name}: interactive authentication required; use sudo")
            if name in commands:
                return commands[name](rest)
            return self._power(name)
        except UnitError as error:
            return Reply(f"{error}\n", error.code)
        except NotUnderstoodError as error:
            return Reply(f"{name}: {error}\n", 1)

    # ---- the commands

    def _systemctl(self, arguments: Sequence[str]) -> Reply:
        verb, *units = [word for word in arguments if not word.startswith("-")] or [""]
        if verb in ("poweroff", "halt", "reboot"):
            return self._power(verb)
        if verb in ("daemon-reload", "daemon-reexec", "reset-failed"):
            return Reply()
        verbs = {
            "start": self._start_unit, "stop": self._stop_unit, "restart": self._restart_unit,
            "try-restart": self._restart_unit, "reload": self._restart_unit, "reload-or-restart": self._restart_unit,
            "enable": self._enable_unit, "disable": self._disable_unit,
            "is-active": self._report, "status": self._report,
        }  # fmt: skip
        if verb not in verbs or not units:
            known = ", ".join([*verbs, "poweroff", "daemon-reload"])
            raise UnitError(f"systemctl {' '.join(arguments)}: not simulated; this host knows, with units: {known}")
        for unit in map(_full_name, units):
            if verb == "disable" and "--now" in arguments:
                self._stop_unit(unit)
            verbs[verb](unit)
            if verb == "enable" and "--now" in arguments:
                self._start_unit(unit)
        return Reply("active\n" if verb in ("is-active", "status") else "")

    def _systemd_run(self, arguments: Sequence[str]) -> Reply:
        transient = read_systemd_run(["systemd-run", *arguments])
        if transient is None:
            raise UnitError("systemd-run: not simulated without a timer; start a service, or give --on-active")
        named = re.search(r"(?:--unit|-u)[= ](\S+)", " ".join(arguments))
        unit = (named[1].removesuffix(".timer") if named else f"run-{os.urandom(4).hex()}") + ".timer"
        if unit in self.timers:
            raise UnitError(f"Failed to start transient timer unit: Unit {unit} was already loaded.")
        self._arm(unit, transient.schedule, transient.command)
        return Reply(f"Running timer as unit: {unit}\n")

    def _shutdown(self, arguments: Sequence[str]) -> Reply:
        words = [word for word in arguments if not word.startswith("-")]
        if "-c" in arguments:
            self.timers.disarm("shutdown")
        elif "-r" in arguments:
            return self._power("reboot")
        elif not words or words[0] in ("now", "+0"):
            return self._power("poweroff")
        elif re.fullmatch(r"\+?\d+", words[0]):
            due = time.time() + 60 * int(words[0])
            self.timers.arm("shutdown", Armed(command="poweroff", due=due))
        else:
            raise UnitError(f"shutdown {words[0]}: not simulated; this host knows now, +MINUTES and -c")
        return Reply()

    def _power(self, name: str) -> Reply:
        if name == "reboot":
            raise UnitError("reboot: not simulated; stop and start the instance")
        os.kill(1, signal.SIGTERM)
        return Reply()

    # ---- units

    def _start_unit(self, unit: str) -> None:
        if unit in _SSHD:
            self._sshd.start()
        elif unit.endswith(".timer"):
            timer = _section(unit, "Timer")
            service = timer.get("Unit", [unit.removesuffix(".timer") + ".service"])[-1]
            self._arm(unit, schedule(timer), _command(service))
        else:
            process = self._services[unit] = _start(_command(unit))
            if "oneshot" in _section(unit, "Service").get("Type", ()) and process.wait() != 0:
                raise UnitError(f"Job for {unit} failed because the control process exited with error code.")

    def _stop_unit(self, unit: str) -> None:
        self.timers.disarm(unit)
        if unit in _SSHD:
            self._sshd.stop()
        elif process := self._services.pop(unit, None):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)

    def _restart_unit(self, unit: str) -> None:
        self._stop_unit(unit)
        self._start_unit(unit)

    def _enable_unit(self, unit: str) -> None:
        if unit not in _SSHD:
            _section(unit, "Install")
            _WANTED.mkdir(parents=True, exist_ok=True)
            (_WANTED / unit).unlink(missing_ok=True)
            (_WANTED / unit).symlink_to(UNITS / unit)

    def _disable_unit(self, unit: str) -> None:
        (_WANTED / unit).unlink(missing_ok=True)

    def _report(self, unit: str) -> None:
        process = self._services.get(unit)
        active = unit in self.timers or (self._sshd.running if unit in _SSHD else process and process.poll() is None)
        if not active:
            raise UnitError("inactive", code=3)

    # ---- timers

    def _arm(self, unit: str, plan: Schedule, command: str) -> None:
        if plan.at is None:
            due = time.time() + (plan.delay or 0)
        elif plan.at.timestamp() > self._known_since(unit, persistent=plan.persistent):
            due = plan.at.timestamp()
        else:
            return  # it has passed, and nobody was to catch up with it
        self.timers.arm(unit, Armed(command=command, due=due, interval=plan.interval))

    def _known_since(self, unit: str, *, persistent: bool) -> float:
        """The moment after which the timer has missed nothing yet."""
        if not persistent:
            return time.time()
        if not _stamp_of(unit).exists():
            self._stamp(unit)
        return _stamp_of(unit).stat().st_mtime

    @staticmethod
    def _stamp(unit: str) -> None:
        """Note when a timer elapsed, from which a persistent one knows later what it has missed."""
        _STAMPS.mkdir(parents=True, exist_ok=True)
        _stamp_of(unit).touch()


def _start(command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", command], env=ENVIRONMENT, stdin=subprocess.DEVNULL, start_new_session=True
    )


def _stamp_of(unit: str) -> Path:
    return _STAMPS / f"stamp-{unit}"


def _full_name(unit: str) -> str:
    return unit if re.search(r"\.(service|timer|socket)$", unit) else f"{unit}.service"


def _section(unit: str, section: str) -> Mapping[str, Sequence[str]]:
    file = UNITS / unit
    if not file.exists():
        raise UnitError(f"Unit {unit} not found.", code=5)
    return read_unit(file.read_text()).get(section, {})


def _command(service: str) -> str:
    command = exec_start(_section(service, "Service"))
    if not command:
        raise UnitError(f"{service}: Service has no ExecStart= setting. Refusing.")
    return command
