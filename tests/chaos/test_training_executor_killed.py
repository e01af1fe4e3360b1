"""An executor dies in mid-training: Spark makes its blocks again, and the model is as good as without that."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from nightreel.recommend.generated import World, write_world
from tests.spark_jobs.submitted import ONE_JVM, TWO_EXECUTORS, end, finish, log_of, submit

pytestmark = [pytest.mark.chaos, pytest.mark.spark, pytest.mark.timeout(1_200)]
RECIPE = ("--rank", "8", "--iterations", "10")
ROUNDS = 4
"""Stages of ALS that are done when the executor is killed: of twenty and more."""


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated") / "ratings"
    for _ in write_world(World(ratings=20_000, users=400, movies=800, seed=5), folder, form="parquet"):
        pass
    return folder


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
        assert job.poll() is None, log_of(folder)[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill_executor(job: subprocess.Popen[bytes]) -> None:
    """One of those that this job started."""
    for process in psutil.Process(job.pid).children(recursive=True):
        with suppress(psutil.Error):  # some of them live for a moment only
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
    undisturbed = finish(submit(ratings, folders[0], *RECIPE, master=ONE_JVM), folders[0])
    job = submit(ratings, folders[1], *RECIPE, master=TWO_EXECUTORS)
    try:
        await_rounds(job, folders[1])
        kill_executor(job)
        disturbed = finish(job, folders[1])
    finally:
        end([job])
    assert any(event["Event"] == "SparkListenerExecutorRemoved" for event in events(folders[1]))
    for before, after in zip(undisturbed.metadata.evaluation, disturbed.metadata.evaluation, strict=True):
        assert after["model"] == before["model"]
        assert after["ndcg"] == pytest.approx(before["ndcg"], abs=0.005)
        assert after["tail_ndcg"] == pytest.approx(before["tail_ndcg"], abs=0.005)
    first, second = (bundle.embedding @ bundle.embedding.T for bundle in (undisturbed, disturbed))
    np.testing.assert_allclose(second, first, atol=1e-3 * float(np.abs(first).max()))
