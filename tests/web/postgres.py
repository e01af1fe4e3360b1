"""A PostgreSQL of Debian's package, in a folder and on a socket of its own: no other port or cluster is touched."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=32MB")
"""What only a database may leave out that is thrown away."""


def programs() -> Path | None:
    """Return the folder of the newest PostgreSQL's programs, None where there is none or no user who may run it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[4]))
    if not found or (os.geteuid() == 0 and _owner() is None):
        return None
    return found[-1].parent


def _owner() -> pwd.struct_passwd | None:
    with suppress(KeyError):
        return pwd.getpwnam("postgres")
    return None


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    folder: Path
    bin: Path

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of its programs to its end as its owner; CalledProcessError when it fails."""
        command = _as_owner([str(self.bin / program), *arguments])
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd="/")

    def create(self, name: str) -> str:
        """Make an empty database; its URL."""
        self.run("createdb", "--host", str(self.folder), "--username", "site", name)
        return f"postgresql://site@/{name}?host={self.folder}"


def _as_owner(command: Sequence[str]) -> list[str]:
    if os.geteuid() != 0:
        return list(command)
    return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups", "--", *command]


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Serve in a temporary folder, without any port, until the context ends."""
    bin_folder = programs()
    assert bin_folder is not None
    folder = Path(tempfile.mkdtemp(prefix="nightreel-pg-", dir="/tmp"))  # a socket's path must be short
    server = Postgres(folder, bin_folder)
    try:
        if os.geteuid() == 0:
            owner = _owner()
            assert owner is not None
            os.chown(folder, owner.pw_uid, owner.pw_gid)
            folder.chmod(0o755)  # whoever runs the tests connects to the socket in it
        data = str(folder / "data")
        server.run(
            "initdb", "--pgdata", data, "--username", "site", "--auth", "trust", "--encoding", "UTF8", "--no-sync"
        )
        switches = " ".join(
            f"-c {setting}" for setting in (*QUICK, "listen_addresses=", f"unix_socket_directories={folder}")
        )
        log = str(folder / "log")
        server.run(
            "pg_ctl", "start", "--wait", "--timeout", "120", "--pgdata", data, "--log", log, "--options", switches
        )
        try:
            yield server
        finally:
            server.run("pg_ctl", "stop", "--wait", "--mode", "immediate", "--pgdata", data)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
