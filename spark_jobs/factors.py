"""Fit MLlib's ALS to likes, as fast as MLlib goes, and sum up what the users' factors say."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf

from nightreel.recommend.lists import matrix
from nightreel.recommend.population import Moments
from nightreel.recommend.progress import told

LIKES_PER_BLOCK = 500_000


class JobError(RuntimeError):
    """Training cannot go on; the sentence says why and what to change."""


@dataclass(frozen=True)
class Factors:
    """A fit: movie ids ascending, their factors (m, f), and the users' moments."""

    movie_ids: npt.NDArray[np.int64]
    items: npt.NDArray[np.float32]
    moments: Moments


def block_count(likes: int) -> int:
    """Return into how many blocks of users, and of movies, that many likes are cut.

    MLlib's 10 suit no size. By the likes and not by the cores, so that the same data start alike on every cluster.
    """
    return 2 + likes // LIKES_PER_BLOCK


def fit(likes: DataFrame, options: argparse.Namespace) -> Factors:
    """Factorise the likes and sum up the users' moments where their factors are."""
    count = likes.count()
    if not count:
        raise JobError(f"no rating reaches {options.like_threshold} stars; lower --like-threshold")
    blocks = block_count(count)
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
    with told(likes.sparkSession.sparkContext, als_in_words(options.iterations, blocks=blocks)):
        model = als.fit(likes.withColumn("like", F.lit(1.0)))
    items = model.itemFactors.toArrow().sort_by("id")
    if len(items) < 2:
        raise JobError("only one movie is liked by anybody; a model needs two at least")
    activity = likes.groupBy(F.col("user").alias("id")).agg(F.count("*").alias("likes"))
    return Factors(
        items["id"].to_numpy().astype(np.int64),
        matrix(items["features"].combine_chunks()),
        sum_moments(model, activity),
    )


def als_in_words(iterations: int, *, blocks: int) -> Callable[[int, int, int], str]:
    """Say which iteration ALS is in: it starts a few jobs to prepare and then two per iteration, one for each side."""
    return lambda jobs, done, tasks: (
        f"ALS: iteration {min((jobs - 2) // 2, iterations)} of {iterations} on {blocks} × {blocks} blocks"
        if jobs >= 4
        else ""
    )


def sum_moments(model: Any, activity: DataFrame) -> Moments:
    """Add up the users' moments where the users are; only f² numbers leave each group of them."""

    # It may call the package alone: the files beside the job are not on the executors.
    @arrow_udf("binary")  # type: ignore[call-overload, untyped-decorator]  # the hints below say its kind
    def partial(features: pa.Array, likes: pa.Array) -> pa.Scalar:
        part = Moments.of_users(matrix(features), likes.to_numpy())
        return np.concatenate([[part.weight], part.first, part.second.ravel()]).tobytes()

    groups = activity.sparkSession.sparkContext.defaultParallelism
    group = F.pmod("id", F.lit(groups)).alias("group")
    parts = model.userFactors.join(activity, "id").groupBy(group).agg(partial("features", "likes").alias("sums"))
    rank = model.rank
    sums = [np.frombuffer(part, dtype=np.float64) for part in parts.toArrow().sort_by("group")["sums"].to_pylist()]
    return reduce(Moments.__add__, (Moments(v[0], v[1 : rank + 1], v[rank + 1 :].reshape(rank, rank)) for v in sums))
