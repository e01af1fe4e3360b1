"""Open a bundle as a mapped file, and check one before it is trusted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nightreel.bundle import checks
from nightreel.bundle.errors import BundleError
from nightreel.bundle.framing import check_not_packed
from nightreel.bundle.schema import BundleMetadata, bundle_schema

Column = npt.NDArray[Any]


class Bundle:
    """A mapped bundle: m movies in index order, numeric columns as read-only NumPy views of the file.

    The mapping lives as long as the bundle or a view of it, also when the file is renamed or unlinked.
    """

    def __init__(self, path: Path, batch: pa.RecordBatch, metadata: BundleMetadata) -> None:
        self.path = path
        self.metadata = metadata
        self.batch = batch

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def _numbers(self, name: str) -> Column:
        values: Column = self.batch.column(name).to_numpy(zero_copy_only=True)
        return values

    def _matrix(self, name: str) -> Column:
        column = self.batch.column(name)
        values: Column = column.flatten().to_numpy(zero_copy_only=True)
        return values.reshape(len(self), column.type.list_size)

    @cached_property
    def movie_ids(self) -> npt.NDArray[np.int64]:
        """Ids in the ratings source, int64 (m,)."""
        return self._numbers("movie_id")

    @cached_property
    def rating_counts(self) -> npt.NDArray[np.int32]:
        """Ratings in the training data, int32 (m,)."""
        return self._numbers("rating_count")

    @cached_property
    def mean_ratings(self) -> npt.NDArray[np.float32]:
        """Mean rating in the training data in stars, float32 (m,)."""
        return self._numbers("mean_rating")

    @cached_property
    def embedding(self) -> npt.NDArray[np.float32]:
        """E, float32 (m, f): E Eᵀ is the covariance of predicted preferences."""
        return self._matrix("embedding")

    @cached_property
    def prior(self) -> npt.NDArray[np.float32]:
        """Mean predicted preference, float32 (m,)."""
        return self._numbers("prior")

    @cached_property
    def residual(self) -> npt.NDArray[np.float32]:
        """Variance of a movie that the factors leave unexplained, float32 (m,)."""
        return self._numbers("residual")

    @cached_property
    def neighbour_ids(self) -> npt.NDArray[np.int32]:
        """Row indices of the most similar movies, best first, never the movie itself, int32 (m, k)."""
        return self._matrix("neighbour_ids")

    @cached_property
    def neighbour_scores(self) -> npt.NDArray[np.float32]:
        """Their correlations, float32 (m, k)."""
        return self._matrix("neighbour_scores")

    @cached_property
    def titles(self) -> list[str]:
        """Display titles: "The Matrix"."""
        return list(self.batch.column("title").to_pylist())

    @cached_property
    def alternate_titles(self) -> list[list[str]]:
        """Other names of each movie, the original one first."""
        return list(self.batch.column("alternate_titles").to_pylist())

    @cached_property
    def years(self) -> list[int | None]:
        """Years of release where known."""
        return list(self.batch.column("year").to_pylist())

    @cached_property
    def genres(self) -> list[list[str]]:
        """Genres, possibly none."""
        return list(self.batch.column("genres").to_pylist())

    @cached_property
    def imdb_ids(self) -> list[str | None]:
        """IMDb ids where known."""
        return list(self.batch.column("imdb_id").to_pylist())

    @cached_property
    def tmdb_ids(self) -> list[str | None]:
        """TMDB ids where known."""
        return list(self.batch.column("tmdb_id").to_pylist())

    @cached_property
    def _by_id(self) -> npt.NDArray[np.intp]:
        order: npt.NDArray[np.intp] = np.argsort(self.movie_ids, kind="stable")
        return order

    def rows_of(self, movie_ids: Sequence[int]) -> npt.NDArray[np.intp]:
        """Return the row of each movie id (n,), -1 where the bundle does not know the movie; ids fit int64."""
        wanted = np.asarray(movie_ids, dtype=np.int64)
        places = np.searchsorted(self.movie_ids, wanted, sorter=self._by_id)
        rows = self._by_id[np.minimum(places, len(self) - 1)]
        found: npt.NDArray[np.intp] = np.where(self.movie_ids[rows] == wanted, rows, -1)
        return found

    def row_of(self, movie_id: int) -> int | None:
        """Return the row of a movie id, or None when the bundle does not know the movie."""
        if not 0 <= movie_id < 2**63:
            return None
        row = int(self.rows_of([movie_id])[0])
        return None if row < 0 else row


def open_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Map a bundle; BundleError when it is no bundle or of an unknown version.

    Cheap: columns are looked at, values are not. `validate_bundle` is for files that come from elsewhere.
    """
    source = Path(path)
    try:
        mapped = _map(source)
        reader = pa.ipc.open_file(mapped)
        metadata = BundleMetadata.from_schema_metadata(reader.schema.metadata)
        if reader.num_record_batches != 1:
            raise BundleError(f"{source.name} has {reader.num_record_batches} record batches instead of one")
        check_not_packed(memoryview(mapped), name=source.name)
        batch = reader.get_batch(0)
    except FileNotFoundError as error:
        raise BundleError(f"there is no bundle at {source}") from error
    except (pa.ArrowException, OSError) as error:
        raise BundleError(f"{source.name} is not a whole Arrow file: {error}") from error
    _check_columns(batch)
    if not all(_lies_in(mapped, buffer) for column in batch.columns for buffer in column.buffers()):
        raise BundleError(f"{source.name} is compressed or misaligned; a bundle is neither, so that it can be mapped")
    return Bundle(source, batch, metadata)


def _map(source: Path) -> pa.Buffer:
    with pa.memory_map(str(source)) as file:
        return file.read_buffer()


def _lies_in(mapped: pa.Buffer, buffer: pa.Buffer | None) -> bool:
    """Say whether a column's buffer is a part of the file rather than a copy made on reading."""
    if buffer is None or buffer.size == 0:
        return True
    return bool(0 <= buffer.address - mapped.address <= mapped.size - buffer.size)


def _check_columns(batch: pa.RecordBatch) -> None:
    """Refuse any other set of columns or types than the schema's."""
    sizes = {}
    for name in ("embedding", "neighbour_ids"):
        index = batch.schema.get_field_index(name)
        kind = batch.schema.field(index).type if index >= 0 else None
        if kind is None or not pa.types.is_fixed_size_list(kind):
            raise BundleError(f"column {name} is {kind or 'missing'}; expected a list of fixed size")
        sizes[name] = kind.list_size
    expected = bundle_schema(factors=sizes["embedding"], neighbours=sizes["neighbour_ids"])
    found = {field.name: field.type for field in batch.schema}
    for field in expected:
        if found.get(field.name) != field.type:
            raise BundleError(f"column {field.name} is {found.get(field.name, 'missing')}; expected {field.type}")
    if batch.schema.names != expected.names:
        raise BundleError(f"the columns are {batch.schema.names}; expected {expected.names}")


def validate_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Check everything that a bundle promises and return it opened; BundleError names the first breach."""
    bundle = open_bundle(path)
    try:
        bundle.batch.validate(full=True)
    except pa.ArrowException as error:
        raise BundleError(f"the Arrow data is malformed: {error}") from error
    checks.check_rows(bundle.batch)
    checks.check_movies(bundle.movie_ids, bundle.rating_counts, bundle.mean_ratings)
    checks.check_model(bundle.embedding, bundle.prior, bundle.residual)
    checks.check_neighbours(bundle.neighbour_ids, bundle.neighbour_scores)
    checks.check_metadata(bundle.metadata, factors=bundle.embedding.shape[1])
    return bundle


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the file's SHA-256 in hex: the bundle's identity."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_digest(path: str | os.PathLike[str]) -> str:
    """Return a SHA-256 in hex of the rows and the slider's path: two runs that made the same model share it."""
    bundle = open_bundle(path)
    digest = hashlib.sha256(bundle.batch.replace_schema_metadata(None).serialize())
    digest.update(repr(bundle.metadata.taste_path).encode())
    return digest.hexdigest()
