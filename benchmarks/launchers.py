"""The two launchers that are compared, each by its own command line in a process and a home of its own."""

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import boto3

from nightreel.sandbox.client import Sandbox

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements-flintrock.txt"
LOGIN = "ec2-user"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What both launchers are given: the same sandbox, image, type of machine and Spark tarball."""

    sandbox: Sandbox
    state: Path
    image: str
    instance_type: str
    spark_version: str
    tarball_url: str
    tarball_sha512: str

    def ec2(self) -> Any:
        """A client of the sandbox's EC2."""
        aws = self.sandbox.environment
        return boto3.client(
            "ec2",
            endpoint_url=self.sandbox.endpoint,
            region_name=aws["AWS_DEFAULT_REGION"],
            aws_access_key_id=aws["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=aws["AWS_SECRET_ACCESS_KEY"],
        )

    def environment(self, *, home: Path) -> dict[str, str]:
        """The environment of a launcher's process: the sandbox's variables, and none of the user's own settings."""
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(home), **self.sandbox.environment}


class Launcher(Protocol):
    """A command line that launches clusters."""

    name: str

    def launch(self, cluster: str, *, workers: int) -> subprocess.Popen[bytes]:
        """Start to launch one master and `workers` workers."""

    def add_workers(self, cluster: str, *, more: int, total: int) -> subprocess.Popen[bytes]:
        """Start to add `more` workers, which makes `total`."""

    def destroy(self, cluster: str) -> subprocess.Popen[bytes]:
        """Start to destroy the cluster."""

    def output(self) -> str:
        """The end of what it has printed."""


@dataclass
class _Command:
    """Processes of one program: started in a folder of their own, with one log."""

    program: Path
    home: Path
    environment: dict[str, str] = field(repr=False)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            log.write(f"$ {self.program.name} {shlex.join(arguments)}\n".encode())
            log.flush()
            return subprocess.Popen(
                [str(self.program), *arguments], cwd=self.home, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def log(self) -> Path:
        return self.home / "output.log"

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])


class Flintrock:
    """flintrock as PyPI has it, in a virtual environment of its own.

    It formats every disk but the root that `lsblk` shows on a node: give it hosts that have none.
    """

    name = "flintrock"

    def __init__(self, task: Task, *, cache: Path) -> None:
        home = task.state / "flintrock"
        self._command = _Command(_environment(cache) / "bin" / "flintrock", home, task.environment(home=home))
        self._task = task
        self._key = home / "key.pem"
        self._key.write_text(task.ec2().create_key_pair(KeyName="flintrock")["KeyMaterial"])
        self._key.chmod(0o600)
        # It reads an access rule for its own address from a service on the internet, unless it is told one.
        self._network = task.ec2().describe_vpcs()["Vpcs"][0]["CidrBlock"]

    def launch(self, cluster: str, *, workers: int) -> subprocess.Popen[bytes]:
        """Start to launch one master and `workers` workers."""
        task = self._task
        return self._command.start(
            "launch", cluster, "--num-slaves", str(workers), "--java-version", "17", "--hdfs-version", "3.3.6",
            "--spark-version", task.spark_version, "--spark-download-source", task.tarball_url,
            "--ec2-key-name", "flintrock", "--ec2-instance-type", task.instance_type, "--ec2-ami", task.image,
            "--ec2-authorize-access-from", self._network, *self._login(), "--assume-yes",
        )  # fmt: skip

    def add_workers(self, cluster: str, *, more: int, total: int) -> subprocess.Popen[bytes]:
        """Start to add `more` workers."""
        return self._command.start("add-slaves", cluster, "--num-slaves", str(more), *self._login(), "--assume-yes")

    def destroy(self, cluster: str) -> subprocess.Popen[bytes]:
        """Start to destroy the cluster."""
        return self._command.start("destroy", cluster, *self._region(), "--assume-yes")

    def output(self) -> str:
        """The end of what it has printed."""
        return self._command.tail()

    def _region(self) -> tuple[str, ...]:
        return ("--ec2-region", self._task.sandbox.environment["AWS_DEFAULT_REGION"])

    def _login(self) -> tuple[str, ...]:
        return (*self._region(), "--ec2-identity-file", str(self._key), "--ec2-user", LOGIN)


def _environment(cache: Path) -> Path:
    """A virtual environment with flintrock, made at first use and again when the pinned versions change."""
    venv = cache / "flintrock"
    mark = venv / "requirements.txt"
    if not mark.exists() or mark.read_bytes() != REQUIREMENTS.read_bytes():
        uv = [str(Path(sys.executable).with_name("uv"))]
        subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv)], check=True)
        install = ["pip", "install", "--quiet", "--require-hashes", "--requirement", str(REQUIREMENTS)]
        subprocess.run([*uv, *install, "--python", str(venv / "bin" / "python")], check=True)
        mark.write_bytes(REQUIREMENTS.read_bytes())
    return venv


class Nightreel:
    """Nightreel's own command line."""

    name = f"nightreel {version('nightreel')}"

    def __init__(self, task: Task) -> None:
        home = task.state / "nightreel"
        environment = task.environment(home=home) | {
            "NIGHTREEL_AMI": task.image,
            "NIGHTREEL_INSTANCE_TYPE": task.instance_type,
            "NIGHTREEL_MASTER_SECRET": "a secret for the benchmarks alone",
        }
        self._command = _Command(Path(sys.executable).with_name("nightreel"), home, environment)
        # The same tarball, but checked by its digest.
        spark = ("--spark-source", task.tarball_url, "--spark-version", task.spark_version)
        self._spark = (*spark, "--spark-sha512", task.tarball_sha512)

    def launch(self, cluster: str, *, workers: int) -> subprocess.Popen[bytes]:
        """Start to launch one master and `workers` workers."""
        return self._command.start("launch", cluster, "--workers", str(workers), *self._spark, "--yes")

    def add_workers(self, cluster: str, *, more: int, total: int) -> subprocess.Popen[bytes]:
        """Start to add workers until there are `total`."""
        return self._command.start("add-workers", cluster, "--to", str(total), *self._spark, "--yes")

    def destroy(self, cluster: str) -> subprocess.Popen[bytes]:
        """Start to destroy the cluster; its logs are not fetched, as flintrock fetches none."""
        return self._command.start("destroy", cluster, "--no-logs", "--yes")

    def output(self) -> str:
        """The end of what it has printed."""
        return self._command.tail()
