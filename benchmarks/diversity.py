"""What it costs, and gives, to choose ten movies that differ.

    python -m benchmarks.diversity [--ratings FOLDER]

Trains by `nightreel train` without a fifth of the users and asks for them, from three of their likes each: at every
position of the slider the plain ten best beside the ten that the site chooses. NDCG@10 over the rest of their likes
with the paired standard error of the difference over users, and how many of ten movies share a series with an earlier
one of them. FOLDER has ratings in MovieLens' CSV layout (default: ml-latest-small, as `nightreel data fetch` gets it).
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from benchmarks import report
from nightreel.bundle.reader import Bundle, open_bundle
from nightreel.recommend import datasets
from nightreel.recommend.diversity import number_series, select_diverse
from nightreel.recommend.evaluation import TOP, Split, split_users, standard_error
from nightreel.recommend.ratings import Likes
from nightreel.recommend.taste_model import HIGHEST_RATING, TASTES, Scores, TasteModel

LIKED_FROM = 4
HEADER = (
    "position",
    "NDCG@10, plain",
    "NDCG@10, different",
    "ratio",
    "difference",
    "sequels of ten, plain",
    "different",
)

Floats = npt.NDArray[np.float64]
Rows = Sequence[int]


def main() -> None:
    """Print one line per position of the slider."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", type=Path, help="a folder in MovieLens' CSV layout")
    parser.add_argument("--seed", type=int, default=7, help="of the split")
    given = parser.parse_args()
    folder = given.ratings or datasets.fetch("ml-latest-small")
    table = pyarrow.csv.read_csv(folder / "ratings.csv")
    user_ids, movie_ids, likes = likes_of(table)
    split = split_users(likes, seed=given.seed)
    with tempfile.TemporaryDirectory(prefix="nightreel-diversity-") as name:
        bundle = train(folder, table, held_out=user_ids[split.held_out], scratch=Path(name))
        lines = measure(bundle, split, movie_ids)
    print(f"{report.machine()}; {folder.name}\n\n{report.table(HEADER, lines)}")


def likes_of(table: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Likes]:
    """Return the ids of users and of movies, ascending, and the likes by their places among these."""
    user_ids, users = np.unique(table["userId"].to_numpy(), return_inverse=True)
    movie_ids, movies = np.unique(table["movieId"].to_numpy(), return_inverse=True)
    liked = table["rating"].to_numpy() >= LIKED_FROM
    size = {"user_count": len(user_ids), "movie_count": len(movie_ids)}
    return user_ids, movie_ids, Likes.from_pairs(users[liked], movies[liked], **size)


def train(folder: Path, table: pa.Table, *, held_out: npt.NDArray[np.int64], scratch: Path) -> Bundle:
    """Train on the ratings of everybody else."""
    shutil.copytree(folder, scratch / "ratings", ignore=shutil.ignore_patterns("ratings.csv"))
    kept = table.filter(pa.array(~np.isin(table["userId"].to_numpy(), held_out)))
    pyarrow.csv.write_csv(kept, scratch / "ratings" / "ratings.csv")
    command = [str(Path(sys.executable).with_name("nightreel")), "train", "--ratings", str(scratch / "ratings")]
    bundle = scratch / "model.arrow"
    subprocess.run([*command, "--no-evaluate", "--out", str(bundle)], check=True, env=os.environ, stdout=sys.stderr)
    return open_bundle(bundle)


def measure(bundle: Bundle, split: Split, movie_ids: npt.NDArray[np.int64]) -> list[tuple[str, ...]]:
    """Ask all queries at each position; the rows of the table."""
    model = TasteModel.from_bundle(bundle)
    series = number_series(bundle.titles)
    rows_of = bundle.rows_of(movie_ids.tolist())  # -1 where the training knows nothing of a movie
    lines = []
    for name, taste in TASTES.items():
        users: list[int] = []
        plain: list[tuple[float, int]] = []
        different: list[tuple[float, int]] = []
        for query in split.queries:
            seeds = [row for row in rows_of[query.seeds].tolist() if row >= 0]
            if not seeds:
                continue
            scores = model.score(seeds=seeds, ratings=[HIGHEST_RATING] * len(seeds), taste=taste)
            users.append(query.user)
            for found, rows in ((plain, scores.top(TOP)), (different, chosen(scores, model, series, seeds))):
                found.append((ndcg(rows, rows_of[query.targets]), len(rows) - len(set(series[rows].tolist()))))
        lines.append(line(name, np.array(users), np.array(plain).T, np.array(different).T))
    print(f"{len(users)} queries of {len(set(users))} users, {len(bundle):,} movies", file=sys.stderr)
    return lines


def chosen(scores: Scores, model: TasteModel, series: npt.NDArray[np.int32], seeds: Rows) -> Rows:
    """The ten that the site would choose."""
    allowed = np.ones(len(scores.values), dtype=bool)
    allowed[list(seeds)] = False
    return select_diverse(scores.values, allowed=allowed, embedding=model.embedding, series=series, count=TOP).rows


def ndcg(rows: Rows, targets: npt.NDArray[np.int64]) -> float:
    """NDCG of an answer; targets that the model does not know are missed."""
    discounts = 1 / np.log2(np.arange(2, TOP + 2))
    hits = np.isin(rows, targets)
    return float((hits * discounts[: len(hits)]).sum() / discounts[: min(TOP, len(targets))].sum())


def line(name: str, users: npt.NDArray[np.int64], plain: Floats, different: Floats) -> tuple[str, ...]:
    """A position's row: `plain` and `different` are (2, queries), NDCG and repeated series."""
    before, after = plain[0].mean(), different[0].mean()
    error = standard_error(users, different[0] - plain[0])
    shown = f"{after - before:+.4f} ± {error:.4f}" if error is not None else "–"
    sequels = [f"{found[1].mean():.2f}" for found in (plain, different)]
    return (name, f"{before:.3f}", f"{after:.3f}", f"{after / before:.3f}", shown, *sequels)


if __name__ == "__main__":
    main()
