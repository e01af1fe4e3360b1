"""Waits for a job on the cluster without holding a worker, and passes its log on."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import paramiko
from airflow.triggers.base import BaseTrigger, TriggerEvent

from nightreel.airflow.hooks import Reach
from nightreel.cluster import jobs, lifecycle
from nightreel.cluster.errors import ClusterError, HostKeyError, NoClusterError
from nightreel.cluster.jobs import JobState
from nightreel.cluster.ssh import Connection

_UNREACHABLE_AFTER = 5 * 60.0  # seconds; the job goes on meanwhile


class JobTrigger(BaseTrigger):
    """Polls the job called `job` on the master of `cluster` until it has ended, or until `deadline` (epoch seconds).

    Nothing secret is among its arguments, which Airflow stores in its database.
    """

    def __init__(
        self, *, cluster: str, job: str, aws_conn_id: str, ssh_conn_id: str, deadline: float, poll_seconds: float = 1.0
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it without annotations
        self.cluster = cluster
        self.job = job
        self.aws_conn_id = aws_conn_id
        self.ssh_conn_id = ssh_conn_id
        self.deadline = deadline
        self.poll_seconds = poll_seconds
        self._connection: Connection | None = None
        self._offset = 0

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The trigger as Airflow stores it."""
        names = ("cluster", "job", "aws_conn_id", "ssh_conn_id", "deadline", "poll_seconds")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: `{"state": …}` when the job has ended, `{"error": …}` when that can not be known.

        With `gone: True` beside the error there is no cluster any more.
        """
        answered = time.monotonic()
        while time.time() < self.deadline:
            try:
                # paramiko blocks, so it gets a thread: the triggerer's loop serves other triggers too.
                state = await asyncio.to_thread(self._poll)
            except NoClusterError as error:
                yield TriggerEvent({"error": str(error), "gone": True})
                return
            except HostKeyError as error:
                yield TriggerEvent({"error": str(error)})
                return
            except (ClusterError, OSError, EOFError, paramiko.SSHException) as error:
                self.log.warning("the master does not answer: %s", error)
                await self._disconnect()
                if time.monotonic() - answered > _UNREACHABLE_AFTER:
                    yield TriggerEvent({"error": f"the master of {self.cluster} can not be reached: {error}"})
                    return
            else:
                answered = time.monotonic()
                if state is not JobState.RUNNING:
                    yield TriggerEvent({"state": str(state)})
                    return
            await asyncio.sleep(self.poll_seconds)
        yield TriggerEvent({"error": f"the job {self.job} did not end in time"})

    def _poll(self) -> JobState:
        if self._connection is None:
            self._connection = self._open()
        state = jobs.status(self._connection, self.job).state
        fresh = jobs.read_log(self._connection, self.job, self._offset)
        # A line that is still being written waits for its end, unless nothing more can come.
        whole = fresh if state is not JobState.RUNNING else fresh[: fresh.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            self.log.info("%s", line)
        return state

    def _open(self) -> Connection:
        found = Reach(self.aws_conn_id, self.ssh_conn_id, run=self.cluster)
        return found.connect(lifecycle.find(found.ec2(), self.cluster).master)

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await asyncio.to_thread(self._connection.close)
            self._connection = None

    async def cleanup(self) -> None:
        """Give the connection back; the job goes on."""
        await self._disconnect()

    async def on_kill(self) -> None:
        """A user ended the task: end the job too."""
        await asyncio.to_thread(self._kill)

    def _kill(self) -> None:
        with self._open() as connection:
            jobs.kill(connection, self.job)
        self.log.info("the job %s was ended", self.job)
