"""How long from nothing to a cluster whose workers are all alive, by the number of workers, and what bounds it.

    python -m benchmarks.time_to_ready [--hosts processes|sshd|machines] [--workers 1,2,4,8] [--repeats 3]

Launches from the baked image of a sandbox of its own, through the library's own functions. Every node of the sandbox
shares this one machine: where the share of it that is busy is near 100 %, the curve is that of the machine and not of
the launcher, whose steps run on all nodes side by side.
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import boto3

from benchmarks import report
from nightreel.cluster import bootstrap, lifecycle, spark, ssh
from nightreel.cluster.bootstrap import Payload, Runtime
from nightreel.cluster.destroy import destroy_cluster
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.launch import launch_machines
from nightreel.cluster.lifecycle import Preparation
from nightreel.cluster.spec import ClusterSpec
from nightreel.sandbox.client import Sandbox, running_sandbox

INSTANCE_TYPE = "c7i.large"
RUN = "instances run"
# Each step is over when its function has returned for the last node.
STEPS: dict[str, tuple[Any, str]] = {
    "SSH lets us in": (lifecycle, "await_connection"),
    "runtime checked": (bootstrap, "prepare"),
    "Spark configured": (spark, "configure"),
    "master answers": (spark, "start_master"),
    "workers started": (spark, "start_worker"),
    "workers alive": (spark, "await_workers"),
}


@dataclass
class Milestones:
    """When each step ended on its last node, in seconds since the start."""

    started: float = field(default_factory=time.monotonic)
    reached: dict[str, float] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds within each step, summed over the nodes: what it would take one after the other."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reach(self, step: str, *, since: float | None = None) -> None:
        """Note that a step has ended on one more node."""
        now = time.monotonic()
        with self._lock:
            self.reached[step] = now - self.started
            self.spent[step] += now - (since or self.started)


@contextmanager
def watched(milestones: Milestones) -> Iterator[None]:
    """Note the end of every call of the steps' functions."""

    def watching(step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            since = time.monotonic()
            try:
                return function(*args, **kwargs)
            finally:
                milestones.reach(step, since=since)

        return call

    with ExitStack() as patches:
        for step, (module, name) in STEPS.items():
            patches.enter_context(mock.patch.object(module, name, watching(step, getattr(module, name))))
        yield


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One launch: its workers, its milestones, and how busy the machine was."""

    workers: int
    milestones: Milestones
    watch: report.Stopwatch


def measure(sandbox: Sandbox, *, workers: int) -> Sample:
    """Launch a cluster, wait until all workers are alive by the master's word, and destroy it again."""
    name = f"ready-{workers}"
    keys = KeyRing(b"a secret for the benchmarks alone", name)
    ec2 = _client(sandbox)
    spec = ClusterSpec(
        name=name,
        workers=workers,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
        instance_type=INSTANCE_TYPE,
        ssh_port=sandbox.record.ssh_port,
    )
    connect = ssh.pinned_connector(keys, user="ec2-user", port=sandbox.record.ssh_port)
    preparation = Preparation(runtime=Runtime(), payload=Payload({}), required_workers=workers)
    try:
        milestones = Milestones()
        with report.timed() as watch, watched(milestones):
            launch_machines(ec2, spec, image=sandbox.environment["NIGHTREEL_AMI"], keys=keys)
            milestones.reach(RUN)
            lifecycle.bootstrap_spark(ec2, name, connect=connect, keys=keys, preparation=preparation)
    finally:
        destroy_cluster(ec2, name)
    return Sample(workers=workers, milestones=milestones, watch=watch)


def _client(sandbox: Sandbox) -> Any:
    aws = sandbox.environment
    return boto3.client(
        "ec2",
        endpoint_url=sandbox.endpoint,
        region_name=aws["AWS_DEFAULT_REGION"],
        aws_access_key_id=aws["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=aws["AWS_SECRET_ACCESS_KEY"],
    )


def curve(samples: list[Sample]) -> str:
    """The curve: seconds until ready by number of workers, with the machine's part in it."""
    rows = []
    for workers, group in _by_workers(samples).items():
        busy = statistics.median(sample.watch.busy for sample in group)
        used = statistics.median(sample.watch.utilisation for sample in group)
        wall = [sample.watch.wall for sample in group]
        bar = "█" * round(statistics.median(wall))
        rows.append((workers, report.spread(wall), busy, f"{used:.0%}", bar))
    return report.table(("workers", "seconds until all are alive", "CPU seconds", "machine busy", ""), rows)


def phases(samples: list[Sample]) -> str:
    """When each step was over on its last node: medians."""
    groups = _by_workers(samples)
    rows = []
    for step in (RUN, *STEPS):
        ends = [statistics.median(sample.milestones.reached[step] for sample in group) for group in groups.values()]
        rows.append((step, *ends))
    return report.table(("over after seconds", *(f"{workers} workers" for workers in groups)), rows)


def _by_workers(samples: list[Sample]) -> dict[int, list[Sample]]:
    groups: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.workers].append(sample)
    return dict(sorted(groups.items()))


def marginal(samples: list[Sample]) -> str:
    """What one more worker costs: in wall time, and in CPU time, from the smallest to the largest cluster."""
    groups = _by_workers(samples)
    small, large = min(groups), max(groups)
    if small == large:
        return ""

    def slope(value: Callable[[Sample], float]) -> float:
        ends = [statistics.median(map(value, groups[workers])) for workers in (small, large)]
        return (ends[1] - ends[0]) / (large - small)

    wall, busy = slope(lambda sample: sample.watch.wall), slope(lambda sample: sample.watch.busy)
    return f"One more worker costs {wall:.2f} s of wall time and {busy:.2f} CPU seconds."


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time to ready by number of workers.")
    parser.add_argument("--hosts", default="processes", choices=("processes", "sshd", "machines"))
    parser.add_argument("--workers", default="1,2,4,8")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(f"{report.machine()}\nHosts: {options.hosts}, baked image, {INSTANCE_TYPE}\n", flush=True)
    samples: list[Sample] = []
    with (
        tempfile.TemporaryDirectory(prefix="nightreel-bench-") as folder,
        running_sandbox(Path(folder), hosts=options.hosts) as sandbox,
    ):
        measure(sandbox, workers=1)  # the first launch also warms the file cache
        for _ in range(options.repeats):
            for workers in map(int, options.workers.split(",")):
                samples.append(measure(sandbox, workers=workers))
                print(f"{workers} workers: {samples[-1].watch.wall:.1f} s", flush=True)
    print(f"\n{curve(samples)}\n\n{phases(samples)}\n\n{marginal(samples)}")


if __name__ == "__main__":
    main()
