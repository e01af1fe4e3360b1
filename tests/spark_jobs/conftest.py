from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

import parameter_search
import preferences
import train_similarity


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """One session on one core, where sums have one order and a run repeats itself to the bit."""
    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        session = builder.config("spark.sql.shuffle.partitions", "2").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    logging.getLogger("py4j").setLevel(logging.WARNING)  # it logs when pytest has closed the log already
    for module in (train_similarity, parameter_search, preferences):
        session.sparkContext.addPyFile(module.__file__)  # spark-submit would pickle the job by value, as __main__
    yield session
    session.stop()


@pytest.fixture(scope="session")
def small_world() -> list[tuple[int, int, float]]:
    """User, movie and stars of two crowds of 40 with fifteen movies each: fives in one's own, some ones elsewhere."""
    rng = np.random.default_rng(5)
    rows = []
    for user in range(1, 81):
        own = 100 * (user % 2)
        rows += [(user, own + movie, 5.0) for movie in range(1, 16) if rng.random() < 0.8]
        rows += [(user, 100 - own + movie, 1.0) for movie in range(1, 16) if rng.random() < 0.1]
    return rows


@pytest.fixture(scope="session")
def csv_folder(tmp_path_factory: pytest.TempPathFactory, small_world: list[tuple[int, int, float]]) -> Path:
    folder = tmp_path_factory.mktemp("ratings")
    lines = [f"{user},{movie},{stars},{1000 + n}" for n, (user, movie, stars) in enumerate(small_world)]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *lines]) + "\n")
    movies = [f'{movie},"Movie {movie}, The (2000)",Drama' for movie in (*range(1, 16), *range(101, 115))]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *movies]) + "\n")
    return folder
