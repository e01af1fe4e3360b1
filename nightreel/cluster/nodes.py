"""Work by hand on the nodes of a cluster: a command on many, files to and from them, and a login."""

import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nightreel.cluster.bootstrap import ship
from nightreel.cluster.ec2 import Node
from nightreel.cluster.errors import ClusterError
from nightreel.cluster.files import remote_digests, sha256, within_home
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.ssh import Connect, Connection, attempt_on_all, expected_host_key, quote

SILENCE = 3600.0
"""How long a command of the operator's may say nothing; seconds."""
_SSH_PORT = 22


@dataclass(frozen=True, kw_only=True)
class NodeResult:
    """How it went on one node."""

    node: Node
    exit_code: int | None
    """The command's exit code; -1 when a signal ended it, None when the node could not be asked."""
    output: str
    error: str | None = None
    """Why the node could not be asked."""

    @property
    def ok(self) -> bool:
        """Whether all went well on this node."""
        return self.exit_code == 0


def run_on(nodes: Sequence[Node], connect: Connect, command: str, *, timeout: float = SILENCE) -> list[NodeResult]:
    """Run a shell command on all of these nodes at the same time; what came of it, in the order of the nodes.

    Nothing is raised for a node: one that can not be reached has `error`. `timeout` bounds the silence between two
    pieces of output, in seconds.
    """

    def run(node: Node) -> NodeResult:
        with connect(node) as connection:
            done = connection.run(command, timeout=timeout, check=False)
        return NodeResult(node=node, exit_code=done.exit_code, output=done.output)

    return _results(nodes, attempt_on_all(nodes, run))


def copy_to(nodes: Sequence[Node], connect: Connect, source: Path, target: str) -> list[NodeResult]:
    """Copy a file, or a folder with all that is below it, to all of these nodes at the same time.

    A folder *becomes* `target`; a file becomes `target`, or goes into it when that ends with a slash or is a folder on
    the node. `target` is absolute, or relative to the login's home (`~/` is understood). What is there with the right
    SHA-256 is left alone, so a repeat costs little, and everything is compared again afterwards. Links are followed.

    Raises FileNotFoundError when there is nothing to copy; for a node see `NodeResult`.
    """
    if not source.exists():
        raise FileNotFoundError(f"{source} is neither a file nor a folder: nothing to copy to the nodes")

    def copy(node: Node) -> NodeResult:
        with connect(node) as connection:
            folder, files = _placed(connection, source, target)
            ship(connection, files, folder=folder)
            _copy_modes(connection, files, folder)
        return NodeResult(node=node, exit_code=0, output=f"{len(files)} file(s) in {folder}")

    return _results(nodes, attempt_on_all(nodes, copy))


def copy_from(nodes: Sequence[Node], connect: Connect, source: str, target: Path) -> list[NodeResult]:
    """Copy a file, or a folder with all that is below it, from these nodes to this machine, SHA-256 checked.

    It lands in `target`; from more than one node, in a folder below it with the node's instance id. Raises nothing
    for a node: see `NodeResult`.
    """

    def fetch(node: Node) -> NodeResult:
        place = target / node.instance_id if len(nodes) > 1 else target
        with connect(node) as connection:
            count = _fetch(connection, source, place)
        return NodeResult(node=node, exit_code=0, output=f"{count} file(s) in {place}")

    return _results(nodes, attempt_on_all(nodes, fetch))


def _results(nodes: Sequence[Node], outcomes: Sequence[NodeResult | Exception]) -> list[NodeResult]:
    return [
        NodeResult(node=node, exit_code=None, output="", error=str(outcome) or type(outcome).__name__)
        if isinstance(outcome, Exception)
        else outcome
        for node, outcome in zip(nodes, outcomes, strict=True)
    ]


def _placed(connection: Connection, source: Path, target: str) -> tuple[PurePosixPath, dict[str, Path]]:
    """The folder on the node, and the files by their path below it."""
    place = within_home(target)
    if source.is_dir():
        files = {path.relative_to(source).as_posix(): path for path in sorted(source.rglob("*")) if path.is_file()}
        if not files:
            raise FileNotFoundError(f"{source} holds no files: nothing to copy to the nodes")
        return place, files
    is_folder = connection.run(f"[ -d {quote(place)} ]", check=False).exit_code == 0
    if target.endswith("/") or is_folder:
        return place, {source.name: source}
    return place.parent, {place.name: source}


def _copy_modes(connection: Connection, files: dict[str, Path], folder: PurePosixPath) -> None:
    """What may be executed here may be executed there."""
    programs = [name for name, path in files.items() if path.stat().st_mode & 0o100]
    for start in range(0, len(programs), 200):
        words = " ".join(shlex.quote(f"./{name}") for name in programs[start : start + 200])
        connection.run(f"cd {quote(folder)} && chmod u+x {words}")


def _fetch(connection: Connection, source: str, target: Path) -> int:
    place = within_home(source)
    if connection.run(f"[ -d {quote(place)} ]", check=False).exit_code != 0:
        into = target / place.name if target.is_dir() else target
        _fetch_one(connection, place, into)
        return 1
    listing = connection.run(f"cd {quote(place)} && find -L . -type f -printf '%P\\0'", timeout=600).output
    names = [name for name in listing.split("\0") if name]
    for name in names:
        if ".." in PurePosixPath(name).parts or name.startswith("/"):
            raise ClusterError(f"{connection.host}: refused a file that would land outside of {target}: {name!r}")
        _fetch_one(connection, place / name, target / name)
    return len(names)


def _fetch_one(connection: Connection, source: PurePosixPath, target: Path) -> None:
    connection.download(source, target)
    remote = remote_digests(connection, [source.name], folder=source.parent).get(source.name)
    if remote != sha256(target):
        target.unlink()
        raise ClusterError(f"{connection.host}: {source} arrived damaged, or changed meanwhile; try again")


@contextmanager
def login_command(
    node: Node, *, keys: KeyRing, user: str, port: int = _SSH_PORT, identity: Path | None = None
) -> Iterator[list[str]]:
    """The OpenSSH command that logs in to this node: it trusts the one pinned host key, and nothing else counts.

    The private key and the known host live in a folder that only the user may read, until the context ends. Append a
    command to the words to run it instead of a shell.
    """
    with tempfile.TemporaryDirectory(prefix="nightreel-login-") as folder:
        known, key = Path(folder, "known_hosts"), Path(folder, "key")
        name = node.address if port == _SSH_PORT else f"[{node.address}]:{port}"
        host_key = expected_host_key(node, keys)
        known.write_text(f"{name} {host_key}\n")
        if identity is None:
            key.touch(mode=0o600)
            key.write_text(keys.client().private)
        options = {
            "UserKnownHostsFile": str(known),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "HostKeyAlgorithms": host_key.split()[0],
            "UpdateHostKeys": "no",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "ConnectTimeout": "10",
            "ServerAliveInterval": "15",
        }
        words = [word for item in options.items() for word in ("-o", "=".join(item))]
        # -F /dev/null: nothing of the user's own configuration may loosen this.
        yield ["ssh", "-F", "/dev/null", *words, "-i", str(identity or key), "-p", str(port), f"{user}@{node.address}"]
