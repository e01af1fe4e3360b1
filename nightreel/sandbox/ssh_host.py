"""One instance of the sandbox: an SSH host on its own loopback address, in a process tree of its own.

Run as `python ssh_host.py host.json`. Two processes: *init* (process 1 of the instance where a pid namespace is
available, else a child subreaper) collects orphans and ends everything at the power-off time, on SIGTERM, and when the
supervisor's pipe on its standard input ends; the *SSH server* beneath it serves exec, shell, pty, SFTP, SCP and
direct-tcpip forwarding. The file imports nothing of Nightreel, since it runs on its own.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import json
import logging
import os
import select
import signal
import socket
import struct
import sys
import termios
import threading
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import asyncssh

POWERED_OFF, CRASHED = 10, 70
CRASH = b"c"  # written down the supervisor's pipe: die at once, as a machine does that loses its power
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_CHUNK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class HostSpec:
    """What the supervisor wants of a host; read from and written to a JSON file."""

    instance: str
    address: str
    port: int
    login: str
    home: str
    host_key: str
    pid_file: str
    environment: Mapping[str, str]
    power_offs: Sequence[float] = ()
    """Moments, in seconds since the epoch, at which the host powers itself off."""
    mute: bool = False
    """Accept connections and never say a word on them."""


class Init:
    """Process 1 of an instance."""

    def __init__(self, spec: HostSpec, server: int) -> None:
        self._spec = spec
        self._server = server
        self._ending = threading.Lock()

    def run(self) -> NoReturn:
        """Reap children until the host ends; never returns."""
        signal.signal(signal.SIGTERM, lambda *_: self._end(POWERED_OFF))
        Path(self._spec.pid_file).write_text(str(os.getpid()))
        threading.Thread(target=self._watch, daemon=True).start()
        while True:
            with contextlib.suppress(ChildProcessError):
                pid, _ = os.wait()
                if pid == self._server:
                    self._end(CRASHED)

    def _watch(self) -> None:
        """End with the supervisor, on its word, or at the power-off time, whichever comes first."""
        while True:
            now = time.time()
            if any(moment <= now for moment in self._spec.power_offs):
                self._end(POWERED_OFF)
            # The clock may be set while we wait, so look at it now and then.
            pause = min([30.0, *(moment - now for moment in self._spec.power_offs)])
            if select.select([0], [], [], pause)[0]:
                self._end(CRASHED if os.read(0, 1) == CRASH else 0)

    def _end(self, code: int) -> None:
        if not self._ending.acquire(blocking=False):
            return  # the first reason counts, and is being acted upon
        if os.getpid() != 1:
            _kill_descendants()
        os._exit(code)  # as process 1 of a pid namespace this takes everything in it along


def _kill_descendants() -> None:
    """Kill until none is left, and reap: what is killed hands its children up to us, the subreaper."""
    while living := _descendants(os.getpid()):
        for pid in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    children.setdefault(int(parent), []).append(int(entry.name))
    found: list[int] = []
    queue = [root]
    while queue:
        offspring = children.get(queue.pop(), [])
        found.extend(offspring)
        queue.extend(offspring)
    return found


class _Login(asyncssh.SSHServer):
    """Public keys only, one login, and the authorised keys as they are at this moment, as sshd does it."""

    def __init__(self, spec: HostSpec) -> None:
        self._spec = spec

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

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
    async def run(process: "asyncssh.SSHServerProcess[bytes]") -> None:
        await _Session(spec, process).run()

    await asyncssh.create_server(
        lambda: _Login(spec), spec.address, spec.port, server_host_keys=[spec.host_key], process_factory=run,
        encoding=None, sftp_factory=_Sftp, allow_scp=True, line_editor=False, agent_forwarding=False,
    )  # fmt: skip
    await asyncio.Event().wait()
    raise AssertionError("nobody sets that event")


def _stay_mute(spec: HostSpec) -> NoReturn:
    listener = socket.create_server((spec.address, spec.port))
    connections = []
    while True:
        connections.append(listener.accept())


def _server(spec: HostSpec) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the supervisor's pipe is init's alone
    if spec.mute:
        _stay_mute(spec)
    asyncio.run(_serve(spec))


def main() -> NoReturn:
    """Start the SSH server and be init to it."""
    spec = HostSpec(**json.loads(Path(sys.argv[1]).read_text()))
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    os.chdir(spec.home)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    server = os.fork()
    if server:
        Init(spec, server).run()
    try:
        _server(spec)
    except BaseException:
        logging.exception("the SSH server of %s ended", spec.instance)
    os._exit(CRASHED)


if __name__ == "__main__":
    main()
