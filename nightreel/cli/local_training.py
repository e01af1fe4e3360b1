"""Train on this machine: spark-submit, with the job of this checkout."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import typer

import nightreel
from nightreel.cli.output import aside, console

HOME = Path(nightreel.__file__).parent.parent
"""The checkout, where the training job lies beside the package."""


def run_job(arguments: list[str], *, memory: str) -> None:
    """Run the training job with spark-submit on this machine's cores and show its lines; exits with 1 when it fails."""
    command = [spark_submit(), "--master", "local[*]", "--driver-memory", memory]
    command += ["--conf", "spark.driver.extraJavaOptions=-Xss16m"]  # tasks of many rounds are taken apart by recursion
    command += ["--conf", "spark.ui.enabled=false", "--conf", "spark.log.level=ERROR", str(job_file(HOME)), *arguments]
    path = os.pathsep.join(filter(None, [str(HOME), os.environ.get("PYTHONPATH")]))
    own = {"PYTHONPATH": path, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        job = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | own,
            start_new_session=True,
        )
        try:
            with console.status("Starting Spark"):
                rest = show_phases(job.stdout or [])
            if job.wait():
                errors.seek(0)
                show_failure(rest or errors.readlines())
                raise typer.Exit(1)
        finally:
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGTERM)
                job.wait()


def show_phases(lines: Iterable[str]) -> list[str]:
    """Print the phases as they finish and return the other lines: the job's own table, or what went wrong.

    spark-submit sends a Python job's error output the same way as its output.
    """
    rest = []
    for line in lines:
        if line.startswith("["):
            console.print(line.rstrip(), markup=False)
        else:
            rest.append(line)
    return rest


def show_failure(lines: Sequence[str]) -> None:
    """Print the job's own sentence where it said one, else the end of what it wrote."""
    said = [line for line in lines if line.startswith("train_similarity:")]
    for line in said or lines[-20:]:
        aside.print(line.rstrip(), markup=False)


def spark_submit() -> str:
    """Return spark-submit's path; ValueError says how to get what is missing."""
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise ValueError("Spark needs Java 17 or newer: install it (Debian: openjdk-17-jre-headless) or set JAVA_HOME")
    beside = Path(sys.executable).with_name("spark-submit")
    found = str(beside) if beside.is_file() else shutil.which("spark-submit")
    if not found:
        raise ValueError("spark-submit is not there: install pyspark 4 into this Python environment")
    return found


def job_file(home: Path) -> Path:
    """Return the training job beside the package; ValueError when only the package is installed."""
    job = home / "spark_jobs" / "train_similarity.py"
    if not job.is_file():
        raise ValueError(f"the training job {job} is not there: run `nightreel train` from a checkout of Nightreel")
    return job
