"""A live sandbox for the tests of this folder, and what they ask of it over and over."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import asyncssh
import boto3
import paramiko
import pytest
import yaml

from nightreel.sandbox.client import Sandbox, running_sandbox
from nightreel.sandbox.settings import BAKED_IMAGE


@pytest.fixture(scope="session")
def live_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def session_ec2(live_sandbox: Sandbox) -> Any:
    """One client for all tests: to make one takes botocore a quarter of a second."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in live_sandbox.environment.items():
            patch.setenv(name, value)
        return boto3.client("ec2", config=boto3.session.Config(retries={"total_max_attempts": 1}))


@pytest.fixture
def sandbox(live_sandbox: Sandbox, session_ec2: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """The live sandbox, with nothing running and nothing going wrong in it."""
    for name, value in live_sandbox.environment.items():
        monkeypatch.setenv(name, value)
    yield live_sandbox
    live_sandbox.clear_faults()
    living = [entry["id"] for entry in live_sandbox.instances() if entry["state"] != "terminated"]
    if living:
        session_ec2.terminate_instances(InstanceIds=living)


@pytest.fixture
def ec2(sandbox: Sandbox, session_ec2: Any) -> Any:
    return session_ec2


@pytest.fixture
def launch(ec2: Any) -> Callable[..., list[dict[str, Any]]]:
    """RunInstances with defaults; returns the instances of the answer."""

    def run(count: int = 1, **options: Any) -> list[dict[str, Any]]:
        request = {"ImageId": BAKED_IMAGE, "InstanceType": "m7i.large", "MinCount": count, "MaxCount": count}
        instances: list[dict[str, Any]] = ec2.run_instances(**request | options)["Instances"]
        return instances

    return run


@pytest.fixture
def describe(ec2: Any) -> Callable[[str], dict[str, Any]]:
    def one(instance_id: str) -> dict[str, Any]:
        instance: dict[str, Any] = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
        return instance

    return one


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Wait for a condition's first true value; its absence within the time fails the test."""

    def wait(condition: Callable[[], Any], timeout: float = 20.0) -> Any:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.05)
        raise AssertionError("the condition did not come true in time")

    return wait


@pytest.fixture
def await_state(describe: Callable[..., Any], eventually: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    def wait(instance_id: str, state: str) -> dict[str, Any]:
        eventually(lambda: describe(instance_id)["State"]["Name"] == state)
        return describe(instance_id)

    return wait


@dataclass(frozen=True)
class Keys:
    """A login key and a host key, as a client of ours would make them for an instance."""

    login: asyncssh.SSHKey
    host: asyncssh.SSHKey

    @property
    def public(self) -> str:
        return self.login.export_public_key().decode().strip()

    def user_data(self, *, power_off: datetime | None = None, **more: Any) -> str:
        config: dict[str, Any] = {
            "ssh_keys": {
                "ed25519_private": self.host.export_private_key().decode(),
                "ed25519_public": self.host.export_public_key().decode(),
            },
            "ssh_authorized_keys": [self.public],
            **more,
        }
        if power_off is not None:
            moment = f"{power_off.astimezone(UTC):%Y-%m-%d %H:%M:%S UTC}"
            config["write_files"] = [
                {
                    "path": "/etc/systemd/system/off.service",
                    "content": "[Service]\nExecStart=/bin/systemctl poweroff\n",
                },
                {
                    "path": "/etc/systemd/system/off.timer",
                    "content": f"[Timer]\nOnCalendar={moment}\nPersistent=true\n",
                },
            ]
            config["runcmd"] = [["systemctl", "enable", "--now", "off.timer"]]
        return "#cloud-config\n" + yaml.safe_dump(config)

    @property
    def paramiko_login(self) -> paramiko.Ed25519Key:
        return paramiko.Ed25519Key.from_private_key(StringIO(self.login.export_private_key().decode()))

    @property
    def paramiko_host(self) -> paramiko.Ed25519Key:
        return paramiko.Ed25519Key.from_private_key(StringIO(self.host.export_private_key().decode()))


@pytest.fixture(scope="session")
def keys() -> Keys:
    return Keys(asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519"))


@pytest.fixture
def connect(live_sandbox: Sandbox, keys: Keys) -> Iterator[Callable[..., paramiko.SSHClient]]:
    """Connect to an instance that was launched with `keys.user_data()`; no other host key is accepted."""
    clients: list[paramiko.SSHClient] = []

    def open_connection(address: str, **options: Any) -> paramiko.SSHClient:
        client = paramiko.SSHClient()
        clients.append(client)
        port = options.pop("port", live_sandbox.record.ssh_port)
        client.get_host_keys().add(f"[{address}]:{port}", "ssh-ed25519", keys.paramiko_host)
        settings = {"username": "ec2-user", "pkey": keys.paramiko_login, "timeout": 5, "banner_timeout": 5, **options}
        client.connect(address, port=port, allow_agent=False, look_for_keys=False, **settings)
        return client

    yield open_connection
    for client in clients:
        client.close()


@pytest.fixture
def machine(
    launch: Callable[..., Any], await_state: Callable[..., Any], connect: Callable[..., Any], keys: Keys
) -> tuple[dict[str, Any], paramiko.SSHClient]:
    """A running instance and a connection to it."""
    instance = launch(UserData=keys.user_data())[0]
    return await_state(instance["InstanceId"], "running"), connect(instance["PrivateIpAddress"])


@pytest.fixture
def run() -> Callable[..., tuple[int, str, str]]:
    """Run a command over a connection: exit code, standard output, standard error."""

    def execute(client: paramiko.SSHClient, command: str, data: bytes = b"") -> tuple[int, str, str]:
        stdin, stdout, stderr = client.exec_command(command, timeout=30)
        stdin.write(data)
        stdin.channel.shutdown_write()
        output, errors = stdout.read().decode(), stderr.read().decode()
        return stdout.channel.recv_exit_status(), output, errors

    return execute
