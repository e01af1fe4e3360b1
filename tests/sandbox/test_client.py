"""The life of a sandbox: start, find, stop, and that nothing outlives it."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import boto3
import psutil
import pytest
from typer.testing import CliRunner

from nightreel.cli.sandbox import app
from nightreel.sandbox.client import Sandbox, free_network, running_sandbox, start, stop
from nightreel.sandbox.settings import BAKED_IMAGE, SandboxError, Settings

pytestmark = pytest.mark.sandbox


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


SESSION = boto3.Session("x", "x", region_name="us-east-1")


def launch_on(sandbox: Sandbox, eventually) -> tuple[str, int]:
    """Start an instance; its address and the SSH port."""
    ec2 = SESSION.client("ec2", endpoint_url=sandbox.endpoint)
    answer = ec2.run_instances(ImageId=BAKED_IMAGE, InstanceType="m7i.large", MinCount=1, MaxCount=1)
    eventually(lambda: sandbox.instances()[0]["state"] == "running")
    return answer["Instances"][0]["PrivateIpAddress"], sandbox.record.ssh_port


def is_open(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def leftovers(state: Path) -> list[psutil.Process]:
    """Processes that belong to the sandbox of this state directory."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        ours = any(str(state) in argument for argument in process.info["cmdline"] or ())
        if ours and process.pid != os.getpid() and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def test_command_line_up_env_status_down(tmp_path: Path, eventually) -> None:
    where = ("--state", str(tmp_path))
    code, said = invoke("up", "--detach", *where, "--network", free_network(), "--port", "0", "--ssh-port", "0")
    assert (code, "Sandbox at http://127." in said) == (0, True)
    assert (invoke("up", "--detach", *where)[0], "already" in invoke("up", "--detach", *where)[1]) == (0, True)

    sandbox = Sandbox.find(tmp_path)
    assert sandbox
    address = launch_on(sandbox, eventually)
    exports = dict(line.removeprefix("export ").split("=", 1) for line in invoke("env", *where)[1].splitlines())
    assert exports == sandbox.environment
    shown = json.loads(invoke("status", "--json", *where)[1])
    assert (shown["endpoint"], shown["pid"], len(shown["instances"])) == (sandbox.endpoint, sandbox.record.pid, 1)
    assert shown["instances"][0]["id"] in invoke("status", *where)[1]

    assert invoke("down", *where)[0] == 0
    assert (is_open(*address), leftovers(tmp_path)) == (False, [])
    assert invoke("status", *where)[0] == 1
    assert invoke("down", *where) == (0, f"No sandbox runs in {tmp_path}.\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_everything_dies_with_the_sandbox(tmp_path: Path, eventually, number) -> None:
    with running_sandbox(tmp_path) as sandbox:
        address = launch_on(sandbox, eventually)
        assert is_open(*address)
        assert len(leftovers(tmp_path)) >= 2
        os.kill(sandbox.record.pid, number)
        eventually(lambda: Sandbox.find(tmp_path) is None and not leftovers(tmp_path))
        assert not is_open(*address)


def test_foreground_ends_on_interrupt(tmp_path: Path, eventually) -> None:
    script = "from nightreel.cli.sandbox import app; app()"
    options = ["--state", str(tmp_path), "--network", free_network(), "--port", "0", "--ssh-port", "0"]
    with subprocess.Popen([sys.executable, "-c", script, "up", *options], stdout=subprocess.PIPE) as process:
        sandbox = eventually(lambda: Sandbox.find(tmp_path))
        launch_on(sandbox, eventually)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert leftovers(tmp_path) == []


def test_two_sandboxes_at_once_know_nothing_of_each_other(tmp_path: Path, live_sandbox: Sandbox, eventually) -> None:
    with running_sandbox(tmp_path) as other:
        address, _ = launch_on(other, eventually)
        assert other.record.network != live_sandbox.record.network
        assert address not in {entry["address"] for entry in live_sandbox.instances()}


def test_start_says_when_the_network_is_taken(tmp_path: Path, live_sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match=r"another sandbox uses the network .* --network"):
        start(Settings.resolve(state=tmp_path, network=live_sandbox.record.network, port=0, ssh_port=0))


@pytest.mark.parametrize(("taken", "option"), [("port", "--port"), ("ssh_port", "--ssh-port")])
def test_start_says_when_a_port_is_taken(tmp_path: Path, taken: str, option: str) -> None:
    network = free_network()
    with socket.create_server((network.replace("0.0/16", "0.2"), 0)) as blocker:
        ports = {"port": 0, "ssh_port": 0} | {taken: blocker.getsockname()[1]}
        with pytest.raises(SandboxError, match=rf"in use.*{option}"):
            start(Settings.resolve(state=tmp_path, network=network, **ports))


def test_foreground_says_when_one_runs_already(live_sandbox: Sandbox) -> None:
    code, said = invoke("up", "--state", str(live_sandbox.state), "--network", free_network())
    assert (code, "already" in said) == (1, True)


def test_start_says_what_macos_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxError, match="needs Linux"):
        start(Settings.resolve(state=tmp_path))


def test_stop_spares_a_process_that_has_the_number_by_now(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as innocent:
        record = {"pid": innocent.pid, "started": 1.0, "endpoint": "", "network": "", "ssh_port": 1, "isolation": ""}
        (tmp_path / "sandbox.json").write_text(json.dumps(record))
        assert stop(tmp_path) is False
        assert innocent.poll() is None
        innocent.kill()
