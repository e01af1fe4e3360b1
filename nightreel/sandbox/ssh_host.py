"""The SSH server of a host of the kind `processes`, in Python: it needs neither root nor anything installed.

Run as `python -m nightreel.sandbox.ssh_host host.json` this is such a host: process 1, the timers, and a server for
exec, shell, pty, SFTP, SCP and direct-tcpip forwarding, all as the user who runs the sandbox.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import struct
import sys
import termios
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, NoReturn

import asyncssh

from nightreel.sandbox.init import DROP_SIGNAL, HostSpec, be_host, stay_mute

_CHUNK = 1 << 16


class _Login(asyncssh.SSHServer):
    """Public keys only, one login, and the authorised keys as they are at this moment, as sshd does it."""

    def __init__(self, spec: HostSpec, connections: set[asyncssh.SSHServerConnection]) -> None:
        self._spec = spec
        self._connections = connections

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        keys = Path(self._spec.home, ".ssh", "authorized_keys")
        if username == self._spec.login and keys.exists():
            try:
                self._connection.set_authorized_keys(asyncssh.import_authorized_keys(keys.read_text()))
            except ValueError:
                logging.exception("authorized_keys can not be read")
        return True

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return True


class _Sftp(asyncssh.SFTPServer):
    """SFTP that ends with an exit status, without which OpenSSH's scp reports a failure."""

    def __init__(self, channel: "asyncssh.SSHServerChannel[bytes]") -> None:
        super().__init__(channel)
        self._status_channel = channel

    def exit(self) -> None:
        self._status_channel.exit(0)


class _Session:
    """One command or shell. The pumps are our own: asyncssh's redirection loses data under back-pressure."""

    def __init__(self, spec: HostSpec, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        self._spec = spec
        self._ssh = process
        self._argv = ["/bin/bash", "-c", process.command] if process.command else ["/bin/bash", "-l"]
        accepted = {name: value for name, value in process.env.items() if name.startswith(("LANG", "LC_"))}
        self._environment = {**spec.environment, **accepted}

    async def run(self) -> None:
        code = await (self._run_on_terminal() if self._ssh.term_type else self._run_on_pipes())
        with contextlib.suppress(OSError, asyncssh.Error):
            if code < 0:
                self._ssh.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
            else:
                self._ssh.exit(code)

    async def _run_on_pipes(self) -> int:
        (out, out_end), (err, err_end) = await _read_end(), await _read_end()
        child = await asyncio.create_subprocess_exec(
            *self._argv, cwd=self._spec.home, env=self._environment, start_new_session=True,
            stdin=asyncio.subprocess.PIPE, stdout=out_end, stderr=err_end,
        )  # fmt: skip
        os.close(out_end)
        os.close(err_end)
        assert child.stdin is not None
        feed = asyncio.create_task(self._feed(child.stdin, child.pid))
        await self._until_closed(_pump(*out, self._ssh.stdout), _pump(*err, self._ssh.stderr))
        code = await child.wait()
        feed.cancel()
        return code

    async def _feed(self, stdin: asyncio.StreamWriter, pid: int) -> None:
        with contextlib.suppress(OSError, asyncssh.Error):
            while data := await self._input(pid, terminal=None):
                stdin.write(data)
                await stdin.drain()
        stdin.close()

    async def _input(self, pid: int, *, terminal: int | None) -> bytes:
        """The next bytes from the client; signals and window sizes are passed on as they come."""
        while True:
            try:
                return await self._ssh.stdin.read(_CHUNK)
            except asyncssh.TerminalSizeChanged as size:
                if terminal is not None:
                    _set_size(terminal, (size.width, size.height, size.pixwidth, size.pixheight))
            except asyncssh.SignalReceived as received:
                with contextlib.suppress(ProcessLookupError, KeyError):
                    os.killpg(pid, signal.Signals[f"SIG{received.signal}"])
            except asyncssh.BreakReceived:
                pass

    async def _run_on_terminal(self) -> int:
        ours, theirs = os.openpty()
        _set_size(theirs, self._ssh.term_size)
        child = await asyncio.create_subprocess_exec(
            "setsid", "--ctty", *self._argv, stdin=theirs, stdout=theirs, stderr=theirs,
            cwd=self._spec.home, env={**self._environment, "TERM": self._ssh.term_type or "dumb"},
        )  # fmt: skip
        os.close(theirs)
        reader, transport = await _reader(os.dup(ours))
        feed = asyncio.create_task(self._type(ours, child.pid))
        await self._until_closed(_pump(reader, transport, self._ssh.stdout))
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # the line was hung up, or nobody holds the terminal
                os.killpg(child.pid, signal.SIGHUP)
        code = await child.wait()
        feed.cancel()
        os.close(ours)
        return code

    async def _type(self, terminal: int, pid: int) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, asyncssh.Error):
            while data := await self._input(pid, terminal=terminal):
                while data:
                    written = await loop.run_in_executor(None, os.write, terminal, data)
                    data = data[written:]

    async def _until_closed(self, *pumps: Awaitable[None]) -> None:
        """Pump until every stream has ended, or until the client has gone."""
        waiting: list[asyncio.Future[Any]] = [
            asyncio.gather(*pumps),
            asyncio.create_task(self._ssh.wait_closed()),
        ]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


_Reading = tuple[asyncio.StreamReader, asyncio.BaseTransport]


async def _reader(descriptor: int) -> _Reading:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: protocol, os.fdopen(descriptor, "rb", buffering=0)
    )
    return reader, transport


async def _read_end() -> tuple[_Reading, int]:
    """A pipe: its read end as a stream, its write end as a descriptor."""
    reading, writing = os.pipe()
    return await _reader(reading), writing


async def _pump(
    reader: asyncio.StreamReader, transport: asyncio.BaseTransport, writer: "asyncssh.SSHWriter[bytes]"
) -> None:
    """Copy until the end. Closing the pipe afterwards lets whoever still writes to it know that nobody listens."""
    try:
        with contextlib.suppress(OSError, asyncssh.Error):  # a terminal ends with EIO
            while data := await reader.read(_CHUNK):
                writer.write(data)
                await writer.drain()
    finally:
        transport.close()


def _set_size(terminal: int, size: tuple[int, int, int, int]) -> None:
    width, height, *pixels = size
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height or 24, width or 80, *pixels))


async def _serve(spec: HostSpec) -> NoReturn:
    connections: set[asyncssh.SSHServerConnection] = set()

    async def run(process: "asyncssh.SSHServerProcess[bytes]") -> None:
        await _Session(spec, process).run()

    def drop() -> None:
        for connection in list(connections):
            connection.abort()

    asyncio.get_running_loop().add_signal_handler(DROP_SIGNAL, drop)
    await asyncssh.create_server(
        lambda: _Login(spec, connections), spec.address, spec.port, server_host_keys=list(spec.host_keys),
        process_factory=run, encoding=None, sftp_factory=_Sftp, allow_scp=True, line_editor=False,
        agent_forwarding=False,
    )  # fmt: skip
    await asyncio.Event().wait()
    raise AssertionError("nobody sets that event")


def main() -> NoReturn:
    """Be the host of the description that the first argument names."""
    spec = HostSpec.read(sys.argv[1])
    be_host(spec, lambda: stay_mute(spec) if spec.mute else asyncio.run(_serve(spec)))


if __name__ == "__main__":
    main()
