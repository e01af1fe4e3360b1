"""Make a bare node ready: runtime, code and data, each shipped once and checked by its hash."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nightreel.cluster.errors import BootstrapError
from nightreel.cluster.files import make_folders, remote_digests, sha256
from nightreel.cluster.install import ensure_runtime
from nightreel.cluster.relay import Ship
from nightreel.cluster.runtime import ROOT, SPARK_VERSION, Runtime
from nightreel.cluster.ssh import Connection

__all__ = ["PAYLOAD", "ROOT", "SPARK_VERSION", "Payload", "Runtime", "prepare", "ship"]

PAYLOAD = ROOT / "payload"
_FOLDERS = ("conf", "logs", "work", "local", "jobs", "payload", "result", "wheels")


@dataclass(frozen=True)
class Payload:
    """Files to ship, by their path below the payload folder."""

    files: Mapping[str, Path]

    @classmethod
    def of(cls, *sources: Path) -> "Payload":
        """Files under their own names, and folders with the files in them."""
        found: dict[str, Path] = {}
        for source in sources:
            if not source.exists():
                raise FileNotFoundError(f"{source} is neither a file nor a folder: nothing to ship to the nodes")
            found |= cls.below(source.name, source) if source.is_dir() else {source.name: source}
        return cls(found)

    @staticmethod
    def below(name: str, folder: Path, *, pattern: str = "*") -> dict[str, Path]:
        """The files of a local folder that match `pattern`, to be shipped below `name`.

        Raises FileNotFoundError when there is none.
        """
        found = {f"{name}/{path.name}": path for path in sorted(folder.glob(pattern)) if path.is_file()}
        if not found:
            raise FileNotFoundError(f"{folder} holds no {pattern} to ship to the nodes")
        return found


def prepare(
    connection: Connection, *, runtime: Runtime, payload: Payload, ship_software: Ship | None = None
) -> str | None:
    """Bring a node to the state where Spark can start. Safe to run again: what is right is left alone.

    `ship_software` copies wheels and tarballs to the node; `ship` when not given. Gives JAVA_HOME when the node's own
    `java` will not do. Raises BootstrapError with the end of the node's own output.
    """
    folders = " ".join(str(ROOT / folder) for folder in _FOLDERS)
    # The payload may hold people's ratings and the configuration holds a secret: other logins see neither.
    connection.run(f"umask 077; mkdir -p {folders} && chmod 700 {ROOT}")
    java_home = ensure_runtime(connection, runtime, ship=ship_software or ship)
    ship(connection, payload.files, folder=PAYLOAD)
    return java_home


def ship(connection: Connection, files: Mapping[str, Path], *, folder: PurePosixPath) -> None:
    """Copy files below a folder of the node, leaving those alone whose SHA-256 is right there already.

    Raises BootstrapError when something arrives damaged.
    """
    make_folders(connection, sorted({str((folder / name).parent) for name in files} | {str(folder)}))
    wanted = {name: sha256(path) for name, path in files.items()}
    there = remote_digests(connection, list(wanted), folder=folder)
    stale = [name for name, digest in wanted.items() if there.get(name) != digest]
    for name in stale:
        connection.upload(files[name], folder / name)
    there = remote_digests(connection, stale, folder=folder)
    damaged = sorted(name for name in stale if there.get(name) != wanted[name])
    if damaged:
        raise BootstrapError(f"{connection.host}: arrived damaged: {', '.join(damaged)}; try again")
