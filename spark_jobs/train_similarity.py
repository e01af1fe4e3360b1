"""Train the taste model with Spark and write it as a bundle.

    spark-submit train_similarity.py --ratings DIR --out FILE

Likes and half-likes go into MLlib's ALS; in the span of its movie factors the users' likes give the covariance between
movies, their genres and years add to it, and the nearest neighbours follow. The same is fitted once more without a
fifth of the users, to judge it beside baselines. The driver writes the bundle and prints one line per phase.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import sys
import time
import uuid
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import parameter_search
import preferences
from factors import JobError, fit
from nearest import nearest
from nightreel.bundle.reader import open_bundle
from nightreel.bundle.reports import report_path
from nightreel.bundle.schema import BundleError, BundleMetadata
from nightreel.bundle.taste_path import TastePath
from nightreel.bundle.writer import write_bundle
from nightreel.recommend.content import features_of
from nightreel.recommend.datasets import licence_of, name_of
from nightreel.recommend.evaluation import Baselines, baselines_of, evaluate, no_baselines, quality_table, split_users
from nightreel.recommend.layouts import MOVIE_FIELDS, RATING_FIELDS, DatasetError, Layout, find_layout, parse_columns
from nightreel.recommend.movie_files import read_movies
from nightreel.recommend.population import add_kinship
from nightreel.recommend.ratings import Likes
from nightreel.recommend.report import write_report
from nightreel.recommend.search import recipe_of
from nightreel.recommend.taste_model import TasteModel, path_for
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
    spark = builder.config("spark.ui.showConsoleProgress", "false").config("spark.scheduler.mode", "FAIR").getOrCreate()
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
    parser.add_argument("--rank", type=_number(int, 1, 1024), default=128, help="factors per movie")
    parser.add_argument("--iterations", type=_number(int, 1, 100), default=10, help="rounds of ALS")
    parser.add_argument("--reg", type=_number(float, 0, 1000), default=0.03, help="ALS regularisation per like")
    parser.add_argument("--alpha", type=_number(float, 0, 1000), default=1.0, help="confidence of a like over none")
    parser.add_argument("--seed", type=_number(int, 0, 2**31 - 1), default=7, help="of ALS and of the evaluation")
    parser.add_argument("--like-threshold", type=_number(float, 0.5, 5), default=4.0, help="stars that make a like")
    parser.add_argument(
        "--half-like", type=_number(float, 0, 0.99), default=0.5, help="worth of a rating up to a star below a like"
    )
    parser.add_argument("--kinship", type=_number(float, 0, 3), default=1.0, help="weight of genres and years")
    parser.add_argument("--neighbours", type=_number(int, 1, 1000), default=50, help="neighbours per movie")
    parser.add_argument(
        "--search", type=_number(int, 0, 1000), default=0, help="recipes to try, of which the best trains"
    )
    parser.add_argument("--search-results", type=Path, help="what a search found (default: beside the bundle)")
    parser.add_argument("--search-parallel", type=_number(int, 1, 64), default=2, help="recipes to try at a time")
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

    facts = preferences.describe_input(ratings)
    judge = partial(evaluate_fit, spark, counts=counts, log=log, movies=movies.movies)
    searched: list[dict[str, Any]] = []
    if options.search:
        alone = partial(judge, baselines=no_baselines)
        searched = parameter_search.use_the_best(ratings, options, alone, context=layout.fingerprint)
        log.done(f"searched {len(searched)} recipes; trains by {recipe_of(searched[0])}", phase="search")
    likes = preferences.graded(ratings, threshold=options.like_threshold, half=options.half_like).persist()
    likes.count()
    loaded.release()
    evaluation = judge(likes, options) if options.evaluate else []
    factors = fit(likes, options)
    embedding = add_kinship(factors.embedding, features_of(factors.movie_ids, movies.movies), strength=options.kinship)
    log.done(f"fitted {len(factors.movie_ids):,} movies with {options.rank} factors", phase="fit")
    ids, scores = nearest(spark, embedding, count=min(options.neighbours, len(embedding) - 1))
    log.done(f"found {ids.shape[1]} neighbours of each movie", phase="find neighbours")

    columns = movie_columns(factors.movie_ids, movies.movies, counts) | {
        "embedding": embedding,
        "prior": factors.prior,
        "residual": factors.residual,
        "neighbour_ids": ids,
        "neighbour_scores": scores,
    }
    dataset = describe_dataset(layout, options) | {
        "histogram": facts,
        "ratings": total,
        "users": users,
        "movies": len(counts),
        "duplicates": loaded.repeated,
        "rejected": dict(loaded.rejected),
        "rejected_movies": len(movies.rejected),
    }
    if options.visitors:
        dataset["visitors"] = hashlib.sha256(options.visitors.read_bytes()).hexdigest()
    path = path_for(embedding, kinship_columns=embedding.shape[1] - options.rank)
    metadata = describe_run(spark, options, dataset, evaluation, timings=log.timings, searched=searched, path=path)
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
    spark: SparkSession,
    likes: DataFrame,
    options: argparse.Namespace,
    *,
    counts: pa.Table,
    log: Log,
    movies: dict[int, Movie],
    baselines: Baselines = baselines_of,
) -> list[dict[str, Any]]:
    """Fit without a fifth of the users and judge that fit beside baselines (the usual), on a sample of bounded size."""
    known, whole, half = sample_likes(likes, counts, options)
    split = split_users(whole, seed=options.seed)
    if not split.queries:
        log.done("skipped evaluation: no held-out user has enough likes", phase="evaluate")
        return []
    kept = ~np.isin(half.users, split.held_out)
    training = {
        "user": np.concatenate([split.training.users, half.users[kept]]).astype(np.int32),
        "movie": np.concatenate([split.training.movies, half.movies[kept]]).astype(np.int32),
        "like": np.where(np.arange(len(split.training) + kept.sum()) < len(split.training), 1.0, options.half_like),
    }
    factors = fit(spark.createDataFrame(pa.table(training)).persist(), options)
    # Movies that no training user likes have no factors: they know nothing and are known by nobody.
    items, embedding = np.zeros((2, len(known), options.rank), np.float32)
    items[factors.movie_ids], embedding[factors.movie_ids] = factors.items, factors.embedding
    prior, residual = np.zeros((2, len(known)), np.float32)
    prior[factors.movie_ids], residual[factors.movie_ids] = factors.prior, factors.residual
    embedding = add_kinship(embedding, features_of(known, movies), strength=options.kinship)
    path = path_for(embedding, kinship_columns=embedding.shape[1] - options.rank)
    model = TasteModel(embedding=embedding, prior=prior, residual=residual, path=path)
    rows = evaluate(split, model=model, factors=items, baselines=baselines)
    log.done(f"evaluated {len(split.queries):,} queries of {rows[0]['users']:,} held-out users", phase="evaluate")
    return rows


def sample_likes(
    likes: DataFrame, counts: pa.Table, options: argparse.Namespace
) -> tuple[npt.NDArray[Any], Likes, Likes]:
    """Return the most rated movies' ids, ascending, and likes and half-likes of as many users as can be judged by.

    Users are drawn by a seeded hash of their id, so that a user stays in or out from night to night.
    """
    order = np.lexsort((counts["movie"].to_numpy(), -counts["count"].to_numpy()))[:JUDGED_MOVIES]
    known = np.sort(counts["movie"].to_numpy()[order])
    share = min(1.0, JUDGED_RATINGS / max(int(np.sum(counts["count"].to_numpy())), 1))
    drawn = likes
    if share < 1:
        drawn = likes.where(F.pmod(F.xxhash64("user", F.lit(options.seed)), F.lit(10**6)) < int(share * 10**6))
    pairs = drawn.toArrow()
    kept = np.isin(pairs["movie"].to_numpy(), known)
    users, owner = np.unique(pairs["user"].to_numpy()[kept], return_inverse=True)
    rows = np.searchsorted(known, pairs["movie"].to_numpy()[kept])
    whole = pairs["like"].to_numpy()[kept] == 1
    size = {"user_count": len(users), "movie_count": len(known)}
    return known, *(Likes.from_pairs(owner[part], rows[part], **size) for part in (whole, ~whole))


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
    *,
    timings: list[dict[str, Any]],
    searched: list[dict[str, Any]],
    path: TastePath,
) -> BundleMetadata:
    """Return the bundle's metadata; nothing of it tells paths or hosts."""
    data = ("ratings", "visitors", "movies", "columns", "movie_columns", "out", "run_id", "dataset", "code_revision")
    own = {*data, "search", "search_results", "search_parallel"}
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
        taste=path.to_mapping(),
        code_revision=options.code_revision,
        details={"timings": timings} | ({"search": searched} if searched else {}),
    )


if __name__ == "__main__":
    sys.exit(main())
