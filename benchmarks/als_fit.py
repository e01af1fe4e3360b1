"""Fit ALS once and print what it took as JSON; `benchmarks.als` submits it with one thing changed at a time."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F


def main() -> None:
    """Read the settings from the command line, fit one round to warm the JVM up, then fit and measure."""
    settings = json.loads(sys.argv[1])
    spark = SparkSession.builder.getOrCreate()
    likes = read_likes(spark, settings).persist()
    count = likes.count()
    fit(likes, settings, iterations=1)
    processor, wall = processor_seconds(spark), time.monotonic()
    fit(likes, settings, iterations=settings["iterations"])
    took = {"wall": time.monotonic() - wall, "processor": processor_seconds(spark) - processor, "likes": count}
    print("RESULT " + json.dumps(took | {"blas": class_of(spark, "blas.NativeBLAS", "blas.JavaBLAS")}))
    spark.stop()


def read_likes(spark: SparkSession, settings: dict[str, Any]) -> DataFrame:
    """Likes in the order that is asked for, as the job hands them over."""
    rows = spark.read.parquet(settings["data"]).where("rating >= 4")
    likes = rows.select(
        F.col("userId").alias("user"), F.col("movieId").alias("movie"), F.lit(1.0).cast("float").alias("like")
    )
    order = settings.get("order")
    if order == "random":
        return likes.repartition(settings["blocks"]).sortWithinPartitions(F.xxhash64("user", "movie"))
    if order == "by user":
        return likes.repartition(settings["blocks"], "user").sortWithinPartitions("user", "movie")
    return likes


def fit(likes: DataFrame, settings: dict[str, Any], *, iterations: int) -> None:
    """Fit with MLlib and make both factors."""
    level = settings.get("level", "MEMORY_AND_DISK")
    als = ALS(
        rank=settings["rank"],
        maxIter=iterations,
        regParam=0.03,
        alpha=1.0,
        seed=7,
        implicitPrefs=True,
        userCol="user",
        itemCol="movie",
        ratingCol="like",
        numUserBlocks=settings["blocks"],
        numItemBlocks=settings["blocks"],
        checkpointInterval=settings.get("checkpoint", -1),
        intermediateStorageLevel=level,
        finalStorageLevel=level,
    )
    model = als.fit(likes)
    model.itemFactors.count()
    model.userFactors.count()


def processor_seconds(spark: SparkSession) -> float:
    """Processor time of the JVM, which another load on the machine does not lengthen as it does the wall's."""
    jvm: Any = spark._jvm
    stat = Path(f"/proc/{jvm.java.lang.ProcessHandle.current().pid()}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(stat[11]) + int(stat[12])) / 100


def class_of(spark: SparkSession, *names: str) -> str:
    """Which implementation of BLAS there is."""
    for name in names:
        package, kind = name.split(".")
        try:
            # A driver in this process has its JVM; the type is for sessions of Spark Connect, which have none.
            found = getattr(getattr(spark._jvm.dev.ludovic.netlib, package), kind).getInstance()  # type: ignore[union-attr]
            return str(found.getClass().getSimpleName())
        except Exception as error:
            last = error
    return str(last)


if __name__ == "__main__":
    main()
