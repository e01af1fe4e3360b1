"""What recommends from all ratings at serving time: no matrix could serve these, they stand in the table as the bar."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nightreel.recommend.datasets import cache_folder
from nightreel.recommend.evaluation import Query
from nightreel.recommend.ratings import Likes

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements-implicit.txt"
ALS = HERE / "implicit_als.py"

Scores = npt.NDArray[Any]


class UserKNN:
    """Likes of the users who share seeds, each weighted by (e^{3·shared} − 1) / size^power of their list."""

    def __init__(self, likes: Likes, *, power: float) -> None:
        self.name = f"user-based KNN, list^{power:g}"
        self._likes = likes
        self._size = np.maximum(likes.activity, 1.0) ** power

    def scores_for(self, seeds: Sequence[int]) -> Scores:
        """Return the weighted number of likes."""
        shared = np.zeros(self._likes.user_count)
        for seed in seeds:
            shared[self._likes.fans_of(seed)] += 1
        weights = np.expm1(3 * shared) / self._size
        return np.bincount(self._likes.movies, weights=weights[self._likes.users], minlength=self._likes.movie_count)


class ImplicitALS:
    """The implicit library's ALS, every visitor folded in from their seeds (`recalculate_user=True`)."""

    def __init__(self, name: str, scores: dict[tuple[int, ...], Scores]) -> None:
        self.name = name
        self._scores = scores

    def scores_for(self, seeds: Sequence[int]) -> Scores:
        """Return the scores that the library gave for these seeds."""
        return self._scores[tuple(seeds)]


def implicit_als(likes: Likes, queries: Sequence[Query], settings: Sequence[tuple[int, float, float]]) -> list[Any]:
    """Ask implicit's ALS all queries at each setting of factors, regularisation and alpha."""
    python = _environment(cache_folder() / "benchmarks") / "bin" / "python"
    seeds = np.array([query.seeds for query in queries])
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        given, answer = Path(scratch) / "given.npz", Path(scratch) / "scores.npy"
        shape = np.array([likes.user_count, likes.movie_count])
        np.savez(given, users=likes.users, movies=likes.movies, shape=shape, seeds=seeds)
        for factors, regularisation, alpha in settings:
            words = [str(given), str(answer), str(factors), str(regularisation), str(alpha)]
            subprocess.run([str(python), str(ALS), *words], check=True)
            scores = dict(zip(map(tuple, seeds.tolist()), np.load(answer), strict=True))
            found.append(ImplicitALS(f"implicit ALS {factors}, λ {regularisation:g}, α {alpha:g}", scores))
    return found


def _environment(cache: Path) -> Path:
    """A virtual environment with implicit in it, made at the first run."""
    venv = cache / "implicit"
    mark = venv / "requirements.txt"
    if not mark.is_file() or mark.read_text() != REQUIREMENTS.read_text():
        uv = [str(Path(sys.executable).with_name("uv"))]
        subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv)], check=True)
        install = ["pip", "install", "--quiet", "--require-hashes", "-r", str(REQUIREMENTS)]
        subprocess.run([*uv, *install, "--python", str(venv / "bin" / "python")], check=True)
        mark.write_text(REQUIREMENTS.read_text())
    return venv
