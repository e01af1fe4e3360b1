"""Detached jobs on the master: submit or attach, follow, end.

A job is a folder with a deterministic name: `pid`, `log` and, when it is over, `exit_code`. It goes on when the
connection, the caller or the caller's machine goes away, and whoever asks for it again is attached to it.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from nightreel.cluster.bootstrap import ROOT, Runtime
from nightreel.cluster.errors import ClusterError, JobError, JobLostError
from nightreel.cluster.ssh import Connection, quote

_ID = r"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"


class JobState(StrEnum):
    """Where a job stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True)
class JobStatus:
    """The state of a job; `exit_code` is there once it has ended by itself."""

    state: JobState
    exit_code: int | None = None


def folder(name: str) -> PurePosixPath:
    """The folder of a job, relative to the login's home; ValueError for a name that could leave it."""
    if not name or name.startswith(".") or any(letter not in _ID for letter in name):
        raise ValueError(f"the job name {name!r} can not be used: letters, digits, dots, dashes and underscores only")
    return ROOT / "jobs" / name


def submit_or_attach(connection: Connection, name: str, command: Sequence[str], *, runtime: Runtime) -> bool:
    """Start a job unless it runs or has succeeded already; True when this call started it.

    A failed or lost run of the same name is set aside (`NAME.1`, `NAME.2`, …) and started anew. `command` is
    spark-submit's arguments; words that begin with `~/` are paths below the login's home on the node.
    """
    where = folder(name)
    words = " ".join(quote(word) for word in command)
    spark_submit = f"{quote(runtime.spark_home)}/bin/spark-submit"
    body = f"""echo $$ > pid.part && mv pid.part pid
export SPARK_CONF_DIR="$HOME/{ROOT}/conf"; . "$SPARK_CONF_DIR/spark-env.sh"
cd "$HOME"
{spark_submit} {words}
code=$?
cd "$HOME/{where}" && echo $code > exit_code.part && mv exit_code.part exit_code
"""
    # One submitter at a time: under the lock a folder without a pid is one whose submitter died, and whoever comes
    # second finds a job that runs. The job itself must not inherit the lock.
    script = f"""
        {_STATE_FUNCTION}
        umask 077
        mkdir -p {where.parent}
        exec 9>{where}.lock; flock 9
        case $(state {where}) in
            running|succeeded) echo attached; exit 0 ;;
            failed*|lost) n=1; while [ -e {where}.$n ]; do n=$((n+1)); done; mv -T {where} {where}.$n || exit 1 ;;
        esac
        mkdir {where} && cd {where} && printf %s {shlex.quote(body)} > run.sh || exit 1
        setsid nohup sh run.sh >log 2>&1 </dev/null 9>&- &
        for _ in $(seq 200); do [ -s pid ] && {{ echo started; exit 0; }}; sleep 0.05; done
        echo "the job did not start"; exit 1"""
    return connection.run(script).output.split()[-1:] == ["started"]


# exit_code is looked at again after the process was found gone: it may have ended in between.
_STATE_FUNCTION = """state() {
    [ -d "$1" ] || { echo none; return; }
    for _ in 1 2; do
        if [ -f "$1/exit_code" ]; then
            code=$(cat "$1/exit_code"); [ "$code" = 0 ] && echo succeeded || echo "failed $code"; return
        fi
        if [ -s "$1/pid" ] && kill -0 -- "-$(cat "$1/pid")" 2>/dev/null; then echo running; return; fi
    done
    echo lost
}"""


def status(connection: Connection, name: str) -> JobStatus:
    """Where the job stands; ClusterError when there is no job of that name on this node."""
    words = connection.run(f"{_STATE_FUNCTION}\nstate {folder(name)}").output.split()
    match words:
        case ["failed", code]:
            return JobStatus(JobState.FAILED, int(code))
        case ["succeeded"]:
            return JobStatus(JobState.SUCCEEDED, 0)
        case [word] if word in set(JobState):
            return JobStatus(JobState(word))
    raise ClusterError(f"{connection.host}: there is no job {name} (the node said {' '.join(words)!r})")


def read_log(connection: Connection, name: str, offset: int) -> bytes:
    """What the job has written from byte `offset` on; may be empty."""
    return connection.read_from(folder(name) / "log", offset)


def log_end(connection: Connection, name: str, *, lines: int = 40) -> str:
    """The last lines of the job's log."""
    return connection.run(f"tail -n {lines} {folder(name)}/log", check=False).output


def require_success(state: JobStatus, name: str, log: str) -> None:
    """Raise JobLostError or JobError, with the end of the log, for a job that did not succeed."""
    end = "\n".join(log.strip().splitlines()[-20:])
    if state.state is JobState.LOST:
        raise JobLostError(
            f"the job {name} is gone and left no exit code: its machine ran out of memory, or it was killed:\n{end}"
        )
    if state.state is not JobState.SUCCEEDED:
        raise JobError(f"the job {name} ended with exit code {state.exit_code}; the end of its log:\n{end}")


def kill(connection: Connection, name: str) -> None:
    """End a job with everything that it started; nothing happens when it is over or was never there."""
    where = folder(name)
    connection.run(
        f"""[ -s {where}/pid ] || exit 0
        group=$(cat {where}/pid)
        kill -TERM -- "-$group" 2>/dev/null || exit 0
        for _ in $(seq 100); do kill -0 -- "-$group" 2>/dev/null || exit 0; sleep 0.1; done
        kill -KILL -- "-$group" 2>/dev/null; true"""
    )
