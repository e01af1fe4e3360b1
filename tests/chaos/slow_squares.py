"""A Spark job for the chaos: the sum of squares by remainder, in tasks of a second whose output can be lost.

The squares are shuffled before they are summed: the output of a task that is done lies on the executor that did it, and
when that one is lost, Spark has to do the task again. Says on standard output how many tasks are done.
"""

import sys
import threading
import time
from collections.abc import Callable

from pyspark import SparkContext

REMAINDERS = 4


def slow_square(number: int) -> tuple[int, int]:
    time.sleep(1)
    return number % REMAINDERS, number * number


def main(tasks: int) -> None:
    context = SparkContext(appName="slow squares")
    context.setLogLevel("WARN")
    results: list[list[tuple[int, int]]] = []
    squares = context.parallelize(range(tasks), tasks).map(slow_square)
    sums = squares.reduceByKey(lambda one, other: one + other, REMAINDERS)
    work = threading.Thread(target=lambda: results.append(sorted(sums.collect())))
    work.start()
    report(context, work.is_alive)
    work.join()
    if not results:
        sys.exit("the sums were not made")
    print(f"sums: {results[0]}", flush=True)  # noqa: T201 (for the log)
    context.stop()


def report(context: SparkContext, working: Callable[[], bool]) -> None:
    """Say each number of finished tasks of the first stage once, while there is work."""
    said = 0
    tracker = context.statusTracker()
    while working():
        stage = tracker.getStageInfo(0)
        done = stage.numCompletedTasks if stage else 0
        for count in range(said + 1, done + 1):
            print(f"{count} tasks are done", flush=True)  # noqa: T201 (for the log)
        said = max(said, done)
        time.sleep(0.1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
