"""What every benchmark's report needs: the machine it ran on, how busy that was, and tables in Markdown."""

import os
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil


def machine() -> str:
    """The machine in a sentence: processor, cores, memory, system, and the load before the measurement."""
    names = [line.partition(":")[2].strip() for line in _cpu_info() if line.startswith("model name")]
    memory = psutil.virtual_memory().total / 2**30
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    processor = names[0] if names else platform.machine()
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores ({processor}), {memory:.0f} GiB, "
        f"{platform.system()} {platform.release()}, load before {load}"
    )


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


@dataclass
class Stopwatch:
    """Seconds of wall time, and seconds that all cores together were busy with anything."""

    wall: float = 0.0
    busy: float = 0.0

    @property
    def utilisation(self) -> float:
        """The share of the machine that was busy, 0 to 1: near 1 says that more speed needs more cores."""
        return self.busy / (self.wall * (os.cpu_count() or 1)) if self.wall else 0.0


@contextmanager
def timed() -> Iterator[Stopwatch]:
    """Measure what happens within the context."""
    watch = Stopwatch()
    start, busy = time.monotonic(), _busy()
    try:
        yield watch
    finally:
        watch.wall, watch.busy = time.monotonic() - start, _busy() - busy


def _busy() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers with one decimal, ratios are texts of the caller's."""
    lines = [list(header), ["---"] * len(header), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def spread(values: Sequence[float]) -> str:
    """Median and range, as in `12.3 (11.0 to 14.2)`."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"
