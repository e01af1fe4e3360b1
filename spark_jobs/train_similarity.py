"""Train the taste model with Spark and write it as a bundle.

    spark-submit train_similarity.py --ratings DIR --out FILE

Likes and half-likes go into MLlib's ALS; in the span of its movie factors the users' likes give the covariance between
movies, their genres and years add to it, and the nearest neighbours follow. The same is fitted once more without a
fifth of the users, to judge it beside baselines. The driver writes the bundle and prints one line per phase.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf

import parameter_search
import preferences
from nightreel.bundle.schema import BundleError, BundleMetadata
from nightreel.bundle.taste_path import TastePath
from nightreel.bundle.writer import write_bundle
from nightreel.recommend.content import features_of
from nightreel.recommend.datasets import licence_of, name_of
from nightreel.recommend.evaluation import Baselines, baselines_of, evaluate, no_baselines, quality_table, split_users
from nightreel.recommend.neighbours import block_rows, neighbour_block, unit_rows
from nightreel.recommend.population import add_kinship, describe_movies, span_of
from nightreel.recommend.ratings import DatasetError, Layout, Likes, find_layout
from nightreel.recommend.search import recipe_of
from nightreel.recommend.taste_model import TasteModel, path_for
from nightreel.recommend.titles import Movie, read_movies

JUDGED_RATINGS, JUDGED_MOVIES = 1_000_000, 10_000
"""The evaluation's sample, so that the judge never costs more than the work."""

LIKES_PER_BLOCK = 500_000

COUNTED = "user int, movie int, rating float, time double"


class JobError(RuntimeError):
    """Training cannot go on; the sentence says why and what to change."""


@dataclass(frozen=True)
class Factors:
    """A fit: movie ids ascending, ALS' factors of movies (m, f), E by the users' likes (m, f) and the prior (m,)."""

    movie_ids: npt.NDArray[np.int64]
    items: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]
    prior: npt.NDArray[np.float32]


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
    """One line per finished phase, with the seconds it took."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def done(self, what: str) -> None:
        """Print a phase's result."""
        now = time.monotonic()
        print(f"[{now - self._since:6.1f} s] {what}", flush=True)  # noqa: T201
        self._since = now


def train(spark: SparkSession, options: argparse.Namespace) -> None:
    """Read, fit, evaluate and write; DatasetError, JobError or BundleError when it cannot be done."""
    log = Log()
    layout = find_layout(options.ratings)
    movies = read_movies(layout)
    ratings = read_ratings(spark, layout).persist()
    counts = count_ratings(ratings, layout)
    users = ratings.select("user").distinct().count()
    total = int(np.sum(counts["count"].to_numpy()))
    log.done(f"read {total:,} ratings of {len(counts):,} movies by {users:,} users ({layout.name})")

    searched: list[dict[str, Any]] = []
    if options.search:
        judge = partial(evaluate_fit, spark, counts=counts, log=log, movies=movies, baselines=no_baselines)
        searched = parameter_search.use_the_best(ratings, options, judge, context=layout.fingerprint)
        log.done(f"searched {len(searched)} recipes; trains by {recipe_of(searched[0])}")
    likes = preferences.graded(ratings, threshold=options.like_threshold, half=options.half_like).persist()
    evaluation = evaluate_fit(spark, likes, options, counts=counts, log=log, movies=movies) if options.evaluate else []
    factors = fit(likes, options)
    embedding = add_kinship(factors.embedding, features_of(factors.movie_ids, movies), strength=options.kinship)
    log.done(f"fitted {len(factors.movie_ids):,} movies with {options.rank} factors")
    ids, scores = nearest(spark, embedding, count=min(options.neighbours, len(embedding) - 1))
    log.done(f"found {ids.shape[1]} neighbours of each movie")

    columns = movie_columns(factors.movie_ids, movies, counts) | {
        "embedding": embedding,
        "prior": factors.prior,
        "residual": np.zeros_like(factors.prior),
        "neighbour_ids": ids,
        "neighbour_scores": scores,
    }
    dataset = describe_dataset(layout, options) | {"ratings": total, "users": users, "movies": len(counts)}
    dataset |= preferences.describe_input(ratings)
    metadata = describe_run(spark, options, dataset, evaluation, searched=searched, path=path_for(embedding))
    digest = write_bundle(options.out, columns=columns, metadata=metadata)
    for row in quality_table(evaluation) if evaluation else []:
        print("  ".join([f"{row[0]:<24}", *(f"{cell:>11}" for cell in row[1:])]))  # noqa: T201
    log.done(f"wrote {options.out} ({options.out.stat().st_size / 2**20:.1f} MB, sha256 {digest})")


def read_ratings(spark: SparkSession, layout: Layout) -> DataFrame:
    """Read user, movie, rating (the last one where a user rated a movie twice) and how many times it was rated."""
    rows = spark.read.csv(
        layout.ratings.resolve().as_uri(),
        schema=COUNTED,
        sep=layout.separator,
        header=layout.header,
        enforceSchema=True,
    )
    latest = F.max_by("rating", F.struct("time", "rating")).alias("rating")
    return rows.groupBy("user", "movie").agg(latest, F.count("*").alias("times"))


def count_ratings(ratings: DataFrame, layout: Layout) -> pa.Table:
    """Return movie, count and mean per rated movie, by movie; JobError when there is none or a line is no rating."""
    usable = F.col("user").isNotNull() & F.col("movie").isNotNull() & F.col("rating").between(0.5, 5)
    grouped = ratings.groupBy("movie").agg(
        F.count("*").alias("count"), F.avg("rating").alias("mean"), F.count_if(usable).alias("usable")
    )
    counts = grouped.toArrow().sort_by("movie")
    found, good = (int(np.sum(counts[name].to_numpy())) for name in ("count", "usable"))
    if not good:
        raise JobError(f"{layout.ratings} has no usable rating; expected user, movie, 0.5 to 5 stars and time per line")
    if good < found:
        raise JobError(f"{layout.ratings}: {found - good:,} of {found:,} are no user, movie and 0.5 to 5 stars")
    return counts.drop_columns(["usable"])


def fit(likes: DataFrame, options: argparse.Namespace) -> Factors:
    """Factorise user, movie and like, place the users in the movies' span and describe the movies by it."""
    count = likes.count()
    if not count or not likes.where("like = 1").limit(1).count():
        raise JobError(f"no rating reaches {options.like_threshold} stars; lower --like-threshold")
    # MLlib's 10 blocks suit no size. By the likes, not by the cores: the same data starts alike on every cluster.
    blocks = 2 + count // LIKES_PER_BLOCK
    als = ALS(
        rank=options.rank,
        maxIter=options.iterations,
        regParam=options.reg,
        alpha=options.alpha,
        seed=options.seed,
        implicitPrefs=True,
        userCol="user",
        itemCol="movie",
        ratingCol="like",
        numUserBlocks=blocks,
        numItemBlocks=blocks,
        checkpointInterval=-1,  # would need a directory that every node shares
    )
    found = als.fit(likes).itemFactors.toArrow().sort_by("id")
    if len(found) < 2:
        raise JobError("only one movie is liked by anybody; a model needs two at least")
    movie_ids = found["id"].to_numpy().astype(np.int64)
    items = matrix(found["features"].combine_chunks())
    basis = span_of(items)
    moments = preferences.sum_moments(likes, movie_ids, basis, groups=blocks)
    return Factors(movie_ids, items, describe_movies(basis, moments), preferences.share_of_users(likes, movie_ids))


def matrix(features: pa.Array) -> npt.NDArray[np.float32]:
    """Turn a column of equally long lists into (n, f)."""
    flat = features.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    rows: npt.NDArray[np.float32] = flat.reshape(len(features), -1)
    return rows


def nearest(spark: SparkSession, embedding: npt.NDArray[np.float32], *, count: int) -> tuple[Any, Any]:
    """Return neighbour rows and correlations, both (m, count), worked out block by block on the executors."""
    movies = len(embedding)
    step = block_rows(movies)
    shared = spark.sparkContext.broadcast(unit_rows(embedding))

    @arrow_udf("struct<ids: array<int>, scores: array<float>>")  # type: ignore[call-overload, untyped-decorator]
    def find(rows: pa.Array) -> pa.Array:
        first, last = rows[0].as_py(), rows[-1].as_py() + 1  # the rows of a batch follow each other
        ends = [(start, min(start + step, last)) for start in range(first, last, step)]
        blocks = [neighbour_block(shared.value, start=start, stop=stop, count=count) for start, stop in ends]
        ids, scores = (as_lists(np.concatenate(part)) for part in zip(*blocks, strict=True))
        return pa.StructArray.from_arrays([ids, scores], names=["ids", "scores"])

    partitions = min(-(-movies // step), 4 * spark.sparkContext.defaultParallelism)
    rows = spark.range(0, movies, 1, partitions)
    found = rows.select("id", find("id").alias("near")).select("id", "near.*").toArrow().sort_by("id")
    shared.unpersist()
    ids = found["ids"].combine_chunks().flatten().to_numpy().reshape(movies, count)
    return ids, matrix(found["scores"].combine_chunks())


def as_lists(values: npt.NDArray[Any]) -> pa.Array:
    """Turn (n, k) into a column of n lists."""
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))


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
        log.done("skipped evaluation: no held-out user has enough likes")
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
    prior = np.zeros(len(known), np.float32)
    prior[factors.movie_ids] = factors.prior
    embedding = add_kinship(embedding, features_of(known, movies), strength=options.kinship)
    model = TasteModel(embedding=embedding, prior=prior, residual=np.zeros_like(prior), path=path_for(embedding))
    rows = evaluate(split, model=model, factors=items, baselines=baselines)
    log.done(f"evaluated {len(split.queries):,} queries of {rows[0]['users']:,} held-out users")
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
        "year": [movie.year for movie in known],
        "genres": [list(movie.genres) for movie in known],
        "imdb_id": [movie.imdb_id for movie in known],
        "tmdb_id": [movie.tmdb_id for movie in known],
        "rating_count": counts["count"].to_numpy()[rows],
        "mean_rating": counts["mean"].to_numpy()[rows],
    }


def describe_dataset(layout: Layout, options: argparse.Namespace) -> dict[str, Any]:
    """Return the data set's name, fingerprint and licence."""
    name = options.dataset or name_of(layout.ratings.parent)
    return {"name": name, "fingerprint": layout.fingerprint, "licence": licence_of(name), "layout": layout.name}


def describe_run(
    spark: SparkSession,
    options: argparse.Namespace,
    dataset: dict[str, Any],
    evaluation: list[dict[str, Any]],
    *,
    searched: list[dict[str, Any]],
    path: TastePath,
) -> BundleMetadata:
    """Return the bundle's metadata; nothing of it tells paths or hosts."""
    own = ("ratings", "out", "run_id", "dataset", "code_revision", "search", "search_results", "search_parallel")
    now = datetime.now(UTC).replace(microsecond=0)
    return BundleMetadata(
        run_id=options.run_id or f"{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}",
        created=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        dataset=dataset,
        parameters={name: value for name, value in vars(options).items() if name not in own}
        | ({"searched": searched} if searched else {}),
        versions={
            "python": platform.python_version(),
            "spark": spark.version,
            "numpy": np.__version__,
            "pyarrow": pa.__version__,
        },
        evaluation=evaluation,
        taste=path.to_mapping(),
        code_revision=options.code_revision,
    )


if __name__ == "__main__":
    sys.exit(main())
