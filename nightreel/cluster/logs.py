"""Bring a cluster's logs to this machine before it is gone."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from nightreel.cluster.ec2 import GONE, Node, find_nodes, translated
from nightreel.cluster.errors import ClusterError
from nightreel.cluster.runtime import ROOT
from nightreel.cluster.ssh import Connect, Connection

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

log = logging.getLogger(__name__)

MOST_OF_A_FILE = 8 << 20
"""Bytes kept of a log: its end."""
MOST_OF_A_NODE = 64 << 20
_MAX_PARALLEL = 16
# Newest first: when there is too much, what went wrong last is what matters.
_LIST = f"""
    cd {ROOT} 2>/dev/null || exit 0
    find logs jobs work -type f \\( -path 'logs/*' -o -path 'jobs/*/log' -o -name stderr \\) \\
        -printf '%T@ %s %p\\n' 2>/dev/null | sort -rn | head -n 1000"""


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What was brought, and what could not be."""

    folder: Path
    files: int
    size: int
    """Bytes."""
    problems: tuple[str, ...] = ()
    """A sentence for each node, or file, that could not be fetched or not fetched whole."""


@dataclass
class _Harvest:
    """What one node gave so far. The connection is here so that whoever waits can end it."""

    files: int = 0
    size: int = 0
    problems: list[str] = field(default_factory=list)
    connection: Connection | None = None
    given_up: threading.Event = field(default_factory=threading.Event)


def console_output(ec2: "EC2Client", instance_id: str) -> str:
    """What the machine wrote to its console, as far as EC2 has it; may be empty. Raises ClusterError."""
    with translated(f"read the console output of {instance_id}"):
        return ec2.get_console_output(InstanceId=instance_id).get("Output", "")


def fetch_logs(ec2: "EC2Client", name: str, *, connect: Connect, target: Path, seconds: float = 60.0) -> Collected:
    """Copy the logs of Spark, of all jobs and executors, and every node's console output below `target`.

    Each node gets a folder, `ROLE-INSTANCE`. At most MOST_OF_A_FILE bytes of a file, the last ones, and MOST_OF_A_NODE
    of a node are kept, and after `seconds` what is there has to do. A node that can not be reached, or is slow, is
    named in `problems`. Raises ClusterError only when EC2 does not say which nodes there are.
    """
    nodes = [node for node in find_nodes(ec2, name) if node.state not in GONE]
    harvests = [_Harvest() for _ in nodes]
    pool = ThreadPoolExecutor(max_workers=_MAX_PARALLEL, thread_name_prefix="logs")
    futures: list[Future[None]] = [
        pool.submit(_gather, ec2, node, connect, target / f"{node.role}-{node.instance_id}", harvest)
        for node, harvest in zip(nodes, harvests, strict=True)
    ]
    wait(futures, timeout=seconds)
    for node, harvest, future in zip(nodes, harvests, futures, strict=True):
        if not future.done():
            _give_up(harvest)
            harvest.problems.append(f"{_called(node)}: not all of its logs came within {seconds:.0f} s")
    pool.shutdown(wait=False, cancel_futures=True)
    problems = tuple(problem for harvest in harvests for problem in harvest.problems)
    for problem in problems:
        log.warning("logs: %s", problem)
    return Collected(
        folder=target,
        files=sum(harvest.files for harvest in harvests),
        size=sum(harvest.size for harvest in harvests),
        problems=problems,
    )


def _called(node: Node) -> str:
    return f"{node.role} {node.instance_id} ({node.address})"


def _give_up(harvest: _Harvest) -> None:
    harvest.given_up.set()
    if harvest.connection is not None:
        harvest.connection.close()  # whoever reads from it gets an error instead of waiting on


def _gather(ec2: "EC2Client", node: Node, connect: Connect, folder: Path, harvest: _Harvest) -> None:
    try:
        _keep(harvest, folder / "console.txt", console_output(ec2, node.instance_id).encode())
    except ClusterError as error:
        harvest.problems.append(f"{_called(node)}: {error}")
    if node.state != "running" or harvest.given_up.is_set():
        return
    try:
        with connect(node) as connection:
            harvest.connection = connection
            if not harvest.given_up.is_set():
                _fetch(connection, node, folder, harvest)
    except Exception as error:  # whatever it is, the other nodes' logs and the end of the cluster matter more
        if not harvest.given_up.is_set():
            harvest.problems.append(f"{_called(node)}: {error or type(error).__name__}")


def _fetch(connection: Connection, node: Node, folder: Path, harvest: _Harvest) -> None:
    for size, path in _listing(connection):
        if harvest.given_up.is_set():
            return
        if harvest.size >= MOST_OF_A_NODE:
            harvest.problems.append(f"{_called(node)}: only the newest {harvest.size} bytes of its logs were fetched")
            return
        if size > MOST_OF_A_FILE:
            harvest.problems.append(f"{_called(node)}: of {path} ({size} bytes) only the end was fetched")
        start = max(0, size - MOST_OF_A_FILE)
        _keep(harvest, folder / path, connection.read_from(ROOT / path, start, limit=MOST_OF_A_FILE))


def _listing(connection: Connection) -> Iterator[tuple[int, PurePosixPath]]:
    """Sizes and paths of the logs of a node. The node's word is not trusted to stay below our folder."""
    for line in connection.run(_LIST).output.splitlines():
        _, size, text = line.split(" ", 2)
        path = PurePosixPath(text)
        if not path.is_absolute() and ".." not in path.parts:
            yield int(size), path


def _keep(harvest: _Harvest, target: Path, content: bytes) -> None:
    if content:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        harvest.files += 1
        harvest.size += len(content)
