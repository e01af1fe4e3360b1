"""Nightreel beside flintrock 2.1: time to a cluster, to add workers, to destroy.

    python -m benchmarks.flintrock [--pairs 5]        (Linux, as root: the hosts have namespaces of their own)

Both launch by their own command line, one after the other and taking turns at going first, on fresh hosts of the same
sandbox, from the same image without Spark and the same Spark tarball, which the hosts fetch by HTTP. flintrock is
unmodified, from PyPI, in a virtual environment that is made at the first run.

A cluster counts as ready when its master's own `/json/` page lists every worker as alive *and* the command has
returned, whichever is later: flintrock returns without having looked. It counts as destroyed when EC2 says
`terminated` of every instance.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import paramiko

from benchmarks import report, spark_tarball
from benchmarks.launchers import LOGIN, Flintrock, Launcher, Nightreel, Task
from nightreel.recommend.datasets import cache_folder
from nightreel.sandbox.client import Sandbox, running_sandbox
from nightreel.sandbox.settings import PLAIN_IMAGE

WORKERS, MORE = 1, 2
INSTANCE_TYPE = "c7i.large"
_TIMEOUT = 600.0
_POLL = 0.1
# What flintrock asks a node for before it formats what is listed.
_LSBLK = "lsblk --ascii --pairs --bytes --paths --output KNAME,MOUNTPOINT,SIZE --inverse --nodeps --noheadings"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Timing:
    """Seconds from a command's start until it returned, and until what it is for was true."""

    returned: float
    true: float

    @property
    def done(self) -> float:
        """When both were so."""
        return max(self.returned, self.true)


@dataclass(frozen=True)
class Life:
    """One cluster's life under one launcher."""

    launch: Timing
    add: Timing
    destroy: Timing


class Failed(RuntimeError):
    """A launcher failed, or did not do what it is for in time."""


def live_addresses(sandbox: Sandbox) -> list[str]:
    """The addresses of the instances that EC2 says are running."""
    return [entry["address"] for entry in sandbox.instances() if entry["state"] == "running"]


def alive_workers(sandbox: Sandbox) -> int:
    """How many workers the cluster's master says are alive; 0 while it does not answer."""
    for address in live_addresses(sandbox):
        with suppress(OSError, ValueError), _DIRECT.open(f"http://{address}:8080/json/", timeout=1) as answer:
            return sum(worker["state"] == "ALIVE" for worker in json.load(answer)["workers"])
    return 0


def all_terminated(sandbox: Sandbox) -> bool:
    """Whether EC2 says of every instance that it is terminated."""
    return all(entry["state"] == "terminated" for entry in sandbox.instances())


def time_command(launcher: Launcher, process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> Timing:
    """Wait until the process has returned and the condition holds, and say when each was so. Raises Failed."""
    start = time.monotonic()
    returned = true = 0.0
    while not (returned and true):
        if not true and condition():
            true = time.monotonic() - start
        if not returned and process.poll() is not None:
            returned = time.monotonic() - start
        if process.returncode or time.monotonic() - start > _TIMEOUT:
            process.kill()
            raise Failed(f"{launcher.name} failed (exit code {process.returncode}):\n{launcher.output()}")
        time.sleep(_POLL)
    return Timing(returned, true)


def live_once(task: Task, launcher: Launcher, cluster: str) -> Life:
    """Launch, add workers, destroy."""
    sandbox, total = task.sandbox, WORKERS + MORE
    launch = time_command(
        launcher, launcher.launch(cluster, workers=WORKERS), lambda: alive_workers(sandbox) >= WORKERS
    )
    add = time_command(
        launcher, launcher.add_workers(cluster, more=MORE, total=total), lambda: alive_workers(sandbox) >= total
    )
    destroy = time_command(launcher, launcher.destroy(cluster), lambda: all_terminated(sandbox))
    return Life(launch, add, destroy)


def refuse_disks(task: Task) -> None:
    """Look at a host with flintrock's eyes; Failed when it would find a disk to format."""
    ec2 = task.ec2()
    key = paramiko.RSAKey.generate(2048)
    ec2.import_key_pair(KeyName="look", PublicKeyMaterial=f"ssh-rsa {key.get_base64()}".encode())
    launched = ec2.run_instances(
        ImageId=task.image, InstanceType=task.instance_type, KeyName="look", MinCount=1, MaxCount=1
    )["Instances"]
    ids = [instance["InstanceId"] for instance in launched]
    try:
        ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        with paramiko.SSHClient() as client:
            # A host of the sandbox's own, looked at once: nothing is sent to it.
            client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
            address, port = launched[0]["PrivateIpAddress"], task.sandbox.record.ssh_port
            client.connect(address, port, LOGIN, pkey=key, look_for_keys=False, allow_agent=False)
            listed = client.exec_command(_LSBLK)[1].read().decode().splitlines()
    finally:
        ec2.terminate_instances(InstanceIds=ids)
        ec2.get_waiter("instance_terminated").wait(InstanceIds=ids, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    if not listed or any('MOUNTPOINT="/"' not in line for line in listed):
        raise Failed(f"flintrock would format disks on this host, so it is not run: lsblk says {listed}")


def print_results(pairs: Sequence[tuple[Life, Life]]) -> None:
    """Every pair, and the medians of the ratios."""
    header = ("pair", "flintrock s (returned after)", "nightreel s (returned after)", "ratio")
    for title, timings in (
        (f"1 master + {WORKERS} worker, every worker registered", [(f.launch, n.launch) for f, n in pairs]),
        (f"{MORE} more workers, every worker registered", [(f.add, n.add) for f, n in pairs]),
        (f"destroy {1 + WORKERS + MORE} machines, all terminated", [(f.destroy, n.destroy) for f, n in pairs]),
    ):
        until = [(_counted(f, title), _counted(n, title)) for f, n in timings]
        rows = [
            (str(number), f"{peer:.1f} ({f.returned:.1f})", f"{ours:.1f} ({n.returned:.1f})", f"{ours / peer:.2f}×")
            for number, ((peer, ours), (f, n)) in enumerate(zip(until, timings, strict=True), 1)
        ]
        peers, ours = zip(*until, strict=True)
        ratio = statistics.median(ours / peer for peer, ours in until)
        rows.append(
            ("median", f"{statistics.median(peers):.1f}", f"{statistics.median(ours):.1f}", f"**{ratio:.2f}×**")
        )
        print(f"\n{title}:\n\n{report.table(header, rows)}")


def _counted(timing: Timing, title: str) -> float:
    """The end of all instances is a fact of EC2's; a cluster is of use only when its command has returned as well."""
    return timing.true if title.startswith("destroy") else timing.done


def main() -> None:
    """Measure the pairs and print them."""
    parser = argparse.ArgumentParser(description="Nightreel beside flintrock 2.1.")
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    cache = cache_folder() / "benchmarks"
    print(f"{report.machine()}\n{INSTANCE_TYPE}, hosts in namespaces of their own, Spark from a tarball", flush=True)
    tarball = spark_tarball.make(cache)
    with (
        tempfile.TemporaryDirectory(prefix="nightreel-bench-") as folder,
        running_sandbox(Path(folder, "sandbox"), hosts="machines") as sandbox,
        # The network's first address is this machine's own.
        spark_tarball.served(cache, address=str(ip_network(sandbox.record.network)[1])) as url,
    ):
        task = Task(
            sandbox=sandbox, state=Path(folder), image=PLAIN_IMAGE, instance_type=INSTANCE_TYPE,
            spark_version=spark_tarball.spark_version(), tarball_url=f"{url}/{tarball.name}",
            tarball_sha512=spark_tarball.sha512(tarball),
        )  # fmt: skip
        refuse_disks(task)
        launchers = Flintrock(task, cache=cache), Nightreel(task)
        pairs = [_pair(task, number, *launchers) for number in range(options.pairs)]
    print_results(pairs)


def _pair(task: Task, number: int, flintrock: Launcher, nightreel: Launcher) -> tuple[Life, Life]:
    order = (flintrock, nightreel) if number % 2 == 0 else (nightreel, flintrock)
    lives: dict[str, Life] = {}
    for launcher in order:
        life = lives[launcher.name] = live_once(task, launcher, f"pair-{number}")
        print(
            f"pair {number + 1}, {launcher.name}: ready {life.launch.done:.1f} s, added {life.add.done:.1f} s, "
            f"terminated {life.destroy.true:.1f} s",
            flush=True,
        )
    return lives[flintrock.name], lives[nightreel.name]


if __name__ == "__main__":
    main()
