"""The job on two executors of one core each: the same model as on one core, and a search that goes on where it was."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from nightreel.bundle.reader import Bundle
from nightreel.recommend.generated import World, write_world
from nightreel.recommend.taste_model import TasteModel
from tests.spark_jobs.submitted import ONE_JVM, TWO_EXECUTORS, end, finish, log_of, submit

pytestmark = [pytest.mark.long, pytest.mark.spark, pytest.mark.timeout(1_200)]
SEARCH = ("--rank", "8", "--iterations", "3", "--search", "4", "--no-evaluate")


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated") / "ratings"
    for _ in write_world(World(ratings=20_000, users=400, movies=800, seed=5), folder, form="parquet"):
        pass
    return folder


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def scores(bundle: Bundle, *, taste: float) -> np.ndarray:
    model = TasteModel.from_bundle(bundle)
    return model.score(seeds=[3, 40, 200], ratings=[5, 1, 4], taste=taste).values


def test_a_cluster_gives_the_scores_of_one_core(ratings: Path, tmp_path: Path) -> None:
    alone, spread = made(tmp_path / "alone"), made(tmp_path / "spread")
    words = ("--rank", "8", "--iterations", "5", "--no-evaluate")
    one = finish(submit(ratings, alone, *words, master=ONE_JVM), alone)
    two = finish(submit(ratings, spread, *words, master=TWO_EXECUTORS), spread)
    np.testing.assert_array_equal(one.movie_ids, two.movie_ids)
    for taste in (0.0, 0.5, 1.0):
        np.testing.assert_allclose(scores(two, taste=taste), scores(one, taste=taste), atol=1e-4)


def test_a_search_cut_short_goes_on_where_it_was(ratings: Path, tmp_path: Path) -> None:
    folder = made(tmp_path / "searched")
    results = folder / "model.search.jsonl"
    job = submit(ratings, folder, *SEARCH, master=TWO_EXECUTORS)
    try:
        deadline = time.monotonic() + 900
        while not (results.is_file() and results.read_text().endswith("\n")):
            assert job.poll() is None, log_of(folder)[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        end([job])
    kept = results.read_text().splitlines()
    assert 0 < len(kept) < 4
    bundle = finish(submit(ratings, folder, *SEARCH, master=TWO_EXECUTORS), folder)
    after = results.read_text().splitlines()
    assert after[: len(kept)] == kept
    assert len(after) == 4
    table = bundle.metadata.details["search"]
    assert [row["score"] for row in table] == sorted((json.loads(row)["score"] for row in after), reverse=True)
    assert bundle.metadata.parameters["reg"] == table[0]["reg"]
    report = (folder / "model.report.html").read_text()
    assert "Score of the best trials" in report
    assert f"{table[0]['score']:.4f}" in report
