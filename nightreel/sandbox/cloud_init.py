"""The part of cloud-init that the sandbox's hosts honour: keys, timers, and the files and commands of a first boot.

Hosts that are processes honour the keys and the timers; a host with a file system of its own writes the files and runs
the commands for real. What nobody honours is named in the notes, which go to the instance's boot log.
"""

import base64
import gzip
import re
import shlex
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Literal

from nightreel.sandbox.systemd_units import (
    NotUnderstoodError,
    Schedule,
    Unit,
    exec_start,
    read_systemd_run,
    read_unit,
    schedule,
)
from nightreel.sandbox.user_data_parts import Notes, read_parts

_SYSTEMCTL = re.compile(r"(sudo )?(\S*/)?systemctl (?P<before>(--\S+ )*)(?P<verb>[a-z-]+)\b(?P<after>.*)", re.DOTALL)
_NEW_HOST_KEYS = re.compile(r"\bssh-keygen\s+(-\S+\s+)*-A\b")
_RESTARTS_SSHD = re.compile(
    r"\b(restart|try-restart|reload|reload-or-restart)\s+sshd?\b|\bservice sshd? (restart|reload)"
)
_HONOURED = {"ssh_keys", "ssh_authorized_keys", "ssh_deletekeys", "write_files", "runcmd", "bootcmd"}

Boots = Literal["all", "first", "later"]


@dataclass(frozen=True, kw_only=True)
class Timer:
    """A command that the host runs with `/bin/sh -c`, as root where the host has one.

    at: the one moment at which it runs; one that has passed counts only if it is persistent.
    persistent: whether a moment that passed while the host was stopped is caught up with at the next boot.
    delay: seconds after boot until it first runs (of timers without `at`).
    interval: seconds from one run to the next; None: once a boot.
    boots: the boots at which the timer is armed.
    """

    command: str
    at: datetime | None = None
    persistent: bool = False
    delay: float | None = None
    interval: float | None = None
    boots: Boots = "all"


@dataclass(frozen=True, kw_only=True)
class File:
    """An entry of write_files."""

    path: str
    content: bytes
    mode: int = 0o644
    owner: str = "root:root"
    append: bool = False


@dataclass(frozen=True, kw_only=True)
class UserData:
    """What an instance's user data asks for, as far as the sandbox understands it.

    own_host_key: it makes host keys of the host's own, and lets sshd serve them.
    files, boot_commands, first_boot_commands, scripts: for hosts that can do what they say. The commands are lines for
        a shell, run at every boot before SSH answers, and at the first boot after it; scripts are run after them.
    notes: what no host honours, or what would go wrong on a real machine.
    unexecuted: what hosts that are only processes leave out, besides.
    """

    host_key: str | None = None
    authorized_keys: tuple[str, ...] = ()
    own_host_key: bool = False
    timers: tuple[Timer, ...] = ()
    files: tuple[File, ...] = ()
    boot_commands: tuple[str, ...] = ()
    first_boot_commands: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unexecuted: tuple[str, ...] = ()


@dataclass
class _Reading(Notes):
    """The state of one reading: what the parts said so far, and what could not be honoured."""

    files: list[File] = field(default_factory=list)
    units: dict[str, Unit] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    enabled: set[str] = field(default_factory=set)
    timers: list[Timer] = field(default_factory=list)


def parse(raw: str | bytes | None) -> UserData:
    """Read user data: plain text, or base64 of it as RunInstances carries it. Never raises; see `notes` instead."""
    reading = _Reading()
    config, scripts = read_parts(raw or b"", reading)
    for key in config.keys() - _HONOURED:
        reading.ignore(f"{key} (the sandbox does not simulate it)")
    for entry in _items(config, "write_files", reading):
        _write_file(entry, reading)
    boot, first = _commands(config, "bootcmd", reading), _commands(config, "runcmd", reading)
    for line in boot:
        _read_command(line, "all", reading)
    for line in first:
        _read_command(line, "first", reading)
    reading.timers.extend(_enabled_timers(reading))
    return UserData(
        host_key=_host_key(config, reading),
        authorized_keys=tuple(str(line).strip() for line in _items(config, "ssh_authorized_keys", reading)),
        own_host_key=_has_own_host_key([*boot, *first], reading),
        timers=tuple(reading.timers),
        files=tuple(reading.files),
        boot_commands=boot,
        first_boot_commands=first,
        scripts=scripts,
        notes=tuple(reading.notes),
        unexecuted=tuple(reading.unexecuted),
    )


def _items(config: Mapping[str, Any], key: str, reading: _Reading) -> Sequence[Any]:
    value = config.get(key) or []
    if isinstance(value, list):
        return value
    reading.ignore(f"{key}, which is not a list")
    return []


def _host_key(config: Mapping[str, Any], reading: _Reading) -> str | None:
    keys = config.get("ssh_keys") or {}
    if not isinstance(keys, dict):
        reading.ignore("ssh_keys, which is not a mapping")
        return None
    for name in keys.keys() - {"ed25519_private", "ed25519_public"}:
        reading.ignore(f"ssh_keys.{name} (only ed25519 is supported)")
    private = keys.get("ed25519_private")
    return str(private) if private else None


# ---- files and units


def _write_file(entry: Any, reading: _Reading) -> None:
    if not isinstance(entry, dict) or "path" not in entry:
        reading.ignore(f"a write_files entry without a path: {entry!r:.60}")
        return
    path = PurePosixPath(str(entry["path"]))
    try:
        file = File(
            path=str(path),
            content=_content(entry),
            mode=_mode(entry.get("permissions") or 0o644),
            owner=str(entry.get("owner") or "root:root"),
            append=bool(entry.get("append")),
        )
    except (ValueError, OSError, EOFError, zlib.error) as error:
        reading.ignore(f"write_files {path}, which can not be read: {error}")
        return
    reading.files.append(file)
    if path.suffix not in (".timer", ".service"):
        reading.leave_out(f"write_files {path}")
        return
    try:
        reading.units[path.name] = read_unit(file.content.decode(errors="replace"))
    except NotUnderstoodError as error:
        reading.ignore(f"{path.name}, which is not a unit file: {error}")


def _mode(permissions: Any) -> int:
    """A text is octal; YAML has read a number without quotes already."""
    return permissions if isinstance(permissions, int) else int(str(permissions), 8)


def _content(entry: Mapping[Any, Any]) -> bytes:
    data = str(entry.get("content") or "").encode()
    encoding = str(entry.get("encoding") or "").lower()
    if "b64" in encoding or "base64" in encoding:
        data = base64.b64decode(data)
    return gzip.decompress(data) if encoding.startswith(("gz", "gzip")) else data


def _enabled_timers(reading: _Reading) -> Iterator[Timer]:
    for name, unit in sorted(reading.units.items()):
        if not name.endswith(".timer"):
            continue
        settings = unit.get("Timer", {})
        service = settings.get("Unit", [name.removesuffix(".timer") + ".service"])[-1]
        try:
            plan = schedule(settings)
            command = exec_start(reading.units.get(service, {}).get("Service", {}))
        except NotUnderstoodError as error:
            reading.ignore(f"{name}: {error}")
            continue
        if not command:
            reading.ignore(f"{name}: its service {service} has no ExecStart")
        elif (boots := _boots(name, reading)) is None:
            reading.warn(f"nothing enables {name}, so it never elapses, as on a real machine")
        else:
            yield _timer(command, plan, boots)


def _boots(unit: str, reading: _Reading) -> Boots | None:
    if unit in reading.started:
        return "all" if unit in reading.enabled else "first"
    if unit not in reading.enabled:
        return None
    reading.warn(f"{unit} is enabled without --now, so it does not run before the second boot")
    return "later"


def _timer(command: str, plan: Schedule, boots: Boots) -> Timer:
    return Timer(
        command=command, at=plan.at, persistent=plan.persistent, delay=plan.delay, interval=plan.interval, boots=boots
    )


# ---- commands


def _commands(config: Mapping[str, Any], key: str, reading: _Reading) -> tuple[str, ...]:
    """Lines for a shell, as cloud-init makes them of its entries: lists are quoted, texts are taken as they are."""
    entries = _items(config, key, reading)
    return tuple(shlex.join(map(str, entry)) if isinstance(entry, list) else str(entry) for entry in entries)


def _read_command(line: str, boots: Boots, reading: _Reading) -> None:
    """Honour what the commands of a line do to units and timers, and note those that only a real host can run."""
    for command in _simple_commands(line):
        if _NEW_HOST_KEYS.search(command) or _RESTARTS_SSHD.search(command):
            continue
        systemctl = _SYSTEMCTL.fullmatch(command)
        if systemctl and _manage_units(
            systemctl["verb"], f"{systemctl['before']} {systemctl['after']}".split(), reading
        ):
            continue
        if not _run_transient(command, boots, reading):
            reading.leave_out(f"the command {command}")


def _simple_commands(line: str) -> list[str]:
    """The commands of a line for a shell; of a `sh -c` those within."""
    try:
        words = shlex.split(line)
    except ValueError:
        return [line]
    if len(words) == 3 and words[0].rpartition("/")[2] in ("sh", "bash") and re.fullmatch(r"-e?u?x?c", words[1]):
        return _simple_commands(words[2])
    if "systemd-run" in line:  # its command may hold any character
        return [line]
    return [part.strip() for part in re.split(r"&&|\|\||;|\n", line) if part.strip()]


def _manage_units(verb: str, rest: Sequence[str], reading: _Reading) -> bool:
    """Whether the command is about the units that were written, or harmless."""
    units = {word for word in rest if word in reading.units}
    if verb in ("start", "restart") or "--now" in rest:
        reading.started |= units
    if verb in ("enable", "reenable"):
        reading.enabled |= units
    return verb == "daemon-reload" or bool(units)


def _run_transient(command: str, boots: Boots, reading: _Reading) -> bool:
    """Arm the timer of a `systemd-run`; whether the command was one, understood or not."""
    try:
        transient = read_systemd_run(shlex.split(command))
    except NotUnderstoodError as error:
        reading.ignore(f"{command}: {error}")
        return True
    except ValueError:  # a quote that is not closed
        return False
    if transient:
        reading.timers.append(_timer(transient.command, transient.schedule, boots))
    return transient is not None


def _has_own_host_key(lines: Sequence[str], reading: _Reading) -> bool:
    makes = any(map(_NEW_HOST_KEYS.search, lines))
    serves = any(map(_RESTARTS_SSHD.search, lines))
    if makes and not serves:
        reading.warn("`ssh-keygen -A` makes host keys that sshd does not serve before it is restarted")
    return makes and serves
