"""Says in words how far a long step on Spark is, while it goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PAUSE = 1.0
"""Seconds between two looks."""


@contextmanager
def told(context: Any, words: Callable[[int, int, int], str], *, pause: float = PAUSE) -> Iterator[None]:
    """Print `words(jobs, tasks done, tasks in all)` whenever it changes while the block runs.

    `context` is a SparkContext; what is counted are the Spark jobs that the block starts, the one that runs included,
    and the tasks of its stages.
    """
    group = f"told-{threading.get_ident()}-{id(words)}"
    context.setJobGroup(group, "")
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(context, group, words, stop, pause), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
        context.setLocalProperty("spark.jobGroup.id", None)


def _watch(
    context: Any, group: str, words: Callable[[int, int, int], str], stop: threading.Event, pause: float
) -> None:
    said = ""
    while not stop.wait(pause):
        try:
            now = words(*_look(context, group))
        except Exception:  # progress is a comfort: nothing may fail by it
            return
        if now and now != said:
            print(f"           {now}", flush=True)  # noqa: T201 (the job's log is what it prints)
            said = now


def _look(context: Any, group: str) -> tuple[int, int, int]:
    tracker = context.statusTracker()
    jobs = sorted(tracker.getJobIdsForGroup(group))
    done = total = 0
    if jobs:
        info = tracker.getJobInfo(jobs[-1])
        for stage in info.stageIds if info else ():
            if found := tracker.getStageInfo(stage):
                done += found.numCompletedTasks
                total += found.numTasks
    return len(jobs), done, total
