"""What the ratings say of users' tastes: how much they like what, and where that places them among the factors.

What runs on the executors here names nothing of this file, which is only on the driver's path.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf

from nightreel.recommend.population import HEAVY_RATERS, Moments


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


@dataclass(frozen=True)
class Liking:
    """How movies are liked, each (m,) in the order of their ids.

    `prior` is the share of users who like it, everybody counted by 1 / their likes; `variance` is that of what users
    think of it (1, half a like or 0), everybody counted as in the moments.
    """

    prior: npt.NDArray[np.float32]
    variance: npt.NDArray[np.float64]


def describe_liking(likes: DataFrame, movie_ids: npt.NDArray[np.int64]) -> Liking:
    """Sum up by movie how much it is liked, and by whom."""
    whole = F.when(F.col("like") == 1, 1.0).otherwise(0.0)
    users = likes.groupBy("user").agg(
        F.when(F.sum(whole) > 0, 1 / F.sum(whole)).otherwise(0.0).alias("share"),
        F.pow(F.sum("like"), F.lit(-HEAVY_RATERS)).alias("weight"),
    )
    value = F.col("like").cast("double")
    sums = {
        "share": F.sum(whole * F.col("share")),
        "first": F.sum(F.col("weight") * value),
        "second": F.sum(F.col("weight") * value * value),
    }
    grouped = likes.join(users, "user").groupBy("movie").agg(*(column.alias(name) for name, column in sums.items()))
    found = grouped.toArrow()
    rows = np.searchsorted(movie_ids, found["movie"].to_numpy())
    by_movie = {name: np.zeros(len(movie_ids)) for name in sums}
    for name, values in by_movie.items():
        values[rows] = found[name].to_numpy()
    share, weight = users.agg(F.sum("share"), F.sum("weight")).collect()[0]
    mean = by_movie["first"] / weight
    prior = np.asarray(by_movie["share"] / share, dtype=np.float32)
    return Liking(prior, np.maximum(by_movie["second"] / weight - mean**2, 0))
