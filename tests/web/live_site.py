"""A real site for tests: gunicorn with two workers on a free port of the loopback interface."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-for-the-live-site"
START_SECONDS = 100


@dataclass(frozen=True)
class LiveSite:
    """Where the site answers and where it keeps its files; `access_log` begins each line with the worker's pid."""

    url: str
    port: int
    data: Path
    access_log: Path


@contextmanager
def live_site(folder: Path, **settings: str) -> Iterator[LiveSite]:
    """Migrate an empty database, serve, wait until it answers, and stop it and all of its workers at the end.

    `settings` are more variables of its environment.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NIGHTREEL_SITE", "DJANGO"))}
    environment |= {
        "NIGHTREEL_SITE_DATA": str(folder / "site"),
        "NIGHTREEL_SITE_TOKEN": TOKEN,
        "NIGHTREEL_SITE_SECRET_KEY": "only-for-tests",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        **settings,
    }
    access_log, output = folder / "access.log", folder / "gunicorn.log"
    subprocess.run(
        [sys.executable, str(ROOT / "web" / "manage.py"), "migrate", "--verbosity=0"],
        env=environment,
        check=True,
        timeout=300,
    )
    with socket.create_server(("127.0.0.1", 0)) as listener, output.open("wb") as log:
        port = listener.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            f"--config={ROOT / 'web' / 'gunicorn.conf.py'}",
            f"--bind=fd://{listener.fileno()}",
        ]
        command += [f"--access-logfile={access_log}", "--access-logformat=%(p)s %(s)s %(r)s", "config.wsgi"]
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_healthy(url, process, output)
            yield LiveSite(url=url, port=port, data=folder / "site", access_log=access_log)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"the site did not start:\n{output.read_text()}")
