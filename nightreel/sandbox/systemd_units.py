"""Of systemd what a node's user data leans on: timer and service units, `systemd-run`, and how both are written.

Command lines come out as one line for `/bin/sh -c`, after systemd's own unquoting and its own substitutions, which are
made here as they are made there: a script that forgets to write `$$` or `%%` is broken in the sandbox too.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

_ABSOLUTE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC")
_SPAN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zµ]*)")
_SECONDS = {
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec"), 1e-3),
    **dict.fromkeys(("us", "usec", "µs"), 1e-6),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604800.0),
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "s": " ", "\\": "\\", "'": "'", '"': '"'}
_SPECIFIERS = {"%": "%", "h": "/root", "u": "root", "U": "0", "s": "/bin/sh", "t": "/run"}
_RUN_TAKES_VALUE = {  # options of systemd-run(1) whose value may be the next word
    "--unit", "-u", "--property", "-p", "--description", "--slice", "--uid", "--gid", "--nice", "--working-directory",
    "--setenv", "-E", "--service-type", "--on-active", "--on-boot", "--on-startup", "--on-unit-active",
    "--on-unit-inactive", "--on-calendar", "--timer-property", "--path-property", "--host", "-H", "--machine", "-M",
}  # fmt: skip
_RUN_SETTING = {  # options of systemd-run(1) as the timer unit's settings
    "--on-active": "OnActiveSec", "--on-boot": "OnBootSec", "--on-startup": "OnStartupSec",
    "--on-unit-active": "OnUnitActiveSec", "--on-unit-inactive": "OnUnitInactiveSec", "--on-calendar": "OnCalendar",
}  # fmt: skip
_TRUE = ("true", "yes", "on", "1", "y", "t")

Unit = Mapping[str, Mapping[str, Sequence[str]]]
"""Sections, settings, and every value that a setting has been given."""


class NotUnderstoodError(ValueError):
    """The sandbox can not do what this asks for, or systemd would not; the message says what."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When a timer elapses: at a moment, or `delay` seconds after boot and then every `interval` seconds."""

    at: datetime | None = None
    persistent: bool = False
    delay: float | None = None
    interval: float | None = None


@dataclass(frozen=True, kw_only=True)
class Transient:
    """What a `systemd-run` with a timer asks for."""

    schedule: Schedule
    command: str


def read_unit(text: str) -> Unit:
    """The sections of a unit file (systemd.syntax(7)). Raises NotUnderstoodError when it is none."""
    sections: dict[str, dict[str, list[str]]] = {}
    current: dict[str, list[str]] | None = None
    for line in re.sub(r"\\\n", " ", text).splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith(("#", ";")):
            continue
        if header := re.fullmatch(r"\[([^\[\]]+)\]", stripped):
            current = sections.setdefault(header[1], {})
            continue
        name, found, value = stripped.partition("=")
        if current is None or not found:
            raise NotUnderstoodError(f"{stripped[:40]!r} is neither a section nor a setting in one")
        values = current.setdefault(name.strip(), [])
        if value.strip():
            values.append(value.strip())
        else:
            values.clear()  # an empty assignment takes the earlier ones back
    return sections


def schedule(settings: Mapping[str, Sequence[str]]) -> Schedule:
    """When a `[Timer]` section elapses. Raises NotUnderstoodError for what the sandbox or systemd can not honour."""
    if calendar := settings.get("OnCalendar"):
        persistent = settings.get("Persistent", ["no"])[-1].lower() in _TRUE
        return Schedule(at=moment(calendar[-1]), persistent=persistent)
    starts = [settings[name][-1] for name in ("OnBootSec", "OnStartupSec", "OnActiveSec") if settings.get(name)]
    repeats = [settings[name][-1] for name in ("OnUnitActiveSec", "OnUnitInactiveSec") if settings.get(name)]
    if not starts:
        if repeats:
            raise NotUnderstoodError("OnUnitActiveSec alone never elapses the first time: give OnBootSec as well")
        raise NotUnderstoodError("it has no OnCalendar, OnBootSec or OnActiveSec")
    return Schedule(delay=min(map(seconds, starts)), interval=min(map(seconds, repeats)) if repeats else None)


def moment(text: str) -> datetime:
    """An absolute time of systemd.time(7). Raises NotUnderstoodError for any other."""
    match = _ABSOLUTE.fullmatch(text.strip())
    try:
        if match:
            return datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
    except ValueError:  # the thirteenth month
        pass
    raise NotUnderstoodError(f"OnCalendar is {text!r}, not an absolute YYYY-MM-DD HH:MM:SS UTC")


def seconds(text: str) -> float:
    """A time span of systemd.time(7), such as `90`, `10s` or `1min 30s`. Raises NotUnderstoodError for any other."""
    total, position = 0.0, 0
    while position < len(text.rstrip()):
        match = _SPAN.match(text, position)
        if match is None or match[2] not in _SECONDS:
            raise NotUnderstoodError(f"{text!r} is not a span of time")
        total += float(match[1]) * _SECONDS[match[2]]
        position = match.end()
    if position == 0:
        raise NotUnderstoodError("an empty text is not a span of time")
    return total


def exec_start(service: Mapping[str, Sequence[str]]) -> str:
    """The commands of a `[Service]` section as one line for a shell, '' when it has none."""
    return " && ".join(shell_line(line) for line in service.get("ExecStart", ()))


def shell_line(text: str) -> str:
    """A command line of systemd.service(5) as a shell would be given it. Raises NotUnderstoodError."""
    words = split(text)
    if not words:
        raise NotUnderstoodError("ExecStart is empty")
    marks, program = re.fullmatch(r"([-@:+!|]*)(.*)", words[0], re.DOTALL).groups()  # type: ignore[union-attr]
    argv = [_specified(word) for word in (program, *words[1:])]
    if "@" in marks and len(argv) > 1:
        del argv[1]  # the name that the process is to see
    return shlex.join(argv if ":" in marks else substituted(argv))


@dataclass
class _Words:
    """A command line being split."""

    found: list[str] = field(default_factory=list)
    word: str | None = None
    quote: str = ""

    def add(self, text: str) -> None:
        self.word = (self.word or "") + text

    def end(self) -> None:
        if self.word is not None:
            self.found.append(self.word)
        self.word = None

    def take(self, character: str) -> None:
        """One character that no backslash stands before."""
        if self.quote:
            if character == self.quote:
                self.quote = ""
            else:
                self.add(character)
        elif character in "'\"":
            self.quote = character
            self.add("")
        elif character.isspace():
            self.end()
        else:
            self.add(character)


def split(text: str) -> list[str]:
    """The words of a command line by systemd's rules: quotes anywhere, C-like escapes in and out of them."""
    words = _Words()
    position = 0
    while position < len(text):
        character = text[position]
        if character == "\\" and position + 1 < len(text):
            position += 1
            if text[position] not in _ESCAPES:
                raise NotUnderstoodError(f"\\{text[position]} is not an escape that the sandbox knows")
            words.add(_ESCAPES[text[position]])
        else:
            words.take(character)
        position += 1
    if words.quote:
        raise NotUnderstoodError(f"a quote {words.quote} is not closed")
    words.end()
    return words.found


def substituted(argv: Sequence[str]) -> list[str]:
    """The arguments after the service manager's substitutions, for a service without an environment of its own.

    `${NAME}` becomes nothing wherever it stands, `$NAME` only as a word of its own, and `$$` becomes `$`.
    """
    kept = (word for word in argv if not re.fullmatch(r"\$[A-Za-z_]\w*", word))
    return [re.sub(r"\$\$|\$\{[^}]*\}", lambda found: "$" if found[0] == "$$" else "", word) for word in kept]


def _specified(word: str) -> str:
    return re.sub(r"%(.)", lambda found: _SPECIFIERS.get(found[1], found[0]), word, flags=re.DOTALL)


def read_systemd_run(argv: Sequence[str]) -> Transient | None:
    """What a systemd-run command with a timer asks for; None when it has no timer, or is another command.

    Raises NotUnderstoodError when the timer is none that the sandbox or systemd can honour.
    """
    words = list(argv[1:] if argv and argv[0] == "sudo" else argv)
    if not words or words[0].rpartition("/")[2] != "systemd-run":
        return None
    settings: dict[str, list[str]] = {}
    position = 1
    while position < len(words) and words[position].startswith("-"):
        name, found, value = words[position].partition("=")
        position += 1
        if name == "--":
            break
        if not found and name in _RUN_TAKES_VALUE and position < len(words):
            value = words[position]
            position += 1
        if name == "--timer-property":
            name, _, value = value.partition("=")
            settings.setdefault(name, []).append(value)
        elif name in _RUN_SETTING:
            settings.setdefault(_RUN_SETTING[name], []).append(value.strip("'\""))
    if not any(setting in settings for setting in _RUN_SETTING.values()):
        return None
    if position == len(words):
        raise NotUnderstoodError("systemd-run has no command")
    return Transient(schedule=schedule(settings), command=shlex.join(substituted(words[position:])))
