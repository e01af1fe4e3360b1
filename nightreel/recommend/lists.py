"""Matrices as columns of lists, the form in which Spark keeps them, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def matrix(column: pa.Array) -> npt.NDArray[np.float32]:
    """Turn a column of equally long lists into (n, f)."""
    flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    rows: npt.NDArray[np.float32] = flat.reshape(len(column), -1)
    return rows


def as_lists(values: npt.NDArray[Any]) -> pa.Array:
    """Turn (n, k) into a column of n lists."""
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))
