"""Neighbour rows beside the bare product of matrices of the same shape, and the memory that they take.

    OMP_NUM_THREADS=1 python -m benchmarks.neighbours [--movies 250000] [--rows 4096]

The product alone is the limit: no exact search that looks at every pair can be faster. Both, and a plain argpartition
of every row, take turns on the same rows; processor time is compared, since other load on the machine lengthens it
less than the wall's. The rows that are left out would take as long, and no more memory.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.report import machine, table
from nightreel.recommend.neighbours import BLOCK_ROWS, TILE_COLUMNS, neighbour_block, unit_rows

NEIGHBOURS = 50


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--movies", type=int, default=250_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--rows", type=int, default=4_096)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    print(f"{machine()}\n")
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "unit.npy"
        np.save(file, made_up(options.movies, options.rank))
        unit = np.load(file, mmap_mode="r")
        seconds = take_turns(unit, options)
    ratios = [bare / ours for bare, ours in zip(seconds["product alone"], seconds["neighbours"], strict=True)]
    bare = statistics.median(seconds["product alone"])
    work = 2e-9 * options.rows * options.movies * options.rank
    rows = [
        [name, statistics.median(each), work / statistics.median(each), f"{bare / statistics.median(each):.2f}"]
        for name, each in seconds.items()
    ]
    print(f"{options.rows:,} rows of {options.movies:,} movies, rank {options.rank}, {NEIGHBOURS} neighbours\n")
    print(table(["what", "processor s", "GFLOP/s", "share of the bare product's speed"], rows))
    print(f"\nShare by turn: {min(ratios):.2f} to {max(ratios):.2f}. Greatest memory of the process while it")
    print(f"searched: {searched['peak']:.0f} MiB, of which {searched['start']:.0f} MiB were there before.")


searched: dict[str, float] = {}


def made_up(movies: int, rank: int) -> np.ndarray:
    """Rows of length 1 with few strong factors and many weak ones, as a model's are."""
    rng = np.random.default_rng(7)
    strength = (1 / np.sqrt(np.arange(1, rank + 1))).astype(np.float32)
    return unit_rows(rng.standard_normal((movies, rank), dtype=np.float32) * strength)


def take_turns(unit: np.ndarray, options: argparse.Namespace) -> dict[str, list[float]]:
    """Processor seconds of each way, turn by turn, all on the same rows."""
    tile = np.empty((BLOCK_ROWS, min(TILE_COLUMNS, len(unit))), np.float32)

    def product() -> None:
        for first in range(0, options.rows, BLOCK_ROWS):
            chosen = np.ascontiguousarray(unit[first : first + BLOCK_ROWS])
            for left in range(0, len(unit), TILE_COLUMNS):
                right = min(left + TILE_COLUMNS, len(unit))
                np.matmul(chosen, unit[left:right].T, out=tile[: len(chosen), : right - left])

    def neighbours() -> None:
        neighbour_block(unit, start=0, stop=options.rows, count=NEIGHBOURS)

    searched["start"] = peak()
    neighbours()
    searched["peak"] = peak()
    found: dict[str, list[float]] = {"product alone": [], "neighbours": []}
    for _ in range(options.turns):
        found["product alone"].append(seconds(product))
        found["neighbours"].append(seconds(neighbours))
    sample = min(options.rows, 2 * BLOCK_ROWS)
    found["product and argpartition"] = [options.rows / sample * seconds(lambda: partition(unit, sample))]
    return found


def partition(unit: np.ndarray, rows: int) -> None:
    """What one writes first: a whole row of the matrix, partitioned."""
    for first in range(0, rows, 64):
        correlations = unit[first : min(first + 64, rows)] @ unit.T
        np.argpartition(-correlations, NEIGHBOURS - 1, axis=1)


def seconds(work: Callable[[], None]) -> float:
    """Processor seconds of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def peak() -> float:
    """Greatest resident memory of this process so far, mapped pages included, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
