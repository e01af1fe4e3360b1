"""Files on the nodes, told apart by their SHA-256."""

import hashlib
import shlex
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

from nightreel.cluster.ssh import Connection, quote

# Linux takes a script of at most 128 KiB (MAX_ARG_STRLEN) as one word.
_MOST_WORDS = 48 * 1024
DIGEST_SILENCE = 600.0


def within_home(path: str) -> PurePosixPath:
    """A path on a node as both the shell and SFTP understand it: absolute, or relative to the login's home."""
    if path in ("~", "~/", ""):
        return PurePosixPath(".")
    return PurePosixPath(path.removeprefix("~/"))


def sha256(path: Path) -> str:
    """The SHA-256 of a file of this machine, in hexadecimal digits."""
    state = path.stat()
    return _sha256(path, state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _sha256(path: Path, *_state: int) -> str:
    """Read once, however many nodes the file goes to; a file that changed has another state."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remote_digests(connection: Connection, names: Sequence[str], *, folder: PurePosixPath) -> dict[str, str]:
    """SHA-256 by name of those files below a folder of the node that are there."""
    found: dict[str, str] = {}
    for words in _in_pieces(shlex.quote(f"./{name}") for name in names):
        # -z: each entry ends with a zero byte, and no name is written in another way.
        answer = connection.run(
            f'cd {quote(folder)} && for f in {words}; do [ -f "$f" ] && sha256sum -z "$f"; done; true',
            timeout=DIGEST_SILENCE,
        )
        for entry in filter(None, answer.output.split("\0")):
            digest, _, name = entry.partition("  ")
            found[name.removeprefix("./")] = digest
    return found


def make_folders(connection: Connection, folders: Iterable[str]) -> None:
    """Make folders on the node, for the login alone to read; those that are there stay as they are."""
    for words in _in_pieces(shlex.quote(name) for name in folders):
        connection.run(f"umask 077; mkdir -p -- {words}")


def _in_pieces(words: Iterable[str]) -> Iterator[str]:
    """The words joined by spaces, in pieces that fit into a script."""
    piece: list[str] = []
    size = 0
    for word in words:
        if piece and size + len(word) > _MOST_WORDS:
            yield " ".join(piece)
            piece, size = [], 0
        piece.append(word)
        size += len(word.encode()) + 1
    if piece:
        yield " ".join(piece)
