"""Train on generated ratings of any number, and say how long it took and the most memory it had.

    nice -n 15 python -m benchmarks.size --ratings 32000000 --iterations 10 --memory 6g [--data FOLDER]

The memory is that of the whole tree of processes (the launcher, the JVM and its Python workers), pages shared between
them counted once (PSS), looked at every half second.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.report import machine
from nightreel.recommend.generated import World, write_world


def main() -> None:
    """Generate, train, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", type=int, default=32_000_000)
    parser.add_argument("--data", type=Path, help="generated ratings that are there already")
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--memory", default="6g")
    parser.add_argument("--evaluate", action="store_true")
    options = parser.parse_args()
    print(f"{machine()}\n", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        data = options.data or generate(Path(scratch) / "ratings", options.ratings)
        command = [str(Path(sys.executable).with_name("nightreel")), "train", "--ratings", str(data)]
        command += ["--out", str(Path(scratch) / "model.arrow"), "--memory", options.memory]
        command += ["--rank", str(options.rank), "--iterations", str(options.iterations)]
        watch(command + ([] if options.evaluate else ["--no-evaluate"]))


def generate(folder: Path, ratings: int) -> Path:
    """Generate that many, and say how fast."""
    start, processor = time.monotonic(), time.process_time()
    for _ in write_world(World.like_movielens(ratings, users=None, movies=None, seed=7), folder, form="parquet"):
        pass
    took = time.process_time() - processor
    print(f"Generated in {time.monotonic() - start:.0f} s, processor {took:.0f} s.", flush=True)
    return folder


def watch(command: list[str]) -> None:
    """Run the training to its end, and print its time and memory."""
    start = time.monotonic()
    process = subprocess.Popen(command)
    highest = busy = 0.0
    while process.poll() is None:
        memory, seconds = usage(psutil.Process(process.pid))
        highest, busy = max(highest, memory), max(busy, seconds)
        time.sleep(0.5)
    print(f"\nExit code {process.returncode}, wall {time.monotonic() - start:.0f} s, processor {busy:.0f} s,")
    print(f"greatest memory {highest / 2**30:.1f} GiB.")
    sys.exit(process.returncode)


def usage(root: psutil.Process) -> tuple[float, float]:
    """Bytes and processor seconds of a process and all below it."""
    memory = seconds = 0.0
    try:
        processes = [root, *root.children(recursive=True)]
    except psutil.Error:
        return memory, seconds
    for process in processes:
        try:
            memory += process.memory_full_info().pss
            times = process.cpu_times()
        except psutil.Error:
            continue
        seconds += times.user + times.system
    return memory, seconds


if __name__ == "__main__":
    main()
