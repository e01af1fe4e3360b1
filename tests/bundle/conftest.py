from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightreel.bundle.schema import BundleMetadata
from nightreel.bundle.writer import write_bundle

MOVIES, FACTORS, NEIGHBOURS = 6, 3, 2
TASTE = {
    "offset": 0.1,
    "points": [
        {"taste": 0.0, "beta": 1.0, "eta": 0.0, "noise": 0.01},
        {"taste": 1.0, "beta": 0.0, "eta": 0.25, "noise": 0.02},
    ],
}


def metadata(**changes: Any) -> BundleMetadata:
    fields: dict[str, Any] = {
        "run_id": "test-run",
        "created": "2026-01-01T00:00:00Z",
        "dataset": {"name": "made up", "fingerprint": "0" * 64, "licence": "none", "ratings": 12, "users": 3},
        "parameters": {"rank": FACTORS},
        "versions": {"nightreel": "0"},
        "evaluation": [{"model": "most popular", "taste": None}],
        "taste": TASTE,
        "code_revision": "unknown",
    }
    return BundleMetadata(**(fields | changes))


def columns(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    others = [[n for n in range(MOVIES) if n != row][:NEIGHBOURS] for row in range(MOVIES)]
    made: dict[str, Any] = {
        "movie_id": np.arange(10, 10 + MOVIES),
        "title": [f"Movie {n}" for n in range(MOVIES)],
        "year": [1995, None, 2001, 2002, 2003, 2004],
        "genres": [["Drama"], [], ["Comedy", "War"], [], [], []],
        "imdb_id": ["0114709", None, None, None, None, None],
        "tmdb_id": [None] * MOVIES,
        "rating_count": np.full(MOVIES, 2),
        "mean_rating": np.full(MOVIES, 3.5),
        "embedding": rng.normal(size=(MOVIES, FACTORS)),
        "prior": rng.uniform(size=MOVIES),
        "residual": np.zeros(MOVIES),
        "neighbour_ids": np.array(others),
        "neighbour_scores": np.tile([0.9, 0.5], (MOVIES, 1)),
    }
    return made | changes


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a small valid bundle with some columns or metadata changed."""

    def make(*, metadata_changes: dict[str, Any] | None = None, **changes: Any) -> Path:
        path = tmp_path / "model.arrow"
        write_bundle(path, columns=columns(**changes), metadata=metadata(**(metadata_changes or {})))
        return path

    return make
