"""What the ratings say of users' tastes: how much they like what, and where that places them among the factors.

What runs on the executors here names nothing of this file, which is only on the driver's path.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf

from nightreel.recommend.population import Moments


def graded(ratings: DataFrame, *, threshold: float, half: float) -> DataFrame:
    """Return user, movie and like: 1 from the threshold on, `half` up to a star below it, and no row below that."""
    rating = F.col("rating")
    like = F.when(rating >= threshold, 1.0).when(rating >= threshold - 1, half)
    return ratings.select("user", "movie", like.alias("like")).where("like > 0")


def describe_input(ratings: DataFrame) -> dict[str, int]:
    """Return how many ratings have how many stars, by the stars as text."""
    stars = (F.round(F.col("rating") * 2) / 2).alias("stars")
    rows = ratings.groupBy(stars).agg(F.count("*").alias("count")).collect()
    return {f"{row['stars']:g}": row["count"] for row in sorted(rows, key=lambda row: row["stars"])}


def sum_moments(
    likes: DataFrame, movie_ids: npt.NDArray[np.int64], basis: npt.NDArray[np.float64], *, groups: int
) -> Moments:
    """Add up the users' moments, a group of them at a time; only f² numbers leave each group."""
    shared = likes.sparkSession.sparkContext.broadcast((movie_ids, basis))

    @arrow_udf("binary")  # type: ignore[call-overload, untyped-decorator]  # the hints below say its kind
    def partial(users: pa.Array, movies: pa.Array, values: pa.Array) -> pa.Scalar:
        ids, axes = shared.value
        rows = np.searchsorted(ids, movies.to_numpy())
        part = Moments.of_likes(axes, users=users.to_numpy(), movies=rows, values=values.to_numpy())
        return np.concatenate([[part.weight], part.first, part.second.ravel()]).tobytes()

    group = F.pmod("user", F.lit(groups)).alias("group")
    parts = likes.groupBy(group).agg(partial("user", "movie", "like").alias("sums")).toArrow().sort_by("group")
    shared.unpersist()
    rank = basis.shape[1]
    sums = [np.frombuffer(part, dtype=np.float64) for part in parts["sums"].to_pylist()]
    return reduce(Moments.__add__, (Moments(v[0], v[1 : rank + 1], v[rank + 1 :].reshape(rank, rank)) for v in sums))


def share_of_users(likes: DataFrame, movie_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return the prior of each movie: the share of users who like it, everybody counted by 1 / their likes."""
    whole = likes.where("like = 1")
    weight = whole.groupBy("user").agg((1 / F.count("*")).alias("weight"))
    shares = whole.join(weight, "user").groupBy("movie").agg(F.sum("weight").alias("share")).toArrow()
    prior = np.zeros(len(movie_ids))
    prior[np.searchsorted(movie_ids, shares["movie"].to_numpy())] = shares["share"].to_numpy()
    total: float = weight.agg(F.sum("weight")).collect()[0][0]
    return np.asarray(prior / total, dtype=np.float32)
