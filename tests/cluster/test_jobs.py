"""Jobs on a sandbox host, with a stand-in for spark-submit that takes no time."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any

import pytest

from nightreel.cluster import jobs, ssh
from nightreel.cluster.bootstrap import ROOT, Runtime
from nightreel.cluster.errors import ClusterError, JobError, JobLostError
from nightreel.cluster.jobs import JobState

pytestmark = pytest.mark.sandbox
RUNTIME = Runtime(spark_home="~/fake-spark")


@pytest.fixture
def master(launch: Callable[..., Any], connect: ssh.Connect) -> Any:
    node = launch(workers=1).master
    with connect(node) as connection:
        connection.run(f"mkdir -p {ROOT}/conf fake-spark/bin; touch {ROOT}/conf/spark-env.sh")
        connection.upload(b'#!/bin/bash\neval "$1"\n', PurePosixPath("fake-spark/bin/spark-submit"))
        connection.run("chmod +x fake-spark/bin/spark-submit")
    return node


@pytest.fixture
def connection(master: Any, connect: ssh.Connect) -> Iterator[ssh.Connection]:
    with connect(master) as opened:
        yield opened


def ended(connection: ssh.Connection, name: str) -> jobs.JobStatus:
    deadline = time.monotonic() + 20
    while (status := jobs.status(connection, name)).state is JobState.RUNNING:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return status


def submit(connection: ssh.Connection, command: str, name: str = "train") -> bool:
    return jobs.submit_or_attach(connection, name, [command], runtime=RUNTIME)


def test_a_job_that_succeeds(connection: ssh.Connection) -> None:
    submit(connection, "echo done")
    assert ended(connection, "train").state is JobState.SUCCEEDED
    assert jobs.read_log(connection, "train", 0) == b"done\n"


def test_a_job_that_fails_keeps_its_exit_code_and_log(connection: ssh.Connection) -> None:
    submit(connection, "echo no ratings; exit 7")
    status = ended(connection, "train")
    with pytest.raises(JobError, match=r"exit code 7(.|\n)*no ratings"):
        jobs.require_success(status, "train", jobs.log_end(connection, "train"))


def test_submitting_again_attaches(connection: ssh.Connection) -> None:
    assert [submit(connection, "echo once >> count; sleep 1"), submit(connection, "echo twice >> count")] == [
        True,
        False,
    ]
    ended(connection, "train")
    assert connection.run("cat count").output == "once\n"


def test_many_submitters_at_once_start_one_job(master: Any, connect: ssh.Connect) -> None:
    def one(_: int) -> bool:
        with connect(master) as connection:
            return submit(connection, "sleep 1")

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(one, range(6))) == 1


def test_many_submitters_after_a_failure_start_one_job(master: Any, connect: ssh.Connect) -> None:
    with connect(master) as connection:
        submit(connection, "exit 1")
        ended(connection, "train")

    def one(_: int) -> bool:
        with connect(master) as connection:
            return submit(connection, "sleep 2")

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(one, range(6))) == 1


def test_a_folder_whose_submitter_died_does_not_block(connection: ssh.Connection) -> None:
    connection.run(f"mkdir -p {jobs.folder('train')}")
    assert submit(connection, "true") is True


def test_a_success_is_not_repeated(connection: ssh.Connection) -> None:
    submit(connection, "true")
    ended(connection, "train")
    assert submit(connection, "true") is False


def test_a_failure_is_set_aside_and_tried_anew(connection: ssh.Connection) -> None:
    submit(connection, "exit 1")
    ended(connection, "train")
    assert submit(connection, "true") is True
    assert (ended(connection, "train").state, jobs.status(connection, "train.1").exit_code) == (JobState.SUCCEEDED, 1)


def test_a_job_goes_on_without_its_connection(master: Any, connect: ssh.Connect) -> None:
    with connect(master) as connection:
        submit(connection, "sleep 0.5; echo survived")
    with connect(master) as connection:
        assert ended(connection, "train").state is JobState.SUCCEEDED


def test_a_job_killed_without_a_word_is_lost(connection: ssh.Connection) -> None:
    submit(connection, "sleep 60")
    connection.run(f"kill -KILL -- -$(cat {jobs.folder('train')}/pid)")
    status = ended(connection, "train")
    with pytest.raises(JobLostError, match="left no exit code"):
        jobs.require_success(status, "train", "")


def test_kill_ends_all_that_the_job_started(connection: ssh.Connection) -> None:
    submit(connection, "sleep 61 & sleep 62")
    jobs.kill(connection, "train")
    assert connection.run("pgrep -f '[s]leep 6[12]'", check=False).output == ""


def test_a_stranger_with_the_number_of_a_job_is_neither_followed_nor_killed(connection: ssh.Connection) -> None:
    submit(connection, "sleep 63")
    # As after a restart of the machine: the same number, another process.
    connection.run(f"sed -i 's/[0-9]*$/1/' {jobs.folder('train')}/identity")
    jobs.kill(connection, "train")
    assert connection.run("pgrep -f '[s]leep 63'", check=False).output
    assert jobs.status(connection, "train").state is JobState.LOST


def test_a_job_whose_shell_was_killed_goes_on(connection: ssh.Connection) -> None:
    submit(connection, "sleep 64")
    connection.run(f"kill -KILL $(cat {jobs.folder('train')}/pid)")
    assert jobs.status(connection, "train").state is JobState.RUNNING
    jobs.kill(connection, "train")
    assert connection.run("pgrep -f '[s]leep 64'", check=False).output == ""


def test_follow_gives_every_line_until_the_end(connection: ssh.Connection) -> None:
    submit(connection, "for n in 1 2 3; do echo line $n; sleep 0.3; done; printf 'no end of line'")
    assert list(jobs.follow(connection, "train")) == ["line 1", "line 2", "line 3", "no end of line"]


def test_follow_of_a_long_log_loses_nothing(connection: ssh.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_MOST_AT_ONCE", 1000)
    submit(connection, "seq 2000; sleep 0.3; seq 2001 3000")
    assert list(jobs.follow(connection, "train")) == [str(n) for n in range(1, 3001)]


def test_follow_goes_on_after_a_cut(master: Any, connect: ssh.Connect) -> None:
    connection = connect(master)
    submit(connection, "echo before; while [ ! -e go ]; do sleep 0.1; done; echo after")
    lines = jobs.follow(connection, "train", reconnect=lambda: connect(master))
    assert next(lines) == "before"
    connection.close()
    with connect(master) as other:
        other.run("touch go")
    assert list(lines) == ["after"]


def test_follow_gives_up_a_master_that_stays_away(connection: ssh.Connection) -> None:
    def unreachable() -> ssh.Connection:
        raise OSError("no route to host")

    submit(connection, "echo before; sleep 30")
    lines = jobs.follow(connection, "train", reconnect=unreachable, patience=0.1)
    next(lines)
    connection.close()
    with pytest.raises(ClusterError, match=r"no route to host.*may well go on"):
        next(lines)


def test_follow_of_no_job_says_so(connection: ssh.Connection, connect: ssh.Connect, master: Any) -> None:
    with pytest.raises(jobs.NoJobError, match="there is no job never"):
        list(jobs.follow(connection, "never", reconnect=lambda: connect(master)))


def test_jobs_are_listed_with_their_states(connection: ssh.Connection) -> None:
    assert jobs.list_jobs(connection) == []
    submit(connection, "exit 3", name="first")
    ended(connection, "first")
    submit(connection, "sleep 30", name="second")
    found = {job.name: (str(job.status.state), job.status.exit_code) for job in jobs.list_jobs(connection)}
    assert found == {"first": ("failed", 3), "second": ("running", None)}


def test_kill_of_no_job_does_nothing(connection: ssh.Connection) -> None:
    jobs.kill(connection, "never")


def test_status_of_no_job_says_so(connection: ssh.Connection) -> None:
    with pytest.raises(ClusterError, match="there is no job never"):
        jobs.status(connection, "never")


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a b", "a;b"])
def test_a_name_that_could_leave_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="can not be used"):
        jobs.folder(name)
