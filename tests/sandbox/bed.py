"""A sandbox with one kind of host, and what the tests of the kinds ask of it over and over."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import paramiko
from paramiko.ssh_exception import NoValidConnectionsError

from nightreel.sandbox.client import Sandbox
from nightreel.sandbox.settings import BAKED_IMAGE


def eventually(condition: Callable[[], Any], timeout: float = 60.0) -> Any:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("the condition did not come true in time")


@dataclass
class Bed:
    """A sandbox with one kind of host, and what the tests ask of it."""

    sandbox: Sandbox
    ec2: Any
    keys: Any
    clients: list[paramiko.SSHClient] = field(default_factory=list)

    @property
    def hosts(self) -> str:
        return self.sandbox.record.hosts

    def launch(self, count: int = 1, **options: Any) -> list[dict[str, Any]]:
        """Instances that terminate when they power off, and that answer SSH."""
        request: dict[str, Any] = {
            "ImageId": BAKED_IMAGE, "InstanceType": "m7i.large", "MinCount": count, "MaxCount": count,
            "InstanceInitiatedShutdownBehavior": "terminate", "UserData": self.keys.user_data(),
        }  # fmt: skip
        launched = self.ec2.run_instances(**request | options)["Instances"]
        return [self.await_state(instance["InstanceId"], "running") for instance in launched]

    def describe(self, instance_id: str) -> dict[str, Any]:
        instance: dict[str, Any] = self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0][
            "Instances"
        ][0]
        return instance

    def await_state(self, instance_id: str, state: str) -> dict[str, Any]:
        eventually(lambda: self.describe(instance_id)["State"]["Name"] == state)
        return self.describe(instance_id)

    def connect(self, instance: dict[str, Any]) -> paramiko.SSHClient:
        """Connect, and accept no other ed25519 key than that of the user data."""
        client = paramiko.SSHClient()
        self.clients.append(client)
        port = self.sandbox.record.ssh_port
        name = instance["PrivateIpAddress"] if port == 22 else f"[{instance['PrivateIpAddress']}]:{port}"
        client.get_host_keys().add(name, "ssh-ed25519", self.keys.paramiko_host)

        def connected() -> bool:
            with suppress(NoValidConnectionsError):  # a network that has just been plugged in may need a moment
                client.connect(
                    instance["PrivateIpAddress"], port=port, username="ec2-user", pkey=self.keys.paramiko_login,
                    timeout=20, banner_timeout=20, allow_agent=False, look_for_keys=False,
                )  # fmt: skip
                return True
            return False

        eventually(connected, timeout=10)
        return client

    def run(self, client: paramiko.SSHClient, command: str) -> tuple[int, str]:
        """The exit code, and standard output and error together."""
        _, stdout, stderr = client.exec_command(f"{{ {command}\n}} 2>&1", timeout=60)
        output = stdout.read().decode() + stderr.read().decode()
        return stdout.channel.recv_exit_status(), output

    def terminate(self, *instances: dict[str, Any]) -> None:
        self.ec2.terminate_instances(InstanceIds=[instance["InstanceId"] for instance in instances])
