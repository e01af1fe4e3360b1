"""SSH to the nodes: a host is trusted by the key that we gave it, or not at all."""

import io
import shlex
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm

from nightreel.cluster.ec2 import Node
from nightreel.cluster.errors import ClusterError, HostKeyError
from nightreel.cluster.keys import KeyRing

CONNECT_TIMEOUT = 10.0
TRANSFER_SILENCE = 60.0
_MAX_PARALLEL = 32
# Of a file that is fetched so many pieces of 32 KiB are asked for ahead; without a bound, all of them at once.
_PIECES_AHEAD = 128


@dataclass(frozen=True)
class Result:
    """What a remote command gave: its exit code, and its standard output and error as they came."""

    exit_code: int
    output: str


class Connection:
    """A connection to one node. Use it as a context manager."""

    def __init__(self, client: paramiko.SSHClient, *, host: str) -> None:
        self._client = client
        self.host = host

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; what runs detached on the node goes on."""
        self._client.close()

    @property
    def port(self) -> int | None:
        """The port that was connected to; None behind a proxy, which does not tell."""
        transport = self._client.get_transport()
        port = transport.getpeername()[1] if transport else 0
        return port or None

    def run(self, script: str, *, timeout: float = 60.0, check: bool = True) -> Result:
        """Run a shell script on the node and wait for it.

        `timeout` bounds the silence between two pieces of output, in seconds. Raises ClusterError when the script does
        not end in time, or ends with another code than 0 while `check` is on.
        """
        code, raw = self.run_raw(script, timeout=timeout)
        result = Result(code, raw.decode(errors="replace"))
        if check and code != 0:
            raise ClusterError(
                f"{self.host}: {_first_line(script)!r} ended with exit code {code}:\n{_tail(result.output)}"
            )
        return result

    def run_raw(self, script: str, *, timeout: float = 60.0) -> tuple[int, bytes]:
        """As `run` without the check: the exit code (-1: ended by a signal), and the output byte for byte."""
        try:
            channel = self._transport().open_session(timeout=CONNECT_TIMEOUT)
            channel.settimeout(timeout)
            # One stream: two would have to be read side by side, or a full one blocks the command.
            channel.set_combine_stderr(True)
            channel.exec_command(script)
            channel.shutdown_write()
            output = b"".join(iter(lambda: channel.recv(65536), b""))
            code = channel.recv_exit_status()
        except (TimeoutError, OSError, EOFError, paramiko.SSHException) as error:
            raise ClusterError(f"{self.host}: lost while running {_first_line(script)!r}: {error!r}") from error
        # Below 0 there was no exit code: a signal ended the command, or the connection went first.
        if code < 0 and not channel.get_transport().is_active():
            raise ClusterError(f"{self.host}: lost while running {_first_line(script)!r}: the connection was cut")
        return code, output

    def upload(self, source: Path | bytes, target: PurePosixPath) -> None:
        """Copy a file, or bytes, to the node under its final name only when it is whole.

        `target` is absolute or relative to the login's home; its folder must exist.
        """
        part = f"{target}.part"
        with self._sftp(f"uploading {target}") as sftp:
            if isinstance(source, bytes):
                sftp.putfo(io.BytesIO(source), part)
            else:
                sftp.put(str(source), part)
            sftp.posix_rename(part, str(target))

    def download(self, source: PurePosixPath, target: Path) -> None:
        """Copy a file of the node to `target`, under that name only when it is whole; the folder is made."""
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        with self._sftp(f"fetching {source}") as sftp:
            sftp.get(str(source), str(part), max_concurrent_prefetch_requests=_PIECES_AHEAD)
        part.replace(target)

    def read_from(self, source: PurePosixPath, offset: int, *, limit: int = 1 << 20) -> bytes:
        """At most `limit` bytes of a file from `offset`; nothing while there is no such file."""
        with self._sftp(f"reading {source}") as sftp:
            try:
                with sftp.open(str(source), "rb") as file:
                    file.seek(offset)
                    return file.read(limit)
            except FileNotFoundError:
                return b""

    def _transport(self) -> paramiko.Transport:
        transport = self._client.get_transport()
        if transport is None or not transport.is_active():
            raise ClusterError(f"{self.host}: the connection is closed")
        return transport

    @contextmanager
    def _sftp(self, doing: str) -> Iterator[paramiko.SFTPClient]:
        """A transfer that fails, rather than waits for ever, when the node falls silent."""
        try:
            with self._client.open_sftp() as sftp:
                channel = sftp.get_channel()
                if channel is not None:
                    channel.settimeout(TRANSFER_SILENCE)
                yield sftp
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise ClusterError(f"{self.host}: failed while {doing}: {error or type(error).__name__}") from error


type Connect = Callable[[Node], Connection]
"""How a node is reached. The command line and Airflow each bring their own."""


def load_key(private: str) -> paramiko.PKey:
    """An Ed25519 private key in OpenSSH's form, as paramiko wants it."""
    return paramiko.Ed25519Key.from_private_key(io.StringIO(private))


def load_identity(path: Path) -> paramiko.PKey:
    """The operator's own private key, of any type, from its file. ValueError, saying why, when it can not be used."""
    try:
        key: paramiko.PKey = paramiko.PKey.from_path(path)
    except FileNotFoundError as error:
        raise ValueError(f"there is no private key at {path}") from error
    except TypeError as error:  # what the library says to a key that wants a passphrase and gets none
        raise ValueError(
            f"the private key {path} is protected by a passphrase, which is not asked for here: "
            "give a copy without one (ssh-keygen -p), or leave the option out to use the cluster's own key"
        ) from error
    except (ValueError, OSError, UnsupportedAlgorithm, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
        raise ValueError(f"{path} is no private key that can be used (Ed25519, ECDSA or RSA): {error}") from error
    return key


def load_host_key(public: str) -> paramiko.PKey:
    """A public key in OpenSSH's one-line form, as paramiko wants it; ValueError when it is none."""
    try:
        kind, body = public.split()[:2]
        return paramiko.PKey.from_type_string(kind, b64decode(body))
    except (ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
        raise ValueError(f"{public[:60]!r} is no public host key: {error}") from error


def expected_host_key(node: Node, keys: KeyRing) -> str:
    """The one host key that this node may present, in OpenSSH's one-line form.

    Its own, once the node's tag holds it; until then the first one, which came to it with the user data.
    """
    return node.host_key or keys.host(node.role).public


def open_client(
    *,
    host: str,
    port: int,
    user: str,
    client_key: paramiko.PKey,
    host_key: paramiko.PKey,
    proxy: Any = None,
) -> paramiko.SSHClient:
    """Connect to a host that must present `host_key`.

    Nothing else is trusted: no known_hosts file, no agent, no key of the user's. Raises HostKeyError when another key
    is presented, else what paramiko and the socket raise.
    """
    client = paramiko.SSHClient()
    name = host if port == paramiko.config.SSH_PORT else f"[{host}]:{port}"
    client.get_host_keys().add(name, host_key.get_name(), host_key)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        client.connect(
            host,
            port=port,
            username=user,
            pkey=client_key,
            sock=proxy,
            timeout=CONNECT_TIMEOUT,
            banner_timeout=CONNECT_TIMEOUT,
            auth_timeout=CONNECT_TIMEOUT,
            channel_timeout=CONNECT_TIMEOUT,
            look_for_keys=False,
            allow_agent=False,
        )
    except paramiko.BadHostKeyException as error:
        client.close()
        raise HostKeyError(
            f"{host} presents another host key than the one that is known of it "
            f"(expected {host_key.get_name()} {host_key.fingerprint}, got {error.key.get_name()} "
            f"{error.key.fingerprint}): another machine may be answering in its place, so nothing was sent to it. "
            "Destroy the cluster and launch it again."
        ) from error
    except BaseException:
        client.close()
        raise
    transport = client.get_transport()
    if transport is not None:
        transport.set_keepalive(15)
    return client


def pinned_connector(keys: KeyRing, *, user: str, port: int, identity: Path | None = None) -> Connect:
    """Connections of the command line: keys derived from the master secret.

    With `identity` the login is by the operator's own private key; the host keys stay pinned. Raises ValueError for a
    key file that can not be used.
    """
    client_key = load_identity(identity) if identity else load_key(keys.client().private)

    def connect(node: Node) -> Connection:
        host_key = load_host_key(expected_host_key(node, keys))
        client = open_client(host=node.address, port=port, user=user, client_key=client_key, host_key=host_key)
        return Connection(client, host=node.address)

    return connect


def await_connection(connect: Connect, node: Node, *, timeout: float) -> Connection:
    """Connect to a node that may still be booting, trying for `timeout` seconds.

    Raises HostKeyError at once, ClusterError when the time is over.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return connect(node)
        except (OSError, EOFError, paramiko.SSHException) as error:
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{node.instance_id} ({node.address}) did not let us in by SSH within {timeout:.0f} s: {error}. "
                    "Check that the security group admits your network and that the image's login user is right."
                ) from error
        time.sleep(0.3)


def attempt_on_all[T](nodes: Iterable[Node], action: Callable[[Node], T]) -> list[T | Exception]:
    """Do `action` on all nodes at the same time: what each gave, or its error, in the order of the nodes."""
    with ThreadPoolExecutor(max_workers=_MAX_PARALLEL, thread_name_prefix="node") as pool:
        futures = [pool.submit(action, node) for node in nodes]
    outcomes: list[T | Exception] = []
    for future in futures:
        error = future.exception()
        if error is not None and not isinstance(error, Exception):
            raise error
        outcomes.append(error or future.result())
    return outcomes


def on_all[T](nodes: Iterable[Node], action: Callable[[Node], T]) -> list[T]:
    """Do `action` on all nodes at the same time; the results in the order of the nodes.

    All are waited for. The first failure, in that order, is raised; the others' texts stand in its notes.
    """
    outcomes = attempt_on_all(nodes, action)
    failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    if failures:
        for other in failures[1:]:
            failures[0].add_note(f"also: {other}")
        raise failures[0]
    return [outcome for outcome in outcomes if not isinstance(outcome, Exception)]


def quote(path: PurePosixPath | str) -> str:
    """A path or word for a remote shell; `~/` at its start means the login's home."""
    text = str(path)
    if text.startswith("~/"):
        return f'"$HOME"/{shlex.quote(text[2:])}'
    return shlex.quote(text)


def _first_line(script: str) -> str:
    return script.strip().splitlines()[0][:120]


def _tail(output: str, *, lines: int = 20) -> str:
    return "\n".join(output.strip().splitlines()[-lines:])
