"""Make a bare node ready: runtime, code and data, each shipped once and checked by its hash."""

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nightreel.cluster.errors import BootstrapError
from nightreel.cluster.ssh import Connection, quote

ROOT = PurePosixPath("nightreel")
"""Everything of ours lies below this folder of the login's home."""
SPARK_VERSION = "4.3.0"
"""The Spark of requirements/spark.txt."""
PAYLOAD = ROOT / "payload"
_FOLDERS = ("conf", "logs", "work", "local", "jobs", "payload", "result", "wheels")


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What must be on a node before Spark can run: an image brings it, or it is installed from wheels."""

    spark_version: str = SPARK_VERSION
    spark_home: str = "~/spark"
    """Where Spark lies on the node (`--remote-spark-home`)."""
    python: str = "~/spark-python"
    """A Python that has PySpark, NumPy and PyArrow."""
    wheelhouse: Path | None = None
    """A local folder of wheels to install from when the image lacks the above."""


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


def prepare(connection: Connection, *, runtime: Runtime, payload: Payload) -> None:
    """Bring a node to the state where Spark can start. Safe to run again: what is right is left alone.

    Raises BootstrapError with the end of the node's own output.
    """
    folders = " ".join(str(ROOT / folder) for folder in _FOLDERS)
    # The payload may hold people's ratings and the configuration holds a secret: other logins see neither.
    connection.run(f"umask 077; mkdir -p {folders} && chmod 700 {ROOT}")
    _check_java(connection)
    _ensure_runtime(connection, runtime)
    ship(connection, payload.files, folder=PAYLOAD)


def ship(connection: Connection, files: Mapping[str, Path], *, folder: PurePosixPath) -> None:
    """Copy files below a folder of the node, leaving those alone whose SHA-256 is right there already."""
    folders = sorted({str((folder / name).parent) for name in files} | {str(folder)})
    connection.run(f"umask 077; mkdir -p {' '.join(map(shlex.quote, folders))}")
    wanted = {name: _sha256(path) for name, path in files.items()}
    there = _remote_digests(connection, list(wanted), folder=folder)
    for name, digest in wanted.items():
        if there.get(name) != digest:
            connection.upload(files[name], folder / name)
    there = _remote_digests(connection, list(wanted), folder=folder)
    damaged = sorted(name for name, digest in wanted.items() if there.get(name) != digest)
    if damaged:
        raise BootstrapError(f"{connection.host}: arrived damaged: {', '.join(damaged)}; try again")


def _remote_digests(connection: Connection, names: Sequence[str], *, folder: PurePosixPath) -> dict[str, str]:
    if not names:
        return {}
    words = " ".join(map(shlex.quote, names))
    answer = connection.run(
        f'cd {quote(folder)} && for f in {words}; do [ -f "$f" ] && sha256sum "$f"; done; true', timeout=600
    )
    pairs = (line.split(maxsplit=1) for line in answer.output.splitlines())
    return {name: digest for digest, name in pairs}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_java(connection: Connection) -> None:
    found = connection.run("java -version", check=False)
    if found.exit_code != 0:
        raise BootstrapError(
            f"{connection.host}: this image has no Java; Spark needs Java 17 or newer: use an image that has it\n"
            + found.output.strip()
        )


def _ensure_runtime(connection: Connection, runtime: Runtime) -> None:
    lacks = _lacks_runtime(connection, runtime)
    if not lacks:
        return
    if runtime.wheelhouse is None:
        raise BootstrapError(
            f"{connection.host}: {lacks}. Use an image that has Spark {runtime.spark_version} at "
            f"{runtime.spark_home} and its Python at {runtime.python}, or give a folder of wheels to install from."
        )
    _install(connection, runtime, runtime.wheelhouse)
    if still := _lacks_runtime(connection, runtime):
        raise BootstrapError(f"{connection.host}: installed, and yet: {still}")


def _lacks_runtime(connection: Connection, runtime: Runtime) -> str:
    """What is missing on the node, in its own words; empty when nothing is."""
    home, python = quote(runtime.spark_home), quote(runtime.python)
    version = shlex.quote(runtime.spark_version)
    probe = f"""
        ls {home}/jars/spark-core_*-{version}.jar >/dev/null 2>&1 || {{ echo "no Spark "{version}; exit 1; }}
        {python} -c 'import numpy, pyarrow, pyspark' 2>&1 | tail -n 1 | grep . && exit 1
        true"""
    found = connection.run(probe, check=False)
    return "" if found.exit_code == 0 else found.output.strip()


def _install(connection: Connection, runtime: Runtime, wheelhouse: Path) -> None:
    wheels = {path.name: path for path in sorted(wheelhouse.glob("*.whl"))}
    if not wheels:
        raise BootstrapError(f"{wheelhouse} holds no wheels: fill it with `make wheelhouse`")
    ship(connection, wheels, folder=ROOT / "wheels")
    names = " ".join(shlex.quote(name) for name in wheels)
    venv = ROOT / "venv"
    script = f"""
        set -e
        command -v python3.12 || {{ echo "there is no python3.12, which the wheels are for"; exit 1; }}
        python3.12 -m venv --clear {venv}
        cd {ROOT}/wheels
        ../venv/bin/python -m pip install --quiet --no-index --no-deps {names}
        cd
        spark=$({venv}/bin/python -c 'import pyspark; print(pyspark.__path__[0])')
        ln -sfn "$spark" {quote(runtime.spark_home)}
        printf '#!/bin/sh\\nexec "%s" "$@"\\n' "$HOME/{venv}/bin/python" > {quote(runtime.python)}
        chmod +x {quote(runtime.python)}"""
    done = connection.run(script, timeout=600, check=False)
    if done.exit_code != 0:
        raise BootstrapError(f"{connection.host}: Spark could not be installed from the wheels:\n{done.output.strip()}")
