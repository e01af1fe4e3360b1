"""The training job as a process of its own, submitted to one core or to a small cluster of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

import nightreel
from nightreel.bundle.reader import Bundle, validate_bundle
from nightreel.cluster.packaging import zip_package

PACKAGE = Path(nightreel.__file__).parent
JOB = PACKAGE.parent / "spark_jobs" / "train_similarity.py"
ONE_JVM, TWO_EXECUTORS = "local[1]", "local-cluster[2,1,1024]"
SMALL_JVM = "-Xss16m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData"


def submit(ratings: Path, folder: Path, *words: str, master: str) -> subprocess.Popen[bytes]:
    """Train into `folder`; the events of the run are written there as they happen."""
    events = folder / "events"
    events.mkdir(exist_ok=True)
    conf = {
        "spark.ui.enabled": "false",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": events.as_uri(),
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
        "spark.executor.memory": "700m",
        "spark.driver.extraJavaOptions": SMALL_JVM,
        "spark.executor.extraJavaOptions": SMALL_JVM,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
    }
    code = zip_package(PACKAGE, folder / "nightreel.zip")
    command = [str(Path(sys.executable).with_name("spark-submit")), "--master", master]
    command += [word for name, value in conf.items() for word in ("--conf", f"{name}={value}")]
    command += ["--py-files", str(code), str(JOB), "--ratings", str(ratings), "--out", str(folder / "model.arrow")]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1", "PATH": path}
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [*command, *words],
            env=os.environ | own,
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finish(job: subprocess.Popen[bytes], folder: Path) -> Bundle:
    """Wait for the job to end well, and open what it wrote."""
    try:
        assert job.wait(timeout=900) == 0, log_of(folder)[-3000:]
    finally:
        end([job])
    return validate_bundle(folder / "model.arrow")


def log_of(folder: Path) -> str:
    """Return what the job has printed so far."""
    return (folder / "log").read_text()


def end(jobs: Sequence[subprocess.Popen[bytes]]) -> None:
    """Kill jobs that still run, with all that they started."""
    for job in jobs:
        if job.poll() is None:
            for process in [psutil.Process(job.pid), *psutil.Process(job.pid).children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            job.wait()
