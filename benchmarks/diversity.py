"""What it costs, and gives, to choose ten movies that differ.

    python -m benchmarks.diversity --ratings DIR

The three-seed evaluation on held-out users, each position of the slider with the plain ten best beside the ten that
the site chooses: NDCG@10 with the paired standard error of the difference, and how many of ten movies share a series
with an earlier one of them. Factors come from a small implicit ALS here (Hu, Koren and Volinsky 2008), without Spark.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nightreel.recommend.diversity import number_series, select_diverse
from nightreel.recommend.evaluation import Query, Split, paired_error, split_users
from nightreel.recommend.population import Moments, describe_movies
from nightreel.recommend.ratings import Likes, find_layout
from nightreel.recommend.taste_model import DEFAULT_PATH, TASTES, TasteModel
from nightreel.recommend.titles import read_movies

RANK, ROUNDS, ALPHA, REG = 64, 8, 2.0, 10.0
DISCOUNTS = 1 / np.log2(np.arange(2, 12))

Matrix = npt.NDArray[np.float64]


def main() -> None:
    """Print one line per position of the slider."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", type=Path, required=True)
    layout = find_layout(parser.parse_args().ratings)
    likes, ids = read_likes(layout.ratings)
    titles = read_movies(layout)
    series = number_series([titles[movie_id].title for movie_id in ids])
    split = split_users(likes, seed=7)
    model = fit(split.training)
    users = np.array([query.user for query in split.queries])
    print(f"{len(split.queries)} queries of {len(set(users.tolist()))} users, {len(ids)} movies")
    for name, taste in TASTES.items():
        plain, diverse = (judge(model, split, series, taste=taste, diverse=how) for how in (False, True))
        error = paired_error(users, diverse[0] - plain[0]) or 0.0
        print(
            f"{name:<12} NDCG@10 plain {plain[0].mean():.3f}, different {diverse[0].mean():.3f} "
            f"(ratio {diverse[0].mean() / plain[0].mean():.3f}, difference ± {error:.3f}); "
            f"sequels among ten {plain[1].mean():.2f} → {diverse[1].mean():.2f}"
        )


def read_likes(path: Path) -> tuple[Likes, list[int]]:
    """Return the likes (4 stars and more) of a MovieLens CSV file, and the movie ids of the columns."""
    table = np.genfromtxt(path, delimiter=",", skip_header=1, usecols=(0, 1, 2))
    liked = table[table[:, 2] >= 4]
    ids, movies = np.unique(liked[:, 1].astype(np.int64), return_inverse=True)
    users, owners = np.unique(liked[:, 0].astype(np.int64), return_inverse=True)
    return Likes.from_pairs(owners, movies, user_count=len(users), movie_count=len(ids)), ids.tolist()


def fit(likes: Likes) -> TasteModel:
    """Fit the taste model to likes."""
    matrix = np.zeros((likes.user_count, likes.movie_count), dtype=bool)
    matrix[likes.users, likes.movies] = True
    rng = np.random.default_rng(7)
    movies = rng.normal(scale=0.1, size=(likes.movie_count, RANK))
    for _ in range(ROUNDS):
        users = half_step(matrix, movies)
        movies = half_step(matrix.T, users)
    activity = matrix.sum(axis=1)
    active = activity > 0
    moments = Moments.of_users(users[active].astype(np.float32), activity[active])
    embedding, prior = describe_movies(movies.astype(np.float32), moments)
    return TasteModel(embedding=embedding, prior=prior, residual=np.zeros_like(prior), path=DEFAULT_PATH)


def half_step(matrix: npt.NDArray[np.bool_], fixed: Matrix) -> Matrix:
    """Solve one side of implicit ALS for the other being fixed."""
    ground = fixed.T @ fixed + REG * np.eye(RANK)
    solved = np.zeros((len(matrix), RANK))
    for row, liked in enumerate(matrix):
        chosen = fixed[liked]
        if len(chosen):
            solved[row] = np.linalg.solve(ground + ALPHA * chosen.T @ chosen, (1 + ALPHA) * chosen.sum(axis=0))
    return solved


def judge(
    model: TasteModel, split: Split, series: npt.NDArray[np.int32], *, taste: float, diverse: bool
) -> tuple[Matrix, Matrix]:
    """Return NDCG@10 and the number of repeated series for each query."""
    judged = [judge_one(model, query, series, taste=taste, diverse=diverse) for query in split.queries]
    ndcg, repeats = np.array(judged, dtype=np.float64).T
    return ndcg, repeats


def judge_one(
    model: TasteModel, query: Query, series: npt.NDArray[np.int32], *, taste: float, diverse: bool
) -> tuple[float, int]:
    """Ask one query."""
    seeds: Sequence[int] = query.seeds.tolist()
    scores = model.score(seeds=seeds, ratings=[5.0] * len(seeds), taste=taste)
    rows = scores.top(10)
    if diverse:
        allowed = np.ones(len(scores.values), dtype=bool)
        allowed[seeds] = False
        rows = select_diverse(scores.values, allowed=allowed, embedding=model.embedding, series=series, count=10).rows
    hits = np.isin(rows, query.targets)
    possible = min(10, len(query.targets))
    repeated = len(rows) - len(set(series[rows].tolist()))
    return float((hits * DISCOUNTS).sum() / DISCOUNTS[:possible].sum()), repeated


if __name__ == "__main__":
    main()
