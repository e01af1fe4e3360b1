"""Detached jobs on the master: submit or attach, follow, end.

A job is a folder with a deterministic name: `pid`, `log` and, when it is over, `exit_code`. It goes on when the
connection, the caller or the caller's machine goes away, and whoever asks for it again is attached to it.
"""

import logging
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import PurePosixPath

import paramiko

from nightreel.cluster.bootstrap import ROOT, Runtime
from nightreel.cluster.errors import ClusterError, HostKeyError, JobError, JobLostError, NoClusterError
from nightreel.cluster.ssh import Connection, quote

log = logging.getLogger(__name__)

PATIENCE = 300.0
"""How long the master of a job that is followed may stay out of reach; seconds. The job goes on meanwhile."""
_RECONNECT_PAUSE = 1.0
# A look at the job waits on the node until there is something to see: `_LOOKS` times `_LOOK_PAUSE` seconds.
_LOOKS = 50
_LOOK_PAUSE = 0.2
_MOST_AT_ONCE = 1 << 20  # bytes of log
_ID = r"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"


class NoJobError(ClusterError):
    """There is no job of that name on this master."""


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


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job that the master knows of."""

    name: str
    status: JobStatus
    submitted: datetime


def folder(name: str) -> PurePosixPath:
    """The folder of a job, relative to the login's home; ValueError for a name that could leave it."""
    # A job's lock lies beside its folder.
    if not name or name.startswith(".") or name.endswith(".lock") or any(letter not in _ID for letter in name):
        raise ValueError(
            f"the job name {name!r} can not be used: letters, digits, dots, dashes and underscores only, no dot at its "
            "start and no .lock at its end"
        )
    return ROOT / "jobs" / name


def submit_or_attach(connection: Connection, name: str, command: Sequence[str], *, runtime: Runtime) -> bool:
    """Start a job unless it runs or has succeeded already; True when this call started it.

    A failed or lost run of the same name is set aside (`NAME.1`, `NAME.2`, …) and started anew. `command` is
    spark-submit's arguments; words that begin with `~/` are paths below the login's home on the node.
    """
    where = folder(name)
    words = " ".join(quote(word) for word in command)
    spark_submit = f"{quote(runtime.spark_home)}/bin/spark-submit"
    body = f"""{_IDENTITY_FUNCTION}
identity $$ > identity; echo $$ > pid.part && mv pid.part pid
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


# A process id alone proves nothing: after a restart of the machine another process may have it. What tells processes of
# the same id apart is the boot and the moment in it when they started (field 22 of proc_pid_stat(5)).
_IDENTITY_FUNCTION = """identity() {
    echo "$(cat /proc/sys/kernel/random/boot_id) $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20)"
}"""

# A job whose shell was killed goes on while anything of its process group does: then only the boot can be compared.
# exit_code is looked at again after the process was found gone: it may have ended in between.
_STATE_FUNCTION = f"""{_IDENTITY_FUNCTION}
runs() {{
    [ -s "$1/pid" ] && kill -0 -- "-$(cat "$1/pid")" 2>/dev/null || return 1
    now=$(identity "$(cat "$1/pid")"); then=$(cat "$1/identity")
    [ "$now" = "$then" ] || [ "$now" = "${{then%% *}} " ]
}}
state() {{
    [ -d "$1" ] || {{ echo none; return; }}
    for _ in 1 2; do
        if [ -f "$1/exit_code" ]; then
            code=$(cat "$1/exit_code"); [ "$code" = 0 ] && echo succeeded || echo "failed $code"; return
        fi
        if runs "$1"; then echo running; return; fi
    done
    echo lost
}}"""


def status(connection: Connection, name: str) -> JobStatus:
    """Where the job stands; ClusterError when there is no job of that name on this node."""
    words = connection.run(f"{_STATE_FUNCTION}\nstate {folder(name)}").output.split()
    return _parse_status(words, name, connection)


def _parse_status(words: Sequence[str], name: str, connection: Connection) -> JobStatus:
    match words:
        case ["failed", code]:
            return JobStatus(JobState.FAILED, int(code))
        case ["succeeded"]:
            return JobStatus(JobState.SUCCEEDED, 0)
        case [word] if word in set(JobState):
            return JobStatus(JobState(word))
    raise NoJobError(f"{connection.host}: there is no job {name} (the node said {' '.join(words)!r})")


def list_jobs(connection: Connection) -> list[Job]:
    """All jobs that were submitted on this master, the oldest first; what was set aside after a failure too."""
    script = f"""{_STATE_FUNCTION}
        cd {ROOT}/jobs 2>/dev/null || exit 0
        for job in */; do [ -d "$job" ] && echo "${{job%/}} $(stat -c %Y "$job/run.sh" || echo 0) $(state "$job")"; done
        true"""
    found = []
    for line in connection.run(script).output.splitlines():
        name, submitted, *words = line.split()
        moment = datetime.fromtimestamp(int(submitted), tz=UTC)
        found.append(Job(name=name, status=_parse_status(words, name, connection), submitted=moment))
    return sorted(found, key=lambda job: (job.submitted, job.name))


def read_log(connection: Connection, name: str, offset: int) -> bytes:
    """What the job has written from byte `offset` on; may be empty."""
    return connection.read_from(folder(name) / "log", offset)


def follow(
    connection: Connection,
    name: str,
    *,
    reconnect: Callable[[], Connection] | None = None,
    patience: float = PATIENCE,
) -> Iterator[str]:
    """The lines of the job's log, from the first one on, as they are written, until the job has ended.

    A connection that is lost is made again by `reconnect`, trying for `patience` seconds, and the log goes on where it
    was cut; the job does not notice. Raises ClusterError when that fails, when there is no `reconnect`, or when there
    is no such job.
    """
    offset, rest = 0, b""
    current = connection
    try:
        while True:
            try:
                running, fresh = _look(current, name, offset)
            except _CUT as error:
                if reconnect is None or isinstance(error, HostKeyError | NoJobError):
                    raise
                log.warning("lost the job %s for a moment (%s): connecting again", name, error)
                _leave(current, unless=connection)
                current = _connect_again(reconnect, name, patience=patience, since=error)
                continue
            offset += len(fresh)
            *lines, rest = (rest + fresh).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
            if not running and not fresh:
                break
        if rest:
            yield rest.decode(errors="replace")
    finally:
        _leave(current, unless=connection)


_CUT = (ClusterError, OSError, EOFError, paramiko.SSHException)


def _look(connection: Connection, name: str, offset: int) -> tuple[bool, bytes]:
    """Whether the job runs, and what it wrote from `offset` on; waits on the node until there is something to say."""
    where = folder(name)
    code, answer = connection.run_raw(
        f"""{_STATE_FUNCTION}
        for _ in $(seq {_LOOKS}); do
            state=$(state {where})
            size=$(stat -c %s {where}/log 2>/dev/null || echo 0)
            [ "$state" = running ] && [ "$size" -le {offset} ] || break
            sleep {_LOOK_PAUSE}
        done
        echo "$state"
        tail -c +{offset + 1} {where}/log 2>/dev/null | head -c {_MOST_AT_ONCE}
        true"""
    )
    head, _, fresh = answer.partition(b"\n")
    state = head.decode(errors="replace").split()
    if code != 0 or not state:
        raise ClusterError(f"{connection.host}: could not look at the job {name} (exit code {code})")
    return _parse_status(state, name, connection).state is JobState.RUNNING, fresh


def _connect_again(reconnect: Callable[[], Connection], name: str, *, patience: float, since: Exception) -> Connection:
    deadline = time.monotonic() + patience
    last = since
    while time.monotonic() < deadline:
        try:
            return reconnect()
        except (HostKeyError, NoClusterError):
            raise
        except _CUT as error:
            last = error
        time.sleep(_RECONNECT_PAUSE)
    raise ClusterError(
        f"the master could not be reached for {patience:.0f} s ({last}); the job {name} may well go on: follow it "
        "again, or see `describe`"
    ) from last


def _leave(connection: Connection, *, unless: Connection) -> None:
    """Close a connection of our own making, not the caller's."""
    if connection is not unless:
        with suppress(*_CUT):
            connection.close()


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
        f"""{_STATE_FUNCTION}
        runs {where} || exit 0
        group=$(cat {where}/pid)
        kill -TERM -- "-$group" 2>/dev/null || exit 0
        for _ in $(seq 100); do kill -0 -- "-$group" 2>/dev/null || exit 0; sleep 0.1; done
        kill -KILL -- "-$group" 2>/dev/null; true"""
    )
