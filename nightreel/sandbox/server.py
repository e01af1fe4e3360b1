"""The sandbox's process: `python -m nightreel.sandbox.server`, or `serve` in the foreground of the command line."""

import fcntl
import logging
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Network
from pathlib import Path
from typing import IO

import psutil

from nightreel.sandbox.settings import MACHINES_SSH_PORT, Record, SandboxError, Settings, require_linux

_MOTO = {
    "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "true",
    "MOTO_ENABLE_AMI_VALIDATION": "true",
    "MOTO_ENABLE_KEYPAIR_VALIDATION": "true",
    "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
}


def serve(settings: Settings, *, on_ready: Callable[[Record], None] = lambda _: None) -> None:
    """Be the sandbox until SIGTERM or SIGINT, then end every host and return.

    Raises SandboxError when one runs in this state directory already, or when an address is taken.
    """
    require_linux()
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ExitStack() as held:
        held.enter_context(_locked(settings.state))
        for network in sorted({settings.network, settings.loopback}):
            held.enter_context(claimed(network, asked=settings.network))
        listener = held.enter_context(_listening(settings))
        ssh_port = _free_ssh_port(settings)
        _run(settings, listener, ssh_port, on_ready)


def _run(settings: Settings, listener: socket.socket, ssh_port: int, on_ready: Callable[[Record], None]) -> None:
    os.environ |= {**_MOTO, "MOTO_PORT": str(listener.getsockname()[1])}
    # moto reads its switches when it is imported, and takes seconds; `status` and `down` need neither.
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server  # noqa: PLC0415

    from nightreel.sandbox.account import Account  # noqa: PLC0415
    from nightreel.sandbox.gateway import Gateway  # noqa: PLC0415
    from nightreel.sandbox.hosts import Hosts  # noqa: PLC0415
    from nightreel.sandbox.kinds import kind_of_host  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    host, port = listener.getsockname()
    instances = settings.state / "instances"
    shutil.rmtree(instances, ignore_errors=True)  # the account is in memory: instances of an earlier run are gone
    kind = kind_of_host(settings)
    account = Account(settings.network)
    hosts = Hosts(account, instances, ssh_port=ssh_port, kind=kind)
    gateway = Gateway(
        DomainDispatcherApplication(create_backend_app), account, hosts,
        journal=settings.state / "journal.jsonl", host=f"{host}:{port}",
    )  # fmt: skip
    server = make_server(host, port, gateway, threaded=True, request_handler=MotoRequestHandler, fd=listener.fileno())
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    hosts.start()
    threading.Thread(target=server.serve_forever, name="endpoint", daemon=True).start()
    record = Record(
        pid=os.getpid(), started=psutil.Process().create_time(), endpoint=f"http://{host}:{port}",
        network=str(settings.network), ssh_port=ssh_port, isolation=kind.description, hosts=settings.hosts,
    )  # fmt: skip
    record.write(settings.state)
    try:
        on_ready(record)
        stop.wait()
    finally:
        server.shutdown()
        hosts.close()
        Record.remove(settings.state)


@contextmanager
def _locked(state: Path) -> Iterator[IO[str]]:
    """Hold the state directory; the kernel lets go of it however this process ends."""
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SandboxError(f"a sandbox runs in {state} already; see `nightreel sandbox status`") from None
        yield lock


@contextmanager
def claimed(network: IPv4Network, *, asked: IPv4Network | None = None) -> Iterator[socket.socket]:
    """Hold the network by an abstract socket: two sandboxes in one would give out the same addresses.

    `asked` is the network that the user named, where this one only goes with it. Raises SandboxError.
    """
    with socket.socket(socket.AF_UNIX) as claim:
        try:
            claim.bind(f"\0nightreel-sandbox-{network}")
        except OSError:
            why = "" if asked in (None, network) else f", where the endpoint of a sandbox in {asked} has to be"
            raise SandboxError(
                f"another sandbox uses the network {network}{why}; stop it, or choose another one with --network"
            ) from None
        yield claim


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    try:
        listener = socket.create_server((settings.address, settings.port))
    except OSError as error:
        raise SandboxError(
            f"can not listen on {settings.address}:{settings.port} ({error.strerror}); choose another port with --port "
            "(0 picks a free one) or another network with --network. Of a network in 10.0.0.0/8 this machine must have "
            "the addresses: ip route add local 10.N.0.0/17 dev lo"
        ) from error
    with listener:
        yield listener


def _free_ssh_port(settings: Settings) -> int:
    """The SSH port, tried on the endpoint's address: a service on 0.0.0.0 would hold it on every host's too."""
    if settings.hosts == "machines":  # every one of them has all ports to itself
        return settings.ssh_port or MACHINES_SSH_PORT
    try:
        with socket.create_server((settings.address, settings.ssh_port)) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        raise SandboxError(
            f"can not use the SSH port {settings.ssh_port} ({error.strerror}); choose another one with --ssh-port (0 "
            "picks a free one)"
        ) from error


def main() -> None:
    """Serve with the settings of the environment, as `client.start` passes them."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        serve(Settings.resolve())
    except SandboxError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
