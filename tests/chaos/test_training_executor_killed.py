"""An executor dies in mid-training: Spark makes its blocks again, and the model is as good as without that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

import nightreel
from nightreel.bundle.reader import Bundle, validate_bundle
from nightreel.cluster.packaging import zip_package
from nightreel.recommend.generated import World, write_world

pytestmark = [pytest.mark.chaos, pytest.mark.spark, pytest.mark.timeout(1_200)]
PACKAGE = Path(nightreel.__file__).parent
JOB = PACKAGE.parent / "spark_jobs" / "train_similarity.py"
ONE_JVM, TWO_EXECUTORS = "local[1]", "local-cluster[2,1,1024]"
SMALL_JVM = "-Xss16m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData"
ROUNDS = 4
"""Stages of ALS that are done when the executor is killed: of twenty and more."""


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated") / "ratings"
    for _ in write_world(World(ratings=20_000, users=400, movies=800, seed=5), folder, form="parquet"):
        pass
    return folder


def start(ratings: Path, folder: Path, *, master: str) -> subprocess.Popen[bytes]:
    """Train; the events of the run are written as they happen."""
    events = folder / "events"
    events.mkdir()
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
    command += ["--rank", "8", "--iterations", "10"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1", "PATH": path}
    log = (folder / "log").open("wb")
    return subprocess.Popen(
        command, env=os.environ | own, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )


def finish(job: subprocess.Popen[bytes], folder: Path) -> Bundle:
    assert job.wait(timeout=900) == 0, (folder / "log").read_text()[-3000:]
    return validate_bundle(folder / "model.arrow")


def events(folder: Path) -> Iterator[dict]:
    for file in (folder / "events").iterdir():
        for line in file.read_text().splitlines():
            if line.endswith("}"):
                yield json.loads(line)


def rounds_done(folder: Path) -> int:
    done = (event["Stage Info"] for event in events(folder) if event["Event"] == "SparkListenerStageCompleted")
    return sum("ALS.scala" in stage["Stage Name"] for stage in done)


def await_rounds(job: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + 600
    while rounds_done(folder) < ROUNDS:
        assert job.poll() is None, (folder / "log").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill_executor(job: subprocess.Popen[bytes]) -> None:
    """One of those that this job started."""
    for process in psutil.Process(job.pid).children(recursive=True):
        if any("CoarseGrainedExecutorBackend" in word for word in process.cmdline()):
            process.kill()
            return
    pytest.fail("no executor is running")


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    made = [tmp_path / "left-alone", tmp_path / "killed"]
    for folder in made:
        folder.mkdir()
    return made


def test_an_executor_killed_in_mid_training_costs_no_quality(ratings: Path, folders: list[Path]) -> None:
    undisturbed = finish(start(ratings, folders[0], master=ONE_JVM), folders[0])
    job = start(ratings, folders[1], master=TWO_EXECUTORS)
    try:
        await_rounds(job, folders[1])
        kill_executor(job)
        disturbed = finish(job, folders[1])
    finally:
        if job.poll() is None:
            psutil.Process(job.pid).terminate()
            job.wait()
    assert any(event["Event"] == "SparkListenerExecutorRemoved" for event in events(folders[1]))
    for before, after in zip(undisturbed.metadata.evaluation, disturbed.metadata.evaluation, strict=True):
        assert after["model"] == before["model"]
        assert after["ndcg"] == pytest.approx(before["ndcg"], abs=0.005)
        assert after["tail_ndcg"] == pytest.approx(before["tail_ndcg"], abs=0.005)
    first, second = (bundle.embedding @ bundle.embedding.T for bundle in (undisturbed, disturbed))
    np.testing.assert_allclose(second, first, atol=1e-3 * float(np.abs(first).max()))
