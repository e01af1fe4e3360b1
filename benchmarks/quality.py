"""The three-seed quality of the model beside every baseline, each at its own best setting of a sweep.

    python -m benchmarks.quality [--data FOLDER ...] [--rank N]

Trains with the job's own functions on this machine, one split per data set, and prints NDCG@10 over all movies and
over the long tail with 95 % intervals over users. A baseline's setting is the one with the largest sum of the two
figures on the very split that it is shown on, which flatters the baselines, not the model. Without --data it takes
ml-latest-small and ml-100k, as `nightreel data fetch` gets them.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from benchmarks import report
from benchmarks.quality_baselines import UserKNN, implicit_als
from nightreel.recommend import datasets
from nightreel.recommend.baselines import Ease, FactorCosine, ItemKNN, MostPopular
from nightreel.recommend.evaluation import CONFIDENCE, Split, split_users
from nightreel.recommend.layouts import find_layout
from nightreel.recommend.movie_files import read_movies

sys.path.insert(0, str(Path(__file__).parent.parent / "spark_jobs"))
import parameter_search
import preferences
import ratings_input
import train_similarity as job
from ratings_input import load_ratings

SHRINKS = (0.0, 10.0, 20.0, 50.0, 100.0, 200.0)
LAMBDAS = (1_000.0, 3_000.0, 10_000.0, 30_000.0)
POWERS = (0.5, 1.0)
KIND = re.compile(r",? (?:\d|shrink [1-9]|λ|list).*")
"""What of a name is its setting. ItemKNN shows twice, plain and shrunk."""

IMPLICIT = [(64, 1.0, 1.0), (64, 10.0, 1.0), (64, 10.0, 4.0), (32, 10.0, 1.0), (32, 10.0, 4.0), (32, 30.0, 4.0)]


def main() -> None:
    """Print a table per data set."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, action="append", help="a folder of ratings; may be given again")
    parser.add_argument("--seed", type=int, default=7, help="of ALS and of the split")
    parser.add_argument("--rank", help="factors per movie (default: the job's)")
    given = parser.parse_args()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master("local[*]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
    spark = builder.config("spark.driver.memory", "2g").config("spark.log.level", "ERROR").getOrCreate()
    spark.conf.set("spark.sql.shuffle.partitions", 4)
    for module in (job, parameter_search, preferences, ratings_input):
        spark.sparkContext.addPyFile(str(module.__file__))  # what runs on the executors names functions of the job
    print(f"{report.machine()}; three seeds, NDCG@10, 95 % interval over users\n")
    for folder in given.data or [datasets.fetch("ml-latest-small"), datasets.fetch("ml-100k")]:
        extra = ["--rank", given.rank] if given.rank else []
        measure(spark, job.parse(["--ratings", str(folder), "--out", "unused", "--seed", str(given.seed), *extra]))
    spark.stop()


def measure(spark: SparkSession, options: argparse.Namespace) -> None:
    """Print one data set's table."""
    layout = find_layout(options.ratings)
    with tempfile.TemporaryDirectory() as scratch:
        ratings = load_ratings(spark, layout, aside=Path(scratch) / "rejected.csv").rows
    counts = job.count_ratings(ratings)
    likes = preferences.graded(ratings, threshold=options.like_threshold, half=options.half_like).persist()
    split = split_users(job.sample_likes(likes, counts, options)[1], seed=options.seed)
    found = job.evaluate_fit(
        spark,
        likes,
        options,
        counts=counts,
        log=job.Log(),
        movies=read_movies(layout).movies,
        baselines=lambda known, factors: [MostPopular(known), *sweep(split), FactorCosine(factors)],
    )
    ours = [row for row in found if row["taste"] is not None]
    others = [row for row in found if row["taste"] is None]
    best: dict[str, dict[str, Any]] = {}
    for row in others:
        kind = KIND.sub(" …" if "shrink" in row["model"] else "", row["model"])
        if kind not in best or row["ndcg"] + row["tail_ndcg"] > best[kind]["ndcg"] + best[kind]["tail_ndcg"]:
            best[kind] = row
    name = datasets.name_of(layout)
    print(f"\n{name}: {ours[0]['queries']} queries of {ours[0]['users']} users who are in no training data\n")
    header = ["model", "all", "tail", "shown", "tail shown", "balanced leads by, all", "in the tail"]
    print(report.table(header, [line(row, ours[1]) for row in [*ours, *best.values()]]), flush=True)


def sweep(split: Split) -> list[Any]:
    """Every baseline at every setting."""
    likes = split.training
    knn = [ItemKNN(likes, shrink=shrink) for shrink in SHRINKS]
    ease = [Ease(likes, regularisation=value) for value in LAMBDAS]
    users = [UserKNN(likes, power=power) for power in POWERS]
    return [*knn, *ease, *users, *of_implicit(split)]


def of_implicit(split: Split) -> list[Any]:
    """The library implicit at every setting; none, and a line that says so, where it can not be installed."""
    try:
        return implicit_als(split.training, split.queries, IMPLICIT)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"implicit's ALS is left out: {error}", flush=True)
        return []


def line(row: dict[str, Any], balanced: dict[str, Any]) -> Sequence[str]:
    """A row of the table: figures with half their interval, and by how much `balanced` leads with half of that's."""

    def figure(axis: str) -> str:
        return f"{row[axis]:.3f} ±{row[f'{axis}_high'] - row[axis]:.3f}"

    def lead(axis: str) -> str:
        return f"{balanced[axis] - row[axis]:+.3f} ±{CONFIDENCE * (row[f'{axis}_error_to_balanced'] or 0):.3f}"

    shown = [str(row["coverage"]), str(row["tail_coverage"])]
    return [row["model"], figure("ndcg"), figure("tail_ndcg"), *shown, lead("ndcg"), lead("tail_ndcg")]


if __name__ == "__main__":
    main()
