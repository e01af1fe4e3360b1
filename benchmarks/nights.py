"""What a night takes beside its Spark job, in a live Airflow on the sandbox, and for what machines are paid meanwhile.

    python -m benchmarks.nights [--nights 3] [--workers 1] [--ratings DIR]

In turns it runs the nightly DAG and a DAG of the same shape with empty tasks (benchmarks/same_shape_dag.py). The ratio
is the night's wall time without the job's to that of the empty one: 1 would say that nothing but Airflow is left.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import report
from nightreel.airflow.money import RECORD
from nightreel.airflow.plan import cluster_name
from nightreel.cli.demo import DAG, Stack, leftovers, running_stack
from nightreel.cluster.runtime import ROOT
from nightreel.local.airflow import AirflowClient
from nightreel.recommend.datasets import find_dataset

HERE = Path(__file__).parent
EMPTY = "same_shape"
TYPE = "c7i.large"
PRICES = {TYPE: 0.1}
SHORT = {"rank": 16, "iterations": 4}
"""What the job computes is not measured here, so it may be little."""
LONGEST = 3600.0
"""Seconds that a run may take."""
ENDED = ("success", "failed")


@dataclass(frozen=True)
class Span:
    """From when to when, in seconds since the epoch."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a DAG."""

    whole: Span
    tasks: dict[str, Span]


@dataclass(frozen=True, kw_only=True)
class Night:
    """One nightly run with its Spark job, and the life of each of its machines in seconds."""

    run: Run
    job: Span
    machines: tuple[float, ...]

    @property
    def overhead(self) -> float:
        """Seconds of the run without the job's."""
        return self.run.whole.seconds - self.job.seconds

    @property
    def not_spark(self) -> float:
        """Billed seconds per machine beside the job's."""
        return statistics.mean(self.machines) - self.job.seconds


@dataclass
class JobWatch:
    """Looks at the hosts for the moments at which the job's process begins and ends."""

    stack: Stack
    seen: dict[str, float] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "JobWatch":
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            for instance in self.stack.sandbox.instances():
                job = Path(instance["home"]) / ROOT / "jobs" / "train_similarity"
                for name in ("pid", "exit_code"):
                    if name not in self.seen and (job / name).exists():
                        self.seen[name] = time.time()

    @property
    def job(self) -> Span:
        """When it ran. KeyError when it was not seen to."""
        return Span(self.seen["pid"], self.seen["exit_code"])


def run_once(client: AirflowClient, dag_id: str, conf: dict[str, Any]) -> tuple[str, Run]:
    """Trigger a run and wait for its end: its id and when its tasks ran. RuntimeError unless it succeeded."""
    run_id = client.trigger(dag_id, conf)
    deadline = time.monotonic() + LONGEST
    while (state := client.run_state(dag_id, run_id)) not in ENDED and time.monotonic() < deadline:
        time.sleep(1)
    tasks = client.task_instances(dag_id, run_id)
    if state != "success":
        raise RuntimeError(f"{run_id} of {dag_id} is {state}: {[(task['task_id'], task['state']) for task in tasks]}")
    spans = {task["task_id"]: Span(_epoch(task["start_date"]), _epoch(task["end_date"])) for task in tasks}
    return run_id, Run(whole=Span(spans["plan"].start, max(span.end for span in spans.values())), tasks=spans)


def _epoch(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def measure(stack: Stack, client: AirflowClient, *, workers: int) -> Night:
    """Run a night and look at it."""
    with JobWatch(stack) as watch:
        run_id, run = run_once(client, DAG, {"workers": workers, "instance_type": TYPE, "override_gate": True, **SHORT})
    if any(leftovers(stack.sandbox).values()):
        raise RuntimeError(f"{run_id} has left something behind")
    record = stack.airflow.home.parent / "bundles" / cluster_name(DAG, run_id) / RECORD
    lives = tuple(line["hours"] * 3600 for line in json.loads(record.read_text()).values())
    return Night(run=run, job=watch.job, machines=lives)


PATH = (
    "plan",
    "collect_ratings",
    "approve_cost",
    "launch_cluster",
    "bootstrap_spark",
    "train_similarity",
    "fetch_bundle",
    "quality_gate",
    "publish_bundle",
    "verdict",
)
"""The steps one after the other; the cluster's end goes on beside the last ones."""


def wall(nights: Sequence[Night], empty: Sequence[Run]) -> str:
    """Where the wall time goes, in medians of seconds, beside the empty tasks."""

    def step(name: str) -> tuple[Callable[[Night], float], Callable[[Run], float]]:
        job = name == "train_similarity"
        return (lambda n: n.run.tasks[name].seconds - (n.job.seconds if job else 0)), (lambda r: r.tasks[name].seconds)

    def between(run: Run) -> float:
        return run.whole.seconds - sum(run.tasks[name].seconds for name in PATH)

    rows: list[tuple[str, float, float]] = []
    for name in PATH:
        ours, theirs = step(name)
        label = f"{name}, without the job" if name == "train_similarity" else name
        rows.append((label, statistics.median(map(ours, nights)), statistics.median(map(theirs, empty))))
    rows.append(
        ("between the steps", statistics.median(between(n.run) for n in nights), statistics.median(map(between, empty)))
    )
    ours_whole, theirs_whole = [n.overhead for n in nights], [r.whole.seconds for r in empty]
    rows.append(("together", statistics.median(ours_whole), statistics.median(theirs_whole)))
    ratios = [ours / theirs for ours, theirs in zip(ours_whole, theirs_whole, strict=True)]
    found = report.table(("step", "night, s", "same shape with empty tasks, s"), rows)
    return (
        f"{found}\n\nThe night without the job over the empty DAG: {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}). The job took {report.spread([n.job.seconds for n in nights])} s."
    )


def billed(nights: Sequence[Night]) -> str:
    """For what machines are paid beside the job, in medians of seconds per machine."""

    def parts(night: Night) -> dict[str, float]:
        tasks, job = night.run.tasks, night.job
        launch, bootstrap, train, fetch, destroy = (
            tasks[name]
            for name in ("launch_cluster", "bootstrap_spark", "train_similarity", "fetch_bundle", "destroy_cluster")
        )
        named = {
            "Spark set up (bootstrap_spark)": bootstrap.seconds,
            "job handed over (train_similarity until its process runs)": job.start - train.start,
            "job's end noticed (until train_similarity has ended)": train.end - job.end,
            "bundle fetched (fetch_bundle)": fetch.seconds,
            "Airflow between these steps": (bootstrap.start - launch.end)
            + (train.start - bootstrap.end)
            + (fetch.start - train.end)
            + (destroy.start - fetch.end),
        }
        rest = "machines that come up (launch_cluster) and go (destroy_cluster)"
        return {**named, rest: night.not_spark - sum(named.values())}

    found = [parts(night) for night in nights]
    rows = [(name, statistics.median(each[name] for each in found)) for name in found[0]]
    rows.append(("together", statistics.median(night.not_spark for night in nights)))
    lives = [statistics.mean(night.machines) for night in nights]
    return (
        f"{report.table(('billed per machine beside the job', 's'), rows)}\n\n"
        f"A machine lived for {report.spread(lives)} s."
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nights", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--ratings", type=Path)
    options = parser.parse_args()
    ratings = (options.ratings or find_dataset()).resolve()
    print(f"{report.machine()}\n{options.workers} worker(s), ratings: {ratings.name}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="nightreel-bench-") as scratch:
        code = Path(scratch) / "code"
        for name in ("dags", "spark_jobs"):
            shutil.copytree(HERE.parent / name, code / name)
        shutil.copy(HERE / "same_shape_dag.py", code / "dags" / "same_shape.py")
        with running_stack(
            Path(scratch) / "state",
            ratings,
            site_port=0,
            airflow_port=0,
            airflow_settings={"dags": code / "dags"},
            variables={"nightreel_settings": json.dumps({"prices": PRICES})},
        ) as stack:
            client = stack.airflow.client()
            for dag_id in (DAG, EMPTY):
                stack.services.await_true(partial(client.has_dag, dag_id), what=dag_id, timeout=300)
            nights, empty = list[Night](), list[Run]()
            for _ in range(options.nights):
                empty.append(run_once(client, EMPTY, {})[1])
                nights.append(measure(stack, client, workers=options.workers))
                print(f"{empty[-1].whole.seconds:.1f} s empty, {nights[-1].overhead:.1f} s beside the job", flush=True)
    print(f"\n{wall(nights, empty)}\n\n{billed(nights)}")


if __name__ == "__main__":
    main()
