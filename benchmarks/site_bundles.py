"""Made-up bundles of any size, for what depends on the size alone."""

from pathlib import Path

import numpy as np

from nightreel.bundle.schema import BundleMetadata
from nightreel.bundle.writer import write_bundle
from nightreel.recommend.taste_model import path_for

RANK, NEIGHBOURS = 64, 20
GENRES = ("Action", "Comedy", "Drama", "Horror", "Romance", "Sci-Fi", "Thriller", "War")


def write_made_up(path: Path, *, movies: int, run_id: str, seed: int = 1) -> str:
    """Write a bundle of that many movies, rank 64, and return its SHA-256."""
    rng = np.random.default_rng(seed)
    offsets = np.sort(rng.choice(np.arange(1, movies), NEIGHBOURS, replace=False))
    embedding = rng.normal(0, 0.05, (movies, RANK)).astype(np.float32)
    popularity = np.sort(rng.pareto(1.0, movies))[::-1]
    columns = {
        "movie_id": np.arange(1, movies + 1),
        "title": [f"Film number {row} of the night" for row in range(movies)],
        "year": rng.integers(1930, 2026, movies).tolist(),
        "genres": [[GENRES[row % 8], GENRES[row // 8 % 8]] for row in range(movies)],
        "imdb_id": [f"{row:07d}" for row in range(movies)],
        "tmdb_id": [str(row) for row in range(movies)],
        "rating_count": np.minimum(popularity * 10 + 1, 10**6).astype(np.int32),
        "mean_rating": rng.uniform(2, 5, movies),
        "embedding": embedding,
        "prior": np.linspace(0.5, 0.001, movies),
        "residual": np.zeros(movies),
        "neighbour_ids": (np.arange(movies)[:, None] + offsets) % movies,
        "neighbour_scores": np.tile(np.linspace(0.9, 0.1, NEIGHBOURS), (movies, 1)),
    }
    metadata = BundleMetadata(
        run_id=run_id,
        created="2026-01-01T00:00:00Z",
        dataset={"name": f"made up, {movies} movies", "fingerprint": "0" * 64, "licence": "none"},
        parameters={"rank": RANK},
        versions={},
        evaluation=[],
        taste=path_for(embedding, kinship_columns=0).to_mapping(),
        code_revision="unknown",
    )
    return write_bundle(path, columns=columns, metadata=metadata)
