"""Train the taste model with Spark and write it as a bundle.

    spark-submit train_similarity.py --ratings DIR --out FILE

Likes go into MLlib's ALS; from its factors come each movie's prior, the covariance between movies and the nearest
neighbours. The same is fitted once more without a fifth of the users, to judge it beside baselines. The driver writes
the bundle; what it prints is one line per phase.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from factors import JobError, fit
from nearest import nearest
from nightreel.bundle.reader import open_bundle
from nightreel.bundle.schema import BundleError, BundleMetadata
from nightreel.bundle.writer import write_bundle
from nightreel.recommend.datasets import licence_of, name_of
from nightreel.recommend.evaluation import evaluate, quality_table, split_users
from nightreel.recommend.layouts import MOVIE_FIELDS, RATING_FIELDS, DatasetError, Layout, find_layout, parse_columns
from nightreel.recommend.movie_files import read_movies
from nightreel.recommend.population import describe_movies
from nightreel.recommend.ratings import Likes
from nightreel.recommend.report import report_path, write_report
from nightreel.recommend.taste_model import DEFAULT_PATH, TasteModel
from nightreel.recommend.titles import Movie
from ratings_input import keep_aside, load_ratings

VISITOR_COLUMNS = "user int, movie int, rating float, time double"
JUDGED_RATINGS, JUDGED_MOVIES = 1_000_000, 10_000
"""The evaluation's sample, so that the judge never costs more than the work."""


def main(arguments: list[str] | None = None) -> int:
    """Run the job; 0 when the bundle is written, 2 with one sentence when the input is at fault."""
    options = parse(arguments)
    # Progress is ours to print, one line per phase.
    builder = SparkSession.builder.appName("nightreel: train similarity").config("spark.log.level", "ERROR")
    spark = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    # Spark's 200 are made for a large cluster: on a small one the empty tasks cost more than the work.
    spark.conf.set("spark.sql.shuffle.partitions", 2 * spark.sparkContext.defaultParallelism)
    try:
        train(spark, options)
    except (DatasetError, BundleError, JobError) as error:
        print(f"train_similarity: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return 2
    finally:
        spark.stop()
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line; argparse ends the process with 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="train_similarity", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--ratings", type=Path, required=True, help="folder with ratings and movies, on every node")
    parser.add_argument("--visitors", type=Path, help="ratings of the site's visitors, on every node")
    parser.add_argument("--columns", default="", help="own data: user=…,movie=…[,rating=…][,time=…] in --ratings")
    parser.add_argument("--movies", type=Path, help="own data: the file that names the movies")
    parser.add_argument("--movie-columns", default="", help="own data: movie=…,title=…[,year=…][,genres=…] in --movies")
    parser.add_argument("--out", type=Path, required=True, help="the bundle to write, on the driver's machine")
    parser.add_argument("--run-id", default="", help="names this run in the bundle (default: a new one)")
    parser.add_argument("--dataset", default="", help="the data set's name (default: as the folder tells)")
    parser.add_argument("--code-revision", default="unknown", help="which code made the bundle")
    parser.add_argument("--rank", type=_number(int, 1, 1024), default=64, help="factors per movie")
    parser.add_argument("--iterations", type=_number(int, 1, 100), default=10, help="rounds of ALS")
    parser.add_argument("--reg", type=_number(float, 0, 1000), default=0.03, help="ALS regularisation per like")
    parser.add_argument("--alpha", type=_number(float, 0, 1000), default=1.0, help="confidence of a like over none")
    parser.add_argument("--seed", type=_number(int, 0, 2**31 - 1), default=7, help="of ALS and of the evaluation")
    parser.add_argument("--like-threshold", type=_number(float, 0.5, 5), default=4.0, help="stars that make a like")
    parser.add_argument("--neighbours", type=_number(int, 1, 1000), default=50, help="neighbours per movie")
    parser.add_argument("--no-evaluate", dest="evaluate", action="store_false", help="skip evaluation")
    return parser.parse_args(arguments)


def _number(kind: type[int] | type[float], low: float, high: float) -> Any:
    def read(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} does not lie between {low} and {high}")
        return value

    read.__name__ = kind.__name__  # argparse names the type in its message
    return read


class Log:
    """One line per finished phase, with the seconds it took, which `timings` keeps."""

    def __init__(self) -> None:
        self.timings: list[dict[str, Any]] = []
        self._since = time.monotonic()

    def done(self, what: str, *, phase: str) -> None:
        """Print a phase's result."""
        now = time.monotonic()
        print(f"[{now - self._since:6.1f} s] {what}", flush=True)  # noqa: T201
        self.timings.append({"phase": phase, "seconds": round(now - self._since, 2)})
        self._since = now


def train(spark: SparkSession, options: argparse.Namespace) -> None:
    """Read, fit, evaluate and write; DatasetError, JobError or BundleError when it cannot be done."""
    log = Log()
    layout = read_layout(options)
    aside = options.out.with_suffix(".rejected.csv")
    loaded = load_ratings(spark, layout, aside=aside)
    movies = read_movies(layout)
    if layout.titles and movies.rejected:
        keep_aside(aside, layout.titles.path.name, movies.rejected)
    ratings = with_visitors(loaded.rows, options.visitors)
    counts = count_ratings(ratings)
    users = ratings.select("user").distinct().count()
    total = int(np.sum(counts["count"].to_numpy()))
    log.done(
        f"read {total:,} ratings of {len(counts):,} movies by {users:,} users ({layout.name}){loaded.summary}",
        phase="read",
    )
    if aside.exists():
        kept = loaded.rejected_rows + len(movies.rejected)
        log.done(f"kept {kept:,} rows aside in {aside.name}, each with the reason", phase="keep odd rows aside")

    likes = ratings.where(F.col("rating") >= options.like_threshold).select("user", "movie").persist()
    likes.count()
    loaded.release()
    evaluation = evaluate_fit(spark, likes, counts, options, log) if options.evaluate else []
    factors = fit(likes, options)
    embedding, prior = describe_movies(factors.items, factors.moments)
    log.done(f"fitted {len(factors.movie_ids):,} movies with {options.rank} factors", phase="fit")
    ids, scores = nearest(spark, embedding, count=min(options.neighbours, len(embedding) - 1))
    log.done(f"found {ids.shape[1]} neighbours of each movie", phase="find neighbours")

    columns = movie_columns(factors.movie_ids, movies.movies, counts) | {
        "embedding": embedding,
        "prior": prior,
        "residual": np.zeros(len(prior), np.float32),
        "neighbour_ids": ids,
        "neighbour_scores": scores,
    }
    dataset = describe_dataset(layout, options) | {
        "ratings": total,
        "users": users,
        "movies": len(counts),
        "repeated": loaded.repeated,
        "rejected": dict(loaded.rejected),
        "rejected_movies": len(movies.rejected),
    }
    if options.visitors:
        dataset["visitors"] = hashlib.sha256(options.visitors.read_bytes()).hexdigest()
    metadata = describe_run(spark, options, dataset, evaluation, log.timings)
    digest = write_bundle(options.out, columns=columns, metadata=metadata)
    write_report(open_bundle(options.out), report_path(options.out))
    for row in quality_table(evaluation) if evaluation else []:
        print("  ".join([f"{row[0]:<24}", *(f"{cell:>11}" for cell in row[1:])]))  # noqa: T201
    log.done(f"wrote {options.out} ({options.out.stat().st_size / 2**20:.1f} MB, sha256 {digest})", phase="write")


def read_layout(options: argparse.Namespace) -> Layout:
    """Find the ratings' layout; DatasetError when there is none."""

    def columns(text: str, fields: tuple[str, ...]) -> dict[str, str] | None:
        return parse_columns(text, fields=fields, needed=fields[:2]) if text else None

    return find_layout(
        options.ratings,
        columns=columns(options.columns, RATING_FIELDS),
        movies=options.movies,
        movie_columns=columns(options.movie_columns, MOVIE_FIELDS),
    )


def with_visitors(ratings: DataFrame, visitors: Path | None) -> DataFrame:
    """Put the visitors' ratings beside those of the data set; they are users of their own, each movie once."""
    if visitors is None:
        return ratings
    found = ratings.sparkSession.read.csv(
        visitors.resolve().as_uri(), schema=VISITOR_COLUMNS, header=True, enforceSchema=True
    )
    return ratings.unionByName(found.select("user", "movie", "rating"))


def count_ratings(ratings: DataFrame) -> pa.Table:
    """Return movie, count and mean per rated movie, by movie."""
    grouped = ratings.groupBy("movie").agg(F.count("*").alias("count"), F.avg("rating").alias("mean"))
    return grouped.toArrow().sort_by("movie")


def evaluate_fit(
    spark: SparkSession, likes: DataFrame, counts: pa.Table, options: argparse.Namespace, log: Log
) -> list[dict[str, Any]]:
    """Fit without a fifth of the users and judge that fit beside the baselines, on a sample of bounded size."""
    known, sampled = sample_likes(likes, counts, options)
    split = split_users(sampled, seed=options.seed)
    if not split.queries:
        log.done("skipped evaluation: no held-out user has enough likes", phase="evaluate")
        return []
    training = pa.table(
        {
            "user": pa.array(split.training.users, pa.int32()),
            "movie": pa.array(split.training.movies, pa.int32()),
        }
    )
    factors = fit(spark.createDataFrame(training), options)
    # Movies that no training user likes have no factors: they know nothing and are known by nobody.
    items = np.zeros((len(known), options.rank), np.float32)
    items[factors.movie_ids] = factors.items
    embedding, prior = describe_movies(items, factors.moments)
    model = TasteModel(embedding=embedding, prior=prior, residual=np.zeros_like(prior), path=DEFAULT_PATH)
    rows = evaluate(split, model=model, factors=items)
    log.done(f"evaluated {len(split.queries):,} queries of {rows[0]['users']:,} held-out users", phase="evaluate")
    return rows


def sample_likes(likes: DataFrame, counts: pa.Table, options: argparse.Namespace) -> tuple[npt.NDArray[Any], Likes]:
    """Return the most rated movies' ids, ascending, and the likes of as many users as the evaluation can bear.

    Users are drawn by a seeded hash of their id, so that a user stays in or out from night to night.
    """
    order = np.lexsort((counts["movie"].to_numpy(), -counts["count"].to_numpy()))[:JUDGED_MOVIES]
    known = np.sort(counts["movie"].to_numpy()[order])
    share = min(1.0, JUDGED_RATINGS / max(int(np.sum(counts["count"].to_numpy())), 1))
    drawn = likes
    if share < 1:
        drawn = likes.where(F.pmod(F.xxhash64("user", F.lit(options.seed)), F.lit(10**6)) < int(share * 10**6))
    pairs = drawn.toArrow()
    movies = pairs["movie"].to_numpy()
    kept = np.isin(movies, known)
    users, owner = np.unique(pairs["user"].to_numpy()[kept], return_inverse=True)
    rows = np.searchsorted(known, movies[kept])
    return known, Likes.from_pairs(owner, rows, user_count=len(users), movie_count=len(known))


def movie_columns(movie_ids: npt.NDArray[Any], movies: dict[int, Movie], counts: pa.Table) -> dict[str, Any]:
    """Return the bundle's columns that describe movies, in the order of the ids."""
    known = [movies.get(movie_id, Movie(title=f"Movie {movie_id}")) for movie_id in movie_ids.tolist()]
    rows = np.searchsorted(counts["movie"].to_numpy(), movie_ids)
    return {
        "movie_id": movie_ids,
        "title": [movie.title for movie in known],
        "alternate_titles": [list(movie.alternates) for movie in known],
        "year": [movie.year for movie in known],
        "genres": [list(movie.genres) for movie in known],
        "imdb_id": [movie.imdb_id for movie in known],
        "tmdb_id": [movie.tmdb_id for movie in known],
        "rating_count": counts["count"].to_numpy()[rows],
        "mean_rating": counts["mean"].to_numpy()[rows],
    }


def describe_dataset(layout: Layout, options: argparse.Namespace) -> dict[str, Any]:
    """Return the data set's name, fingerprint and licence."""
    name = options.dataset or name_of(layout)
    return {"name": name, "fingerprint": layout.fingerprint, "licence": licence_of(name), "layout": layout.name}


def describe_run(
    spark: SparkSession,
    options: argparse.Namespace,
    dataset: dict[str, Any],
    evaluation: list[dict[str, Any]],
    timings: list[dict[str, Any]],
) -> BundleMetadata:
    """Return the bundle's metadata; nothing of it tells paths or hosts."""
    own = ("ratings", "visitors", "movies", "columns", "movie_columns", "out", "run_id", "dataset", "code_revision")
    now = datetime.now(UTC).replace(microsecond=0)
    return BundleMetadata(
        run_id=options.run_id or f"{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}",
        created=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        dataset=dataset,
        parameters={name: value for name, value in vars(options).items() if name not in own},
        versions={
            "python": platform.python_version(),
            "spark": spark.version,
            "numpy": np.__version__,
            "pyarrow": pa.__version__,
        },
        evaluation=evaluation,
        taste=DEFAULT_PATH.to_mapping(),
        code_revision=options.code_revision,
        details={"timings": timings},
    )


if __name__ == "__main__":
    sys.exit(main())
