"""The part of cloud-init that the sandbox's hosts honour: keys, and timers that power the host off.

Everything else in a `#cloud-config` is named in the notes, which go to the instance's boot log, and is otherwise
ignored.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import yaml

_ABSOLUTE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC")
_POWERS_OFF = re.compile(r"(^|[\s/])(systemctl (--\S+ )*poweroff|poweroff|shutdown (-\S+ )*now)\b")
_ENABLES = re.compile(r"^(sudo )?(\S*/)?systemctl (--\S+ )*(enable|start|restart|reenable)\b")
_TRANSIENT = re.compile(r"^(sudo )?(\S*/)?systemd-run\b.*--on-calendar[= ]'?\"?(?P<when>[^'\"]*?UTC)")
_HONOURED = {"ssh_keys", "ssh_authorized_keys", "ssh_deletekeys", "write_files", "runcmd", "bootcmd"}


@dataclass(frozen=True, kw_only=True)
class PowerOff:
    """A moment at which the host powers itself off; a persistent one is caught up with when the host was stopped."""

    at: datetime
    persistent: bool


@dataclass(frozen=True, kw_only=True)
class UserData:
    """What an instance's user data asks for, as far as the sandbox understands it."""

    host_key: str | None = None
    authorized_keys: tuple[str, ...] = ()
    power_offs: tuple[PowerOff, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class _Reading:
    """The state of one reading: the files written so far, and what could not be honoured."""

    notes: list[str] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)
    power_offs: list[PowerOff] = field(default_factory=list)

    def ignore(self, what: str) -> None:
        self.notes.append(f"ignored: {what}")


def parse(raw: str | bytes | None) -> UserData:
    """Read user data: plain text, or base64 of it as RunInstances carries it. Never raises; see `notes` instead."""
    reading = _Reading()
    text = _decode(raw or b"", reading)
    if not text.strip():
        return UserData(notes=tuple(reading.notes))
    config = _config(text, reading)
    for key in config.keys() - _HONOURED:
        reading.ignore(f"{key} (the sandbox does not simulate it)")
    for entry in _items(config, "write_files", reading):
        _write_file(entry, reading)
    commands = [(key, entry) for key in ("bootcmd", "runcmd") for entry in _items(config, key, reading)]
    enabled = _run_commands(commands, reading)
    reading.power_offs.extend(_timers(reading, enabled))
    return UserData(
        host_key=_host_key(config, reading),
        authorized_keys=tuple(str(line).strip() for line in _items(config, "ssh_authorized_keys", reading)),
        power_offs=tuple(reading.power_offs),
        notes=tuple(reading.notes),
    )


def _decode(raw: str | bytes, reading: _Reading) -> str:
    data = raw.encode() if isinstance(raw, str) else raw
    for depth in range(2):
        if data.lstrip().startswith((b"#", b"Content-Type:", b"\x1f\x8b")) or not data.strip():
            break
        try:
            data = base64.b64decode(b"".join(data.split()), validate=True)
        except binascii.Error:
            break
        if depth:
            reading.notes.append("warning: the user data was base64-encoded twice; boto3 encodes it by itself")
    return data.decode(errors="replace")


def _config(text: str, reading: _Reading) -> dict[str, Any]:
    if not text.startswith("#cloud-config"):
        reading.ignore(f"user data that does not begin with #cloud-config but with {text[:20]!r}")
        return {}
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reading.ignore(f"user data that is not YAML: {error}")
        return {}
    if not isinstance(config, dict):
        reading.ignore("a #cloud-config that is not a mapping")
        return {}
    return {str(key): value for key, value in config.items()}


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


def _write_file(entry: Any, reading: _Reading) -> None:
    if not isinstance(entry, dict) or "path" not in entry:
        reading.ignore(f"a write_files entry without a path: {entry!r:.60}")
        return
    path = PurePosixPath(str(entry["path"]))
    content = entry.get("content") or ""
    if path.suffix not in (".timer", ".service"):
        reading.ignore(f"write_files {path} (only systemd timers and their services are understood)")
        return
    if entry.get("encoding") in ("b64", "base64"):
        try:
            content = base64.b64decode(str(content)).decode(errors="replace")
        except ValueError:
            reading.ignore(f"write_files {path}, whose content is not base64")
    reading.units[path.name] = str(content)


def _run_commands(commands: Sequence[tuple[str, Any]], reading: _Reading) -> set[str]:
    """The units that the commands enable or start; other commands are noted, since no host runs them."""
    enabled: set[str] = set()
    for key, entry in commands:
        command = " ".join(map(str, entry)) if isinstance(entry, list) else str(entry)
        transient = _TRANSIENT.match(command)
        if _ENABLES.match(command):
            enabled.update(word for word in command.split() if word in reading.units)
        elif transient and _POWERS_OFF.search(command) and (when := _moment(transient["when"])):
            reading.power_offs.append(PowerOff(at=when, persistent=False))
        elif not re.fullmatch(r"(sudo )?(\S*/)?systemctl daemon-reload", command):
            reading.ignore(f"{key}: {command}")
    return enabled


def _timers(reading: _Reading, enabled: set[str]) -> Iterator[PowerOff]:
    for name in sorted(unit for unit in reading.units if unit.endswith(".timer")):
        timer = _section(reading.units[name], "Timer", reading, name)
        service = timer.get("Unit", name.removesuffix(".timer") + ".service")
        command = _section(reading.units.get(service, ""), "Service", reading, service).get("ExecStart", "")
        moment = _moment(timer.get("OnCalendar", ""))
        if not _POWERS_OFF.search(command):
            reading.ignore(f"{name}: its service does not power the host off")
        elif moment is None:
            reading.ignore(f"{name}: OnCalendar is not an absolute YYYY-MM-DD HH:MM:SS UTC")
        elif name not in enabled:
            reading.notes.append(f"warning: nothing enables {name}, so it never elapses, as on a real machine")
        else:
            yield PowerOff(at=moment, persistent=timer.get("Persistent", "no").lower() in ("true", "yes", "on", "1"))


def _section(text: str, section: str, reading: _Reading, name: str) -> Mapping[str, str]:
    unit = ConfigParser(interpolation=None, strict=False, delimiters=("=",))
    # Names in unit files keep their case; replacing the method is how configparser documents it.
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        unit.read_string(text)
    except ConfigError as error:
        reading.ignore(f"{name}, which is not a unit file: {error}")
    return unit[section] if unit.has_section(section) else {}


def _moment(text: str) -> datetime | None:
    match = _ABSOLUTE.fullmatch(text.strip())
    try:
        return datetime.fromisoformat(match[1]).replace(tzinfo=UTC) if match else None
    except ValueError:  # the thirteenth month
        return None
