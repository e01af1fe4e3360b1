"""What every fault is let loose on: one cluster of its own name in a live sandbox, and processes that can be killed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3

from nightreel.cluster import jobs, lifecycle, spark, ssh
from nightreel.cluster.bootstrap import PAYLOAD, Payload, Runtime
from nightreel.cluster.destroy import leftovers
from nightreel.cluster.ec2 import LIVE, Node, find_nodes
from nightreel.cluster.jobs import JobState, JobStatus
from nightreel.cluster.keys import SECRET_VARIABLE, KeyRing
from nightreel.cluster.launch import launch_machines
from nightreel.cluster.lifecycle import Cluster, Preparation
from nightreel.cluster.spec import ClusterSpec
from nightreel.sandbox.client import Sandbox
from nightreel.sandbox.faults import Fault, Kind

MASTER_SECRET = "a secret for the chaos alone"
NOTHING = {"instances": 0, "volumes": 0, "network_interfaces": 0, "security_groups": 0, "spot_requests": 0}
JOB = Path(__file__).with_name("slow_squares.py")
TASKS = 24
"""Of a second each: with two workers of two cores the job takes some ten seconds."""
LAUNCHER = Path(__file__).with_name("launcher.py")
# Small heaps, and a driver that believes a silent executor dead after seconds instead of two minutes.
JOB_SETTINGS = {
    "spark.driver.memory": "512m",
    "spark.executor.memory": "512m",
    "spark.network.timeout": "20s",
    "spark.network.timeoutInterval": "5s",
    "spark.executor.heartbeatInterval": "2s",
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData",
    "spark.executor.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData",
}


def right_answer(tasks: int) -> str:
    """The line that the job writes when it has squared and summed every number below `tasks`."""
    sums = [(remainder, sum(n * n for n in range(tasks) if n % 4 == remainder)) for remainder in range(4)]
    return f"sums: {sums}"


def until[T](condition: Callable[[], T], *, within: float, what: str) -> T:
    """Wait for the condition and give its first true value; a test that waits longer than `within` seconds fails."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {within:.0f} s in vain for {what}"
        time.sleep(0.05)
    return value


class Launcher:
    """`launcher.py` in a process of its own: it stops after each step until it is told to go on, or is killed."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def await_step(self, step: str) -> None:
        """Wait until the launcher says that it has done this step."""
        assert self.finished_step(step), f"the launcher ended with {self.process.wait()} before it had {step}"

    def finished_step(self, step: str) -> bool:
        """Wait until the launcher says that it has done this step, or ends: False then."""
        assert self.process.stdout is not None
        return any(line.strip() == step for line in self.process.stdout)

    def go_on(self) -> None:
        """Let the launcher take its next step."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """End the launcher as the kernel does when memory runs out: SIGKILL, with no chance to clean up."""
        self.process.kill()
        self.process.wait()


@dataclass
class Scene:
    """One cluster, everything that a test does to it, and everything that EC2 says of it."""

    sandbox: Sandbox
    name: str
    expires_at: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1))
    processes: list["subprocess.Popen[str]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ec2 = self.client()
        self.keys = KeyRing(MASTER_SECRET.encode(), self.name)
        self.connect = ssh.pinned_connector(self.keys, user="ec2-user", port=self.sandbox.record.ssh_port)

    def client(self, **settings: Any) -> Any:
        """An EC2 client with botocore's own retries, as the product has it, but for these settings."""
        environment = self.sandbox.environment
        return boto3.client(
            "ec2",
            endpoint_url=self.sandbox.endpoint,
            region_name=environment["AWS_DEFAULT_REGION"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=boto3.session.Config(**settings),
        )

    # ---- what is done

    def spec(self, **changes: Any) -> ClusterSpec:
        settings: dict[str, Any] = {
            "name": self.name,
            "workers": 1,
            "expires_at": self.expires_at,
            "instance_type": "c7i.large",
            "ssh_port": self.sandbox.record.ssh_port,
        }
        return ClusterSpec(**settings | changes)

    def launch(self, *, ec2: Any = None, **changes: Any) -> Cluster:
        image = self.sandbox.environment["NIGHTREEL_AMI"]
        return launch_machines(ec2 or self.ec2, self.spec(**changes), image=image, keys=self.keys)

    def bootstrap(self, *, required_workers: int = 1, timeout: float = 90) -> Cluster:
        preparation = Preparation(
            runtime=Runtime(), payload=Payload.of(JOB), required_workers=required_workers, timeout=timeout
        )
        return lifecycle.bootstrap_spark(
            self.ec2, self.name, connect=self.connect, keys=self.keys, preparation=preparation
        )

    def submit(self, job: str, *, tasks: int) -> bool:
        """Submit the job of slow squares, or attach to it; True when this call started it."""
        settings = [word for name, value in JOB_SETTINGS.items() for word in ("--conf", f"{name}={value}")]
        command = [*settings, f"~/{PAYLOAD / JOB.name}", str(tasks)]
        return self.on_master(lambda connection: jobs.submit_or_attach(connection, job, command, runtime=Runtime()))

    def cluster(self) -> Cluster:
        return lifecycle.find(self.ec2, self.name)

    def on_master[T](self, action: Callable[[ssh.Connection], T]) -> T:
        return lifecycle.on_master(self.ec2, self.name, connect=self.connect, action=action)

    def run(self, node: Node, script: str) -> str:
        """Do something on a node by hand, in a connection of its own."""
        with self.connect(node) as connection:
            return connection.run(script).output

    def let(self, kind: Kind, node: Node) -> None:
        """Let this happen to the node's instance at once."""
        self.sandbox.inject(Fault(kind=kind, instance=node.instance_id))

    def kill_java(self, node: Node, main_class: str) -> None:
        """kill -9 the JVM of that main class on the node (it has a process namespace of its own)."""
        self.run(node, f"kill -KILL $(pgrep -f '[j]ava.*{main_class}')")

    # ---- processes that can be killed

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **self.sandbox.environment,
            "NIGHTREEL_SANDBOX_STATE": str(self.sandbox.state),
            SECRET_VARIABLE: MASTER_SECRET,
            "COLUMNS": "200",
        }

    def launcher(self, **changes: Any) -> Launcher:
        """A launcher in a process of its own, with the same spec as `launch`."""
        settings = {"name": self.name, "expires_at": self.expires_at.isoformat(), **changes}
        process = self._start([sys.executable, str(LAUNCHER), json.dumps(settings)])
        return Launcher(process)

    def command(self, *words: str, **variables: str) -> "subprocess.Popen[str]":
        """The real command line in a process of its own; its error output comes with its output."""
        return self._start([str(Path(sys.executable).with_name("nightreel")), *words], **variables)

    def launch_command(self, **variables: str) -> "subprocess.Popen[str]":
        """`nightreel launch` of this cluster in a process of its own."""
        return self.command("launch", self.name, "--workers=1", "--instance-type=c7i.large", "--yes", **variables)

    def finish(self, process: "subprocess.Popen[str]", *, within: float = 60) -> tuple[int, str]:
        """Wait for a process: its exit code, and all that it said."""
        output, _ = process.communicate(timeout=within)
        return process.returncode, output

    def _start(self, command: list[str], **variables: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            command, env={**self.environment, **variables}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.processes.append(process)
        return process

    # ---- what is true

    def living(self) -> set[str]:
        """Ids of the cluster's instances that run or are about to."""
        return {node.instance_id for node in find_nodes(self.ec2, self.name, states=LIVE)}

    def left(self) -> dict[str, int]:
        """What EC2 lists of this cluster."""
        return leftovers(self.ec2, self.name)

    def hits(self, **wanted: Any) -> int:
        """How many calls the faults with these properties have met."""
        return sum(fault["met"] for fault in self.sandbox.faults() if wanted.items() <= fault.items())

    def answered(self, action: str, *, status: int = 200) -> int:
        """How many calls to this action about our cluster EC2 has answered so."""
        return sum(
            entry["action"] == action and entry["status"] == status and self.name in entry["params"].values()
            for entry in self.sandbox.journal()
        )

    def workers_alive(self, cluster: Cluster) -> set[str]:
        """Addresses of the workers that are alive by the master's word."""
        state = self.on_master(lambda connection: spark.read_state(connection, cluster.master.private_ip))
        return set(spark.alive_workers(state))

    def job_log(self, job: str) -> str:
        return self.on_master(lambda connection: jobs.read_log(connection, job, 0)).decode(errors="replace")

    def await_progress(self, job: str, *, tasks: int) -> None:
        """Wait until so many tasks of the job are done, so that what comes next comes in mid-job."""
        until(lambda: f"{tasks} tasks are done" in self.job_log(job), within=90, what=f"{tasks} tasks of {job}")

    def await_end(self, job: str, *, within: float = 120) -> JobStatus:
        def ended() -> JobStatus | None:
            status = self.on_master(lambda connection: jobs.status(connection, job))
            return None if status.state is JobState.RUNNING else status

        return until(ended, within=within, what=f"the end of {job}")

    def running_job(self, job: str) -> bool:
        return self.on_master(lambda connection: jobs.status(connection, job)).state is JobState.RUNNING


@contextmanager
def going_wrong(sandbox: Sandbox, *faults: Fault) -> Iterator[None]:
    """Let these things go wrong, and after the block nothing any more."""
    for fault in faults:
        sandbox.inject(fault)
    try:
        yield
    finally:
        sandbox.clear_faults()
