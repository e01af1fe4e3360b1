"""Software travels from the operator's machine to the cluster once: the master passes it on to the workers.

Uploaded to every node, hundreds of megabytes would take a time that grows with the number of nodes. Inside of the
cluster's own network the master serves them by plain HTTP while the nodes are prepared. That is good enough for wheels
and tarballs, which are public, and checked by their SHA-256 where they arrive; whatever a worker could not get in this
way, it gets from here. Data and configuration never travel like this.
"""

import logging
import shlex
import threading
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Protocol

from nightreel.cluster.errors import ClusterError
from nightreel.cluster.files import remote_digests, sha256
from nightreel.cluster.runtime import ROOT
from nightreel.cluster.ssh import Connection

log = logging.getLogger(__name__)

WORTH_IT = 4 << 20
"""Bytes: smaller files go straight to every node."""
_PORT = 7079
_FOLDER = ROOT / "relay"
# Seconds after which the server ends by itself, whatever became of us.
_LIFETIME = 1800


class Ship(Protocol):
    """How files get to a node from here: see `bootstrap.ship`."""

    def __call__(self, connection: Connection, files: Mapping[str, Path], *, folder: PurePosixPath) -> None:
        """Copy files below a folder of the node, leaving right ones alone."""


class Relay:
    """What the master has got so far, and how workers come by it."""

    def __init__(self, *, master_ip: str, ship: Ship) -> None:
        self._master_ip = master_ip
        self._ship = ship
        self._served: set[str] = set()
        self._closed = False
        self._changed = threading.Condition()

    def to_master(self, connection: Connection, files: Mapping[str, Path], *, folder: PurePosixPath) -> None:
        """Copy files to the master, and let it serve the big ones. Raises what `ship` raises."""
        self._ship(connection, files, folder=folder)
        big = {name: sha256(path) for name, path in files.items() if path.stat().st_size >= WORTH_IT}
        if big and self._serve(connection, big, folder):
            with self._changed:
                self._served |= set(big.values())
                self._changed.notify_all()

    def to_worker(self, connection: Connection, files: Mapping[str, Path], *, folder: PurePosixPath) -> None:
        """Copy files to a worker: from the master what it serves, the rest from here. Raises what `ship` raises."""
        big = {name: sha256(path) for name, path in files.items() if path.stat().st_size >= WORTH_IT}
        if self._await(set(big.values())):
            self._pull(connection, big, folder)
        self._ship(connection, files, folder=folder)

    def close(self) -> None:
        """The master is done, well or not: nobody needs to wait for more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def end(self, connection: Connection) -> None:
        """End the master's server and remove what it served."""
        connection.run(f"""
            [ -s {_FOLDER}.pid ] && kill -- "-$(cat {_FOLDER}.pid)" 2>/dev/null
            rm -rf {_FOLDER} {_FOLDER}.pid""")

    @property
    def used(self) -> bool:
        """Whether the master served anything."""
        return bool(self._served)

    def _await(self, digests: set[str]) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or digests <= self._served)
            return bool(digests) and digests <= self._served

    def _serve(self, connection: Connection, files: Mapping[str, str], folder: PurePosixPath) -> bool:
        """Whether the master serves these files now, under their digests."""
        links = "\n".join(
            f"ln -f {shlex.quote(str(folder / name))} {_FOLDER}/{digest} || exit 1" for name, digest in files.items()
        )
        probe = f"curl -fsS -o /dev/null --noproxy '*' --max-time 5 http://{self._master_ip}:{_PORT}/"
        server = f"timeout {_LIFETIME} $python -m http.server --bind {self._master_ip} --directory {_FOLDER} {_PORT}"
        done = connection.run(
            f"""
            mkdir -p {_FOLDER} || exit 1
            {links}
            {probe} 2>/dev/null && exit 0
            python=$(command -v python3 || command -v python3.12) || exit 1
            export python
            setsid nohup sh -c 'echo $$ > {_FOLDER}.pid; exec {server}' >{ROOT}/logs/relay.log 2>&1 </dev/null &
            for _ in $(seq 50); do {probe} 2>/dev/null && exit 0; sleep 0.2; done
            tail -n 3 {ROOT}/logs/relay.log; exit 1""",
            check=False,
        )
        if done.exit_code != 0:
            log.warning("the master can not pass files on (%s): every worker gets its own", done.output.strip())
        return done.exit_code == 0

    def _pull(self, connection: Connection, files: Mapping[str, str], folder: PurePosixPath) -> None:
        """Fetch what the worker lacks. Failures are no matter: `ship` looks at every file afterwards."""
        try:
            connection.run(f"umask 077; mkdir -p {shlex.quote(str(folder))}")
            there = remote_digests(connection, list(files), folder=folder)
            for name, digest in files.items():
                if there.get(name) == digest:
                    continue
                target = shlex.quote(str(folder / name))
                connection.run(
                    f"curl -fsS --noproxy '*' --connect-timeout 5 -o {target}.part "
                    f"http://{self._master_ip}:{_PORT}/{digest} && mv {target}.part {target}",
                    timeout=600,
                )
        except ClusterError as error:
            log.warning("%s got nothing from the master (%s): it gets its files from here", connection.host, error)
