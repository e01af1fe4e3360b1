"""Commands that a host runs at a moment or again and again."""

import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from nightreel.sandbox.timers import Armed, Timers


@pytest.fixture
def started() -> list[str]:
    """The commands that were started, in their order."""
    return []


@pytest.fixture
def make_timers(started: list[str]) -> Callable[..., Timers]:
    """Timers that are being run, and whose commands run for `lasting` seconds."""

    def make(*, lasting: int = 0) -> Timers:
        def start(command: str) -> subprocess.Popen[bytes]:
            started.append(command)
            return subprocess.Popen(["sleep", str(lasting)])

        timers = Timers(start)
        threading.Thread(target=timers.run, daemon=True).start()
        return timers

    return make


def test_moment_that_has_passed_elapses_once(make_timers, started, eventually) -> None:
    timers = make_timers()
    timers.arm("once", Armed(command="once", due=time.time() - 60))
    eventually(lambda: started == ["once"])
    eventually(lambda: "once" not in timers)


def test_interval_elapses_again_and_again(make_timers, started, eventually) -> None:
    make_timers().arm("tick", Armed(command="tick", due=time.time(), interval=0.01))
    eventually(lambda: len(started) >= 3)


def test_command_that_still_runs_is_not_started_twice(make_timers, started, eventually) -> None:
    timers = make_timers(lasting=3)
    timers.arm("long", Armed(command="long", due=time.time(), interval=0.01))
    timers.arm("short", Armed(command="short", due=time.time() + 0.2))  # the long one came round many times before it
    eventually(lambda: "short" in started)
    assert started.count("long") == 1


def test_disarmed_timer_does_not_elapse(make_timers, started, eventually) -> None:
    timers = make_timers()
    timers.arm("never", Armed(command="never", due=time.time() + 0.2))
    timers.arm("after", Armed(command="after", due=time.time() + 0.3))
    timers.disarm("never")
    eventually(lambda: started == ["after"])


def test_new_timer_of_a_name_replaces_the_old_one(make_timers, started, eventually) -> None:
    timers = make_timers()
    timers.arm("expiry", Armed(command="early", due=time.time() + 0.2))
    timers.arm("expiry", Armed(command="late", due=time.time() + 0.3))
    eventually(lambda: started == ["late"])
