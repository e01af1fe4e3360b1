"""The site under its own server for a benchmark, and the memory of its workers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from nightreel.local.services import free_port

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "only-for-this-benchmark"
START_SECONDS = 180


@dataclass(frozen=True)
class Server:
    """A running site."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """What its processes have computed so far: other work on the machine does not count in it."""
        times = [psutil.Process(pid).cpu_times() for pid in (self.pid, *self.workers())]
        return sum(float(time.user + time.system) for time in times)

    def workers(self) -> list[int]:
        """The workers' process ids."""
        return [child.pid for child in psutil.Process(self.pid).children()]


@contextmanager
def serving(folder: Path, *, workers: int) -> Iterator[Server]:
    """Serve an empty site with the benchmark's addresses for as long as the context lasts."""
    port = free_port(0)
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "benchmarks.site_settings",
        "NIGHTREEL_SITE_DATA": str(folder / "site"),
        "NIGHTREEL_SITE_TOKEN": TOKEN,
        "NIGHTREEL_SITE_SECRET_KEY": "only-for-this-benchmark",
        "NIGHTREEL_SITE_LOG_FORMAT": "json",
        "PYTHONPATH": str(ROOT),
    }
    manage = [sys.executable, str(ROOT / "web" / "manage.py"), "migrate", "--verbosity=0"]
    subprocess.run(manage, env=environment, check=True)
    command = [sys.executable, "-m", "gunicorn", f"--config={ROOT / 'web' / 'gunicorn.conf.py'}"]
    command += [f"--bind=127.0.0.1:{port}", f"--workers={workers}", "config.wsgi"]
    with (folder / "gunicorn.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            server = Server(port, process.pid)
            _wait(server, process, folder / "gunicorn.log")
            yield server
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def _wait(server: Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{server.url}/readyz", timeout=5, trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"the site did not start: {log.read_text()[-2000:]}")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """One process in MiB: what it alone has, its fair share of all, and the model's pages in it, all and shared."""

    private: float
    proportional: float
    model_mapped: float
    model_shared: float


def memory_of(pid: int) -> Memory:
    """Read a process's memory from the kernel's own account."""
    rollup = _sums(Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines())
    lines, model, inside = Path(f"/proc/{pid}/smaps").read_text().splitlines(), [], False
    for line in lines:
        if "-" in line.split(" ", 1)[0] and not line.split(" ", 1)[0].endswith(":"):
            inside = line.rstrip().endswith((".arrow", ".arrow (deleted)"))
        elif inside:
            model.append(line)
    mapped = _sums(model)
    return Memory(
        private=(rollup["Private_Clean"] + rollup["Private_Dirty"]) / 1024,
        proportional=rollup["Pss"] / 1024,
        model_mapped=mapped.get("Rss", 0) / 1024,
        model_shared=(mapped.get("Shared_Clean", 0) + mapped.get("Shared_Dirty", 0)) / 1024,
    )


def _sums(lines: list[str]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for line in lines:
        words = line.split()
        if len(words) == 3 and words[2] == "kB":
            sums[words[0].rstrip(":")] = sums.get(words[0].rstrip(":"), 0) + int(words[1])
    return sums
