"""How fast the site is, beside a view that does nothing under the same server, and what a worker costs.

    python -m benchmarks.site [--movies 10000,62000] [--seconds 8] [--rounds 3] [--workers 2]

Queries are distinct and random. The client runs on the same machine and takes its part of it. Where others compute on
the machine too, trust the ratios by CPU: seconds that the server's processes computed per answer.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np

from benchmarks import report
from benchmarks.site_bundles import GENRES, write_made_up
from benchmarks.site_load import Load, closed_loop, open_loop
from benchmarks.site_server import TOKEN, Server, memory_of, serving
from nightreel.bundle.publish import publish
from nightreel.bundle.reader import open_bundle
from nightreel.recommend.taste_model import TasteModel

OPEN_RATE = 50.0
SCORING_GOAL, P99_GOAL, RATIO_GOAL = 1.5, 50.0, 0.5
QUERIES = 400


def scoring(path: Path, *, seed: int = 3) -> tuple[list[float], float]:
    """Milliseconds per query, and of this thread's CPU time per query on average.

    A query: 3 to 5 seeds, a genre out, a decade, what was seen hidden, and the best ten of all movies that are left.
    """
    bundle, rng = open_bundle(path), np.random.default_rng(seed)
    model = TasteModel.from_bundle(bundle)
    genres = {name: np.array([name in listed for listed in bundle.genres]) for name in GENRES}
    decades = np.array([(year or 0) // 10 for year in bundle.years])
    taken, computed = [], 0.0
    for _ in range(QUERIES):
        seeds = rng.choice(len(bundle), int(rng.integers(3, 6)), replace=False).tolist()
        ratings, taste = rng.integers(1, 6, len(seeds)).tolist(), float(rng.random())
        out, since, seen = str(rng.choice(GENRES)), int(rng.integers(193, 200)), rng.integers(0, len(bundle), 50)
        began, cpu = time.perf_counter(), time.thread_time()
        scores = model.score(seeds=seeds, ratings=ratings, taste=taste)
        hidden = genres[out] | (decades < since)
        hidden[seen] = True
        scores.values[hidden] = -np.inf
        best = scores.top(10)
        taken.append(1000 * (time.perf_counter() - began))
        computed += time.thread_time() - cpu
        assert len(best) == 10
    return taken, 1000 * computed / QUERIES


def random_paths(movies: int, seed: int = 5) -> dict[str, "RandomPath"]:
    """What is asked, by name."""
    forms = {"no-op": "/noop", "API": "/api/v1/recommendations?{seeds}", "page": "/?{seeds}"}
    return {name: RandomPath(form, movies, Random(seed)) for name, form in forms.items()}


class RandomPath:
    """Makes an address that was not asked before."""

    def __init__(self, form: str, movies: int, random: Random) -> None:
        self._form, self._movies, self._random = form, movies, random

    def __call__(self) -> str:
        """Three films, their ratings and a place on the slider."""
        ids = self._random.sample(range(1, self._movies + 1), 3)
        seeds = "&".join(f"seed={movie}:{self._random.randint(1, 5)}" for movie in ids)
        return self._form.format(seeds=f"{seeds}&taste={self._random.random():.4f}")


@dataclass
class Rates:
    """Answers per second of each round, and CPU milliseconds of the server per answer over all of them."""

    per_second: list[float] = field(default_factory=list)
    cpu: float = 0.0
    answers: int = 0

    @property
    def cpu_per_answer(self) -> float:
        """CPU milliseconds per answer."""
        return 1000 * self.cpu / max(self.answers, 1)


def rates(server: Server, movies: int, *, seconds: float, rounds: int) -> dict[str, Rates]:
    """Measure what is asked, each kind in every round, so that a busy minute of the machine hits all alike."""
    paths = random_paths(movies)
    found = {name: Rates() for name in paths}
    for path in paths.values():  # every worker opens the model and compiles its templates first
        asyncio.run(closed_loop(server.port, path, seconds=1))
    for _ in range(rounds):
        for name, path in paths.items():
            cpu = server.cpu_seconds()
            load = asyncio.run(closed_loop(server.port, path, seconds=seconds))
            if load.errors:
                raise RuntimeError(f"{name}: {load.errors} errors, {dict(load.statuses)}")
            found[name].per_second.append(load.rate)
            found[name].cpu += server.cpu_seconds() - cpu
            found[name].answers += load.statuses[200]
    return found


def swap_under_load(server: Server, movies: int, other: Path, *, seconds: float) -> tuple[Load, float]:
    """Publish another model in the middle of an open loop; the load, and how long publishing took.

    The load goes on for a few seconds after the other model serves, so that both answer.
    """
    took, done = [float("nan")], [float("-inf")]

    def swap() -> None:
        time.sleep(seconds / 4)
        began = time.perf_counter()
        publish(other, server=server.url, token=TOKEN)
        done[0] = time.perf_counter()
        took[0] = done[0] - began

    def longer() -> bool:
        return thread.is_alive() or time.perf_counter() - done[0] < seconds / 4

    thread = threading.Thread(target=swap)
    thread.start()
    path = random_paths(movies, 7)["API"]
    load = asyncio.run(open_loop(server.port, path, seconds=seconds, rate=OPEN_RATE, longer=longer))
    thread.join()
    return load, took[0]


def measure(movies: int, options: argparse.Namespace) -> list[tuple[str, ...]]:
    """Rows of the report for one size."""
    rows: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory(prefix="nightreel-bench-") as name:
        folder = Path(name)
        first, second = folder / "first.arrow", folder / "second.arrow"
        write_made_up(first, movies=movies, run_id="first")
        write_made_up(second, movies=movies, run_id="second", seed=2)
        taken, computed = scoring(first)
        median, slow = statistics.median(taken), sorted(taken)[int(0.99 * len(taken))]
        rows.append(
            (
                "exact scoring with filters, ms",
                f"{median:.2f} (p99 {slow:.2f}; {computed:.2f} of CPU)",
                f"≤ {SCORING_GOAL}",
            )
        )
        with serving(folder, workers=options.workers) as server:
            publish(first, server=server.url, token=TOKEN)
            found = rates(server, movies, seconds=options.seconds, rounds=options.rounds)
            noop = found["no-op"]
            shown = f"{report.spread(noop.per_second)}/s, {noop.cpu_per_answer:.2f} ms of CPU"
            rows.append(("no-op", shown, ""))
            for kind in ("API", "page"):
                ratio = statistics.median(found[kind].per_second) / statistics.median(noop.per_second)
                cpu = noop.cpu_per_answer / found[kind].cpu_per_answer
                shown = f"{ratio:.2f} of the no-op ({report.spread(found[kind].per_second)}/s); by CPU {cpu:.2f} "
                rows.append((kind, f"{shown}({found[kind].cpu_per_answer:.2f} ms)", f"≥ {RATIO_GOAL}"))
            for kind in ("API", "page"):
                path = random_paths(movies, 11)[kind]
                load = asyncio.run(open_loop(server.port, path, seconds=options.seconds * 2, rate=OPEN_RATE))
                shown = f"p99 {load.quantile(0.99):.1f} ms, median {load.quantile(0.5):.1f} ms, {load.errors} errors"
                rows.append((f"{kind} at {OPEN_RATE:.0f} requests/s", shown, f"p99 ≤ {P99_GOAL:.0f} ms"))
            load, took = swap_under_load(server, movies, second, seconds=max(options.seconds * 2, 16))
            models = len([model for model in load.models if model])
            shown = f"{load.errors} errors of {sum(load.statuses.values()):,}, {models} models answered, "
            shown += f"p99 {load.quantile(0.99):.1f} ms; upload and activation took {took:.1f} s"
            rows.append((f"model swap at {OPEN_RATE:.0f} requests/s", shown, "0 errors"))
            rows += _memory_rows(server)
    return rows


def _memory_rows(server: Server) -> list[tuple[str, ...]]:
    memory = [memory_of(pid) for pid in server.workers()]
    private = report.spread([entry.private for entry in memory])
    master = memory_of(server.pid)
    shared = statistics.median(entry.model_shared for entry in memory)
    mapped = statistics.median(entry.model_mapped for entry in memory)
    share = f"{shared / mapped:.0%}" if mapped else "none is mapped"
    return [
        ("each further worker, MiB of its own", private, ""),
        ("first process (code, before any worker), MiB proportional", f"{master.proportional:.1f}", ""),
        ("of the model's pages in memory, shared by the workers", f"{share} of {mapped:.1f} MiB", ""),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Speed and memory of the site.")
    parser.add_argument("--movies", default="10000,62000")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        parser.error("scoring is measured on one thread: set OPENBLAS_NUM_THREADS=1, as `make bench-site` does")
    print(f"{report.machine()}\nRank 64, {options.workers} workers of 4 threads.\n", flush=True)
    for movies in map(int, options.movies.split(",")):
        with report.timed() as watch:
            rows = measure(movies, options)
        print(report.table((f"{movies:,} movies", "measured", "goal"), rows))
        print(
            f"\nThe machine was {watch.utilisation:.0%} busy meanwhile; load now {os.getloadavg()[0]:.1f}.\n",
            flush=True,
        )


if __name__ == "__main__":
    main()
