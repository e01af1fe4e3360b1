"""Find every movie's neighbours on the executors, a block of rows at a time."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark import SparkFiles
from pyspark.sql import SparkSession
from pyspark.sql.pandas.functions import arrow_udf

from nightreel.recommend.lists import as_lists, matrix
from nightreel.recommend.neighbours import neighbour_block, unit_rows
from nightreel.recommend.progress import told

ROWS_PER_TASK = 4_096


def nearest(spark: SparkSession, embedding: npt.NDArray[np.float32], *, count: int) -> tuple[Any, Any]:
    """Return neighbour rows and correlations, both (m, count), worked out block by block on the executors.

    The embedding goes to every node once, as a file that its Python processes map: one copy, however many they are.
    """
    with tempfile.TemporaryDirectory() as scratch:
        shared = Path(scratch) / f"embedding-{uuid.uuid4().hex}.npy"
        np.save(shared, unit_rows(embedding))
        spark.sparkContext.addFile(str(shared))
        with told(spark.sparkContext, lambda jobs, done, tasks: f"neighbours: {done} of {tasks} blocks of movies"):
            found = _search(spark, shared.name, movies=len(embedding), count=count)
    ids = found["ids"].combine_chunks().flatten().to_numpy().reshape(len(embedding), count)
    return ids, matrix(found["scores"].combine_chunks())


def _search(spark: SparkSession, name: str, *, movies: int, count: int) -> pa.Table:
    # It may call the package alone: the files beside the job are not on the executors.
    @arrow_udf("struct<ids: array<int>, scores: array<float>>")  # type: ignore[call-overload, untyped-decorator]
    def find(rows: pa.Array) -> pa.Array:
        unit = np.load(SparkFiles.get(name), mmap_mode="r")
        first, last = rows[0].as_py(), rows[-1].as_py() + 1  # the rows of a batch follow each other
        ids, scores = (as_lists(part) for part in neighbour_block(unit, start=first, stop=last, count=count))
        return pa.StructArray.from_arrays([ids, scores], names=["ids", "scores"])

    # More tasks than cores, so that none is left alone at the end.
    tasks = max(min(-(-movies // ROWS_PER_TASK), 1_000), min(movies, 4 * spark.sparkContext.defaultParallelism))
    rows = spark.range(0, movies, 1, tasks)
    return rows.select("id", find("id").alias("near")).select("id", "near.*").toArrow().sort_by("id")
