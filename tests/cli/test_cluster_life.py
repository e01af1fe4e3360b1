"""The life of a cluster by the command line alone, in a live sandbox."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightreel.bundle.reader import validate_bundle
from nightreel.sandbox.client import Sandbox, running_sandbox

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(900)]
NIGHTREEL = str(Path(sys.executable).with_name("nightreel"))
MACHINES = ("-t", "c7i.large", "--price", "c7i.large=0.1")
PATIENCE = 300

DRIVER = """
import sys
import helper
from pyspark import SparkFiles
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
with open(SparkFiles.get("numbers.txt")) as file:
    numbers = [int(word) for word in file.read().split()]
print("total", spark.sparkContext.parallelize(numbers, 2).map(helper.square).sum(), *sys.argv[2:])
sys.exit(int(sys.argv[1]))
"""


class CommandLine:
    """The real command, as another process, in the environment of a user of the sandbox."""

    def __init__(self, sandbox: Sandbox, home: Path) -> None:
        folders = {"XDG_CONFIG_HOME": str(home / "config"), "XDG_STATE_HOME": str(home / "state")}
        self.environment = os.environ | sandbox.environment | folders | {"COLUMNS": "200"}
        self.home = home

    def start(self, *words: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [NIGHTREEL, *map(str, words)],
            env=self.environment,
            cwd=self.home,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(self, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        process = self.start(*words)
        output, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, f"{words}\n{output}\n{errors}"
        return subprocess.CompletedProcess(words, process.returncode, output, errors)

    def json(self, *words: object, code: int = 0) -> dict:
        return json.loads(self(*words, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


@pytest.fixture
def cli(sandbox, tmp_path) -> Iterator[CommandLine]:
    cli = CommandLine(sandbox, tmp_path)
    yield cli
    cli("reap", "--all", "--yes")


def living(sandbox: Sandbox) -> int:
    return sum(entry["state"] != "terminated" for entry in sandbox.instances())


def states(found: dict) -> set[str]:
    return {node["state"] for node in found["nodes"]}


@pytest.mark.spark
def test_a_cluster_lives_and_ends_by_the_command_line(cli, sandbox, tmp_path):
    assert cli.json("describe", "films")["state"] == "absent"
    assert not (tmp_path / "config").exists()
    launch_and_adopt(cli)
    work_on_the_nodes(cli, tmp_path)
    submit_and_attach(cli, tmp_path)
    grow_and_shrink(cli)
    spark_off_and_on(cli)
    machines_off_and_on(cli)
    meter_and_end(cli, tmp_path)
    assert living(sandbox) == 0


def launch_and_adopt(cli):
    first = cli.json("launch", "films", "--workers", 1, *MACHINES, "--cost-cap", 2, "--yes")
    assert (first["workers_alive"], first["state"]) == (1, "running")
    assert 0.8 < first["estimate"]["worst_case"] < 1
    again = cli.json("launch", "films", "--workers", 1, *MACHINES, "--yes")
    identities = [[node["instance_id"] for node in found["nodes"]] for found in (first, again)]
    assert identities[0] == identities[1]
    assert [one["name"] for one in cli.json("describe")] == ["films"]


def work_on_the_nodes(cli, tmp_path):
    (tmp_path / "note.txt").write_text("for all\n")
    for _ in range(2):
        assert len(cli.json("copy-file", "films", "note.txt", "notes/")["nodes"]) == 2
    ran = cli.json("run-command", "films", "cat notes/note.txt")
    assert [node["output"] for node in ran["nodes"]] == ["for all\n"] * 2
    assert "2 of 2 node(s) failed" in cli("run-command", "films", "--", "sh", "-c", "exit 3", code=1).stderr
    alone = cli.json("run-command", "films", "--master-only", "true")
    assert [node["role"] for node in alone["nodes"]] == ["master"]
    where = cli.json("login", "films")
    assert where["host_key"].split()[0] in ("ssh-ed25519", "ecdsa-sha2-nistp256")


def submit_and_attach(cli, tmp_path):
    for name, text in {
        "squares.py": DRIVER,
        "helper.py": "def square(x): return x * x\n",
        "numbers.txt": "1 2 3",
    }.items():
        (tmp_path / name).write_text(text)
    words = ("submit", "films", "squares.py", "--file", "numbers.txt", "--py-file", "helper.py", "--")
    assert "total 14 --deep" in cli(*words, 0, "--deep").stdout
    repeated = json.loads(cli(*words[:-1], "--json", "--", 0, "--deep").stdout)
    assert (repeated["started"], repeated["exit_code"]) == (False, 0)
    cli(*words, 7, code=7)
    jobs = {job["exit_code"]: job["job"] for job in cli.json("list-jobs", "films")["jobs"]}
    assert set(jobs) == {0, 7}
    assert "total 14" in cli("follow-job", "films", jobs[0]).stdout
    assert cli.json("kill-job", "films", jobs[0], "--yes")["state"] == "succeeded"
    assert "no job nothing" in cli("kill-job", "films", "nothing", "--yes", code=1).stderr


def grow_and_shrink(cli):
    for _ in range(2):
        assert cli.json("add-workers", "films", "--to", 2, "--yes")["workers"] == 2
    assert [len(cli.json("remove-workers", "films", "--to", 1, "--yes")["removed"]) for _ in range(2)] == [1, 0]
    assert cli.json("describe", "films")["workers_alive"] == 1


def spark_off_and_on(cli):
    for _ in range(2):
        cli("stop-spark", "films", "--yes")
    assert cli.json("describe", "films")["workers_alive"] is None
    for _ in range(2):
        cli("start-spark", "films")
    assert cli.json("describe", "films")["workers_alive"] == 1


def machines_off_and_on(cli):
    for _ in range(2):
        assert states(cli.json("stop", "films", "--yes")) == {"stopped"}
    assert not cli.json("reap")["due"]
    for _ in range(2):
        assert states(cli.json("start", "films", "--hours", 1, "--yes")) == {"running"}
    assert cli.json("describe", "films")["workers_alive"] == 1
    before = cli.json("describe", "films")["expires_at"]
    assert cli.json("renew", "films", "--hours", 2, "--yes")["expires_at"] > before


def meter_and_end(cli, tmp_path):
    cost = cli.json("cost", "films", "--price", "c7i.large=0.1")
    assert 0 < cost["so_far"] < cost["worst_case"] < 1
    ended = cli.json("destroy", "films", "--logs", tmp_path / "logs", "--yes")
    assert (ended["instances"], sum(ended["left"].values())) == (2, 0)
    assert list((tmp_path / "logs").rglob("master.log"))
    assert cli.json("destroy", "films", "--yes")["instances"] == 0
    assert cli.json("cost", "films", "--price", "c7i.large=0.1")["hourly"] == 0
    assert "launch it" in cli("submit", "films", "squares.py", code=1).stderr


@pytest.mark.spark
def test_training_on_a_cluster_is_one_job_and_gives_a_checked_bundle(cli, tmp_path):
    lines = [
        f"{user},{100 * (user % 2) + movie},5.0,1" for user in range(24) for movie in range(10) if movie != user % 9
    ]
    (tmp_path / "ratings").mkdir()
    (tmp_path / "ratings" / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *lines]) + "\n")
    movies = [f"{movie},Film {movie} (2001),Drama" for movie in (*range(10), *range(100, 110))]
    (tmp_path / "ratings" / "movies.csv").write_text("\n".join(["movieId,title,genres", *movies]) + "\n")
    cli("launch", "films", "--workers", 1, *MACHINES, "--yes")
    words = (
        "train",
        "--cluster",
        "films",
        "--ratings",
        tmp_path / "ratings",
        "--rank",
        4,
        "--iterations",
        3,
        "--no-evaluate",
    )
    assert "Started the job" in cli(*words, "--out", tmp_path / "a.arrow").stderr
    assert "Attached to the job" in cli(*words, "--out", tmp_path / "b.arrow").stderr
    assert len(validate_bundle(tmp_path / "a.arrow")) == 20
    assert (tmp_path / "a.arrow").read_bytes() == (tmp_path / "b.arrow").read_bytes()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_launch_that_is_interrupted_leaves_nothing(cli, sandbox, ending):
    launch = cli.start("launch", "films", "--workers", 1, *MACHINES, "--yes")
    deadline = time.monotonic() + PATIENCE
    while not living(sandbox):
        assert launch.poll() is None, launch.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    launch.send_signal(ending)
    _, errors = launch.communicate(timeout=PATIENCE)
    assert launch.returncode == 128 + ending, errors
    assert living(sandbox) == 0
    assert cli.json("describe", "films")["security_groups"] == []


def test_a_cluster_of_another_operator_is_not_entered(cli, sandbox, tmp_path):
    cli("launch", "films", "--workers", 1, *MACHINES, "--yes")
    stranger = CommandLine(sandbox, tmp_path / "stranger")
    (tmp_path / "stranger").mkdir()
    assert "does not have the master secret" in stranger("run-command", "films", "true", code=1).stderr
    assert stranger.json("describe", "films")["state"] == "running"
    assert not (tmp_path / "stranger" / "config").exists()
    stranger.environment["NIGHTREEL_MASTER_SECRET"] = "a secret that this cluster does not know"
    assert "Authentication failed" in stranger("run-command", "films", "true", code=1).stdout
    assert sum(stranger.json("destroy", "films", "--yes")["left"].values()) == 0
