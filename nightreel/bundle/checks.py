"""What must hold of a bundle's values; each check raises BundleError with the first movie that breaks it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nightreel.bundle.errors import BundleError
from nightreel.bundle.schema import BundleMetadata

Numbers = npt.NDArray[Any]

LONGEST_TITLE, LONGEST_NAME = 500, 250
MOST_TITLES = 20
"""How many other names a movie may have."""
ROUNDING = 1e-4
"""How far a float32 correlation may lie beyond 1."""


def _first(wrong: Numbers) -> int | None:
    """Return the first row in which anything is True, or None."""
    rows = np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1)) if len(wrong) else wrong
    return int(rows[0]) if len(rows) else None


def _refuse(wrong: Numbers, sentence: str) -> None:
    row = _first(wrong)
    if row is not None:
        raise BundleError(f"{sentence} (first at row {row})")


def check_rows(batch: pa.RecordBatch) -> None:
    """At least two movies, and no null in a column that must be full."""
    if batch.num_rows < 2:
        raise BundleError(f"a bundle needs at least two movies, this one has {batch.num_rows}")
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if field.name in ("year", "imdb_id", "tmdb_id"):
            continue
        holes = column.null_count
        if pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type):
            holes += column.flatten().null_count
        if holes:
            raise BundleError(f"column {field.name} has {holes} nulls; it must have none")
    _check_titles("title", ([title] for title in batch.column("title").to_pylist()))
    _check_titles("alternate_titles", batch.column("alternate_titles").to_pylist())


def _check_titles(name: str, rows: Iterable[list[str]]) -> None:
    for row, titles in enumerate(rows):
        if len(titles) > MOST_TITLES:
            raise BundleError(f"column {name} may hold {MOST_TITLES} titles a movie (first wrong at row {row})")
        for title in titles:
            if not title.strip() or len(title) > LONGEST_TITLE or not title.isprintable():
                raise BundleError(
                    f"column {name} must hold 1 to {LONGEST_TITLE} printable characters (first wrong at row {row})"
                )


def check_movies(movie_ids: Numbers, rating_counts: Numbers, mean_ratings: Numbers) -> None:
    """Ids unique, counts not negative, means within 0 to 5 stars."""
    _refuse((movie_ids < 0) | (movie_ids >= 10**18), "column movie_id has an id of other than 1 to 18 digits")
    if len(np.unique(movie_ids)) != len(movie_ids):
        raise BundleError("column movie_id names a movie twice")
    _refuse(rating_counts < 0, "column rating_count has a negative count")
    _refuse(~((mean_ratings >= 0) & (mean_ratings <= 5)), "column mean_rating leaves 0 to 5 stars")


def check_model(embedding: Numbers, prior: Numbers, residual: Numbers) -> None:
    """At least one factor, every number finite, residual variance not negative."""
    if embedding.shape[1] < 1:
        raise BundleError("column embedding has no factors")
    for name, values in (("embedding", embedding), ("prior", prior), ("residual", residual)):
        _refuse(~np.isfinite(values), f"column {name} has a number that is not finite")
    _refuse(residual < 0, "column residual has a negative variance")


def check_neighbours(ids: Numbers, scores: Numbers) -> None:
    """Neighbours in range, never the movie itself, each once, best first, correlations within ±1."""
    movies = len(ids)
    if ids.shape != scores.shape or ids.shape[1] < 1:
        raise BundleError(f"neighbour_ids {ids.shape} and neighbour_scores {scores.shape} must match and not be empty")
    _refuse((ids < 0) | (ids >= movies), f"column neighbour_ids leaves the rows 0 to {movies - 1}")
    _refuse(ids == np.arange(movies)[:, None], "a movie is its own neighbour")
    _refuse(np.diff(np.sort(ids, axis=1), axis=1) == 0, "column neighbour_ids names a neighbour twice")
    _refuse(~(np.abs(scores) <= 1 + ROUNDING), "column neighbour_scores has a number outside of -1 to 1")
    _refuse(np.diff(scores, axis=1) > 0, "column neighbour_scores is not sorted, best first")


def check_metadata(metadata: BundleMetadata, *, factors: int) -> None:
    """A run id, a slider path that fits `factors`, and the parts that the site shows in the shape that it expects."""
    for name in ("dataset", "parameters", "versions"):
        if not isinstance(getattr(metadata, name), dict):
            raise BundleError(f"the metadata's {name} must be a mapping")
    _check_text("run_id", metadata.run_id)
    _check_text("created", metadata.created)
    _check_text("dataset name", metadata.dataset.get("name"))
    if not isinstance(metadata.evaluation, list) or not all(isinstance(row, dict) for row in metadata.evaluation):
        raise BundleError("the metadata's evaluation must be a list of mappings")
    kin = metadata.taste_path.kinship_columns
    if kin > factors:
        raise BundleError(f"the taste path has {kin} kinship columns, but the embedding has only {factors}")


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME or not value.isprintable():
        raise BundleError(f"the metadata's {name} must be 1 to {LONGEST_NAME} printable characters")
