"""Write a bundle: all or nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nightreel.bundle.errors import BundleError
from nightreel.bundle.reader import sha256_of, validate_bundle
from nightreel.bundle.schema import BundleMetadata, bundle_schema


def write_bundle(path: str | os.PathLike[str], *, columns: Mapping[str, Any], metadata: BundleMetadata) -> str:
    """Write one column per name of `bundle_schema` and return the file's SHA-256.

    Columns are NumPy arrays ((m,) or (m, f), (m, k)), Arrow arrays or lists; without `alternate_titles` no movie has
    other names. The file appears under its name
    only when it is whole and valid; BundleError, and no file, when it would not be.
    """
    target = Path(path)
    batch = _record_batch(columns, metadata)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            with pa.ipc.new_file(file, batch.schema) as writer:
                writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())
        validate_bundle(draft)
        digest = sha256_of(draft)
        draft.chmod(0o644)  # mkstemp's 0600 would keep the site's user from reading it
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return digest


def _record_batch(columns: Mapping[str, Any], metadata: BundleMetadata) -> pa.RecordBatch:
    """Cast the columns to the bundle's types in the bundle's order."""
    try:
        schema = bundle_schema(
            factors=np.shape(columns["embedding"])[1], neighbours=np.shape(columns["neighbour_ids"])[1]
        )
        full = {"alternate_titles": [[]] * len(columns["movie_id"])} | dict(columns)
        arrays = [_array(full[field.name], field.type) for field in schema]
    except KeyError as error:
        raise BundleError(f"column {error} is missing") from error
    except (pa.ArrowException, IndexError) as error:
        raise BundleError(f"a column has the wrong shape or type: {error}") from error
    if len({len(array) for array in arrays}) != 1:
        lengths = {field.name: len(array) for field, array in zip(schema, arrays, strict=True)}
        raise BundleError(f"the columns differ in length: {lengths}")
    return pa.RecordBatch.from_arrays(arrays, schema=schema.with_metadata(metadata.to_schema_metadata()))


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        flat = np.ascontiguousarray(values, dtype=kind.value_type.to_pandas_dtype()).ravel()
        return pa.FixedSizeListArray.from_arrays(pa.array(flat), kind.list_size)
    return pa.array(values, type=kind)
