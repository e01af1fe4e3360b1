"""A small HTTP client for load: kept connections, raw bytes, so that it takes little of the machine it measures."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

MakePath = Callable[[], str]


@dataclass
class Load:
    """What came of it: seconds per answer, answers by status and by model, and what was not answered at all."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    models: Counter[str] = field(default_factory=Counter)
    wall: float = 0.0

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return self.statuses[200] / self.wall if self.wall else 0.0

    @property
    def errors(self) -> int:
        """Answers other than 200, and requests without one."""
        return self.broken + self.statuses.total() - self.statuses[200]

    def quantile(self, share: float) -> float:
        """Milliseconds within which that share of the answers came."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


class Connection:
    """One kept connection, opened anew when the server closed it in between."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> tuple[int, str]:
        """Return status and model of the answer. A connection that the server gave up is tried anew once."""
        for fresh in (False, True):
            if self._streams is None or fresh:
                self._streams = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                return await self._exchange(path)
            except (asyncio.IncompleteReadError, ConnectionError):
                if fresh:
                    raise
        raise AssertionError("unreachable")

    async def _exchange(self, path: str) -> tuple[int, str]:
        assert self._streams is not None
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            writer.close()
            self._streams = None
        return int(head.split(" ", 2)[1]), headers.get("nightreel-model", "")


async def _timed(connection: Connection, path: str, load: Load, since: float) -> None:
    try:
        status, model = await connection.get(path)
    except (OSError, asyncio.IncompleteReadError):
        load.broken += 1
        return
    load.seconds.append(time.perf_counter() - since)
    load.statuses[status] += 1
    load.models[model] += 1


async def closed_loop(port: int, make_path: MakePath, *, seconds: float, connections: int = 8) -> Load:
    """Ask as fast as the answers come, over so many connections."""
    load, started = Load(), time.perf_counter()

    async def client() -> None:
        connection = Connection(port)
        while time.perf_counter() - started < seconds:
            await _timed(connection, make_path(), load, time.perf_counter())

    await asyncio.gather(*(client() for _ in range(connections)))
    load.wall = time.perf_counter() - started
    return load


def _no() -> bool:
    return False


async def open_loop(
    port: int, make_path: MakePath, *, seconds: float, rate: float, longer: Callable[[], bool] = _no
) -> Load:
    """Ask at a fixed rate whether or not answers have come: a slow answer makes no later request wait for it.

    Time counts from when a request was due, so that a stall of the client's own is not hidden either. It goes on
    beyond `seconds` while `longer` says so.
    """
    load, started = Load(), time.perf_counter()
    idle: list[Connection] = []

    async def once(due: float) -> None:
        connection = idle.pop() if idle else Connection(port)
        await _timed(connection, make_path(), load, due)
        idle.append(connection)

    tasks = []
    for number in count():
        if number >= seconds * rate and not longer():
            break
        due = started + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(once(due)))
    await asyncio.gather(*tasks)
    load.wall = time.perf_counter() - started
    return load
