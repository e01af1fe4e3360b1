"""Commands that a host runs at a moment or again and again, as systemd's timers would."""

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

_LONGEST_WAIT = 5.0  # seconds: the clock may be set while we wait, so look at it now and then

Run = Callable[[str], subprocess.Popen[bytes]]
"""Starts a shell command and does not wait for it."""


@dataclass(frozen=True, kw_only=True)
class Armed:
    """A timer that runs: `due` in seconds since the epoch, then every `interval` seconds if there is one."""

    command: str
    due: float
    interval: float | None = None


class Timers:
    """The timers of one host. Safe for threads; nothing elapses unless somebody is in `run`."""

    def __init__(self, start: Run, *, elapsed: Callable[[str], None] = lambda _: None) -> None:
        """`elapsed` hears the name of a timer before its command is started."""
        self._start = start
        self._elapsed = elapsed
        self._changed = threading.Condition()
        self._armed: dict[str, Armed] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def arm(self, name: str, timer: Armed) -> None:
        """Let a timer run, instead of one of that name that runs already."""
        with self._changed:
            self._armed[name] = timer
            self._changed.notify()

    def disarm(self, name: str) -> None:
        """Let a timer not elapse any more; its command goes on if it runs."""
        with self._changed:
            self._armed.pop(name, None)

    def __contains__(self, name: str) -> bool:
        with self._changed:
            return name in self._armed

    def run(self) -> NoReturn:
        """Start what is due, for ever."""
        while True:
            with self._changed:
                now = time.time()
                next_one = min((timer.due for timer in self._armed.values()), default=now + _LONGEST_WAIT)
                self._changed.wait(max(0.0, min(next_one - now, _LONGEST_WAIT)))
                due = [(name, timer) for name, timer in self._armed.items() if timer.due <= time.time()]
                for name, timer in due:
                    self._elapse(name, timer)

    def _elapse(self, name: str, timer: Armed) -> None:
        if timer.interval is None:
            del self._armed[name]
        else:
            due = time.time() + timer.interval
            self._armed[name] = Armed(command=timer.command, due=due, interval=timer.interval)
        before = self._running.get(name)
        if before is None or before.poll() is not None:  # a unit that is active already is not started twice
            self._elapsed(name)
            self._running[name] = self._start(timer.command)
