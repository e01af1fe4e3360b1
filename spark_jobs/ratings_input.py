"""Read ratings of every layout with Spark; rows that are none are counted by what is wrong with them and kept aside."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nightreel.recommend.layouts import OWN, RATING_FIELDS, DatasetError, Layout

LOWEST, HIGHEST = 0.5, 5.0
LIKED = 5.0
LAST_ID = 2**31 - 1
"""MLlib counts users and movies by ints."""


@dataclass(frozen=True)
class Ratings:
    """User, movie and stars, each pair of user and movie once, and what became of the other rows.

    `repeated` are rows that a later one of the same user and movie replaced; `rejected` counts rows by what is wrong.
    """

    rows: DataFrame
    found: int
    repeated: int
    rejected: Mapping[str, int]
    cached: DataFrame

    def release(self) -> None:
        """Give back the memory of all rows, once nobody reads them any more."""
        self.cached.unpersist()

    @property
    def rejected_rows(self) -> int:
        """How many rows are no ratings."""
        return sum(self.rejected.values())

    @property
    def summary(self) -> str:
        """What was left out, in a sentence's end; nothing when nothing was."""
        parts = [f"{count:,} {reason}" for reason, count in self.rejected.items()]
        text = f"; kept aside: {', '.join(parts)}" if parts else ""
        return text + (f"; {self.repeated:,} rated again" if self.repeated else "")


def load_ratings(spark: SparkSession, layout: Layout, *, aside: Path) -> Ratings:
    """Read and count; the rows are cached. Rows that are no ratings go into the CSV file `aside`, which is made anew.

    DatasetError when no row is a rating.
    """
    marked = _marked(_numbered_users(spark, read_text(spark, layout), layout))
    last = F.max_by("rating", F.struct("time", "rating")).alias("rating")
    usable = F.col("reason").isNull()
    grouped = (
        marked.groupBy(
            F.when(usable, F.col("user")).alias("user"), F.when(usable, F.col("movie")).alias("movie"), "reason"
        )
        .agg(last, F.count("*").alias("rows"))
        .persist()
    )
    tally = grouped.groupBy("reason").agg(F.sum("rows").alias("rows"), F.count("*").alias("pairs")).collect()
    rejected = {row["reason"]: row["rows"] for row in sorted(tally, key=lambda row: -row["rows"]) if row["reason"]}
    good = [(row["rows"], row["pairs"]) for row in tally if row["reason"] is None]
    aside.unlink(missing_ok=True)
    if rejected:
        columns = ("user_text", "movie_text", "rating_text", "time_text", "reason")
        lines = marked.where(~usable).select(*columns).toLocalIterator(prefetchPartitions=True)
        keep_aside(aside, layout.ratings.name, ((",".join(cell or "" for cell in line[:4]), line[4]) for line in lines))
    if not good:
        said = ", ".join(f"{count:,} {reason}" for reason, count in rejected.items()) or "it is empty"
        wanted = f"user, movie, {LOWEST} to {HIGHEST:g} stars and time"
        raise DatasetError(f"{layout.ratings} has no usable rating ({said}); expected {wanted} in each row")
    found, pairs = good[0]
    rows = grouped.where(usable).select("user", "movie", "rating")
    return Ratings(rows, found + sum(rejected.values()), found - pairs, rejected, grouped)


def keep_aside(aside: Path, file: str, rows: Iterable[tuple[str, str]]) -> None:
    """Append rows that could not be used, each with the file it stands in and what is wrong with it."""
    fresh = not aside.exists()
    aside.parent.mkdir(parents=True, exist_ok=True)
    with aside.open("a", encoding="utf-8", newline="") as target:
        writer = csv.writer(target)
        if fresh:
            writer.writerow(("file", "row", "reason"))
        writer.writerows((file, text, reason) for text, reason in rows)


def read_text(spark: SparkSession, layout: Layout) -> DataFrame:
    """Read the four columns as they stand there, as text; rating and time are null where a layout has none."""
    table = layout.source
    location = table.path.resolve().as_uri()
    if table.form == "parquet":
        rows = spark.read.parquet(location)
        names = {ours: _quoted(theirs) for ours, theirs in table.columns.items()}
    else:
        width = max(table.positions.values()) + 1
        schema = ", ".join(f"c{place} string" for place in range(width))
        rows = spark.read.csv(location, schema=schema, sep=table.separator, header=table.header, enforceSchema=True)
        names = {ours: f"c{place}" for ours, place in table.positions.items()}
    return rows.select(
        *(
            (F.col(names[field]).cast("string") if field in names else F.lit(None).cast("string")).alias(
                f"{field}_text"
            )
            for field in RATING_FIELDS
        ),
        # Data that only say who watched what are likes.
        F.lit("rating" in names).alias("rated"),
    )


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"


def _numbered_users(spark: SparkSession, rows: DataFrame, layout: Layout) -> DataFrame:
    """Add the user's number: the user itself, or its place among all where own data call users by other things."""
    trimmed = F.trim("user_text")
    number = _whole(trimmed)
    if layout.name != OWN or not rows.where(number.isNull() & (trimmed != "")).limit(1).count():
        return rows.withColumn("user", number)
    # By sorted names and not by a hash, so that no two users fall together and a repetition counts alike.
    names = sorted(rows.select(trimmed.alias("name")).where("name != ''").distinct().toArrow()["name"].to_pylist())
    index = pa.table({"name": pa.array(names, pa.string()), "user": pa.array(range(len(names)), pa.int32())})
    numbered = spark.createDataFrame(index)
    return rows.join(numbered, trimmed == F.col("name"), "left").drop("name")


def _whole(text: Column) -> Column:
    number = text.try_cast("bigint")
    return F.when(number.between(0, LAST_ID), number).cast("int")


def _marked(rows: DataFrame) -> DataFrame:
    """Add movie, rating and time as numbers and, where a row is no rating, the reason."""
    rating = F.when(F.col("rated"), F.col("rating_text").try_cast("float")).otherwise(F.lit(LIKED)).cast("float")
    time = F.coalesce(F.col("time_text").try_cast("double"), F.try_to_timestamp("time_text").cast("double"), F.lit(0.0))
    numbers = rows.withColumns({"movie": _whole(F.trim("movie_text")), "rating": rating, "time": time})
    reason = (
        F.when(F.col("user").isNull(), "without a user")
        .when(F.col("movie").isNull(), f"without a movie's number (0 to {LAST_ID})")
        .when(F.col("rating").isNull() | F.isnan("rating"), "without a rating")
        .when(~F.col("rating").between(LOWEST, HIGHEST), f"with a rating outside of {LOWEST} to {HIGHEST:g} stars")
    )
    return numbers.withColumn("reason", reason)
