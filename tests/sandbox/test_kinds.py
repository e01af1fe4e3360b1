"""What every kind of host must do, asked of all kinds that this machine can give, and what sets `machines` apart."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import paramiko
import psutil
import pytest

from nightreel.sandbox.bridge import in_use, name_of
from nightreel.sandbox.client import free_network, running_sandbox, start, stop
from nightreel.sandbox.faults import Fault
from nightreel.sandbox.kinds import missing_for
from nightreel.sandbox.settings import BAKED_IMAGE, KINDS_OF_HOST, PLAIN_IMAGE, SandboxError, Settings
from tests.sandbox.bed import Bed, eventually

pytestmark = pytest.mark.sandbox

CHECKOUT = Path(__file__).resolve().parents[2]
TICKS = '"${TMPDIR:-/tmp}/ticks"'
"""Where the timer of the tests writes, as hosts of all kinds understand it."""


@pytest.fixture(scope="module", params=KINDS_OF_HOST)
def bed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, keys: Any) -> Iterator[Bed]:
    if missing := missing_for(request.param):
        pytest.skip(missing)
    with running_sandbox(tmp_path_factory.mktemp(request.param), hosts=request.param) as sandbox:
        options = {name.lower(): value for name, value in sandbox.environment.items()}
        ec2 = boto3.client(
            "ec2", endpoint_url=sandbox.endpoint, region_name=options["aws_default_region"],
            aws_access_key_id="sandbox", aws_secret_access_key="sandbox",
        )  # fmt: skip
        yield Bed(sandbox, ec2, keys)


@pytest.fixture(autouse=True)
def _close(bed: Bed) -> Iterator[None]:
    yield
    bed.sandbox.clear_faults()
    while bed.clients:
        bed.clients.pop().close()


@pytest.fixture(scope="module")
def pair(bed: Bed, keys: Any) -> Iterator[list[dict[str, Any]]]:
    """Two instances for every test that leaves them as they are; a timer ticks on them."""
    tick = [
        "systemd-run",
        "--on-active=1s",
        "--on-unit-active=1s",
        "/bin/sh",
        "-c",
        f"echo tick >>{TICKS}".replace("$", "$$"),
    ]
    own_key = ["ssh-keygen -A", "systemctl restart sshd || systemctl restart ssh"]
    instances = bed.launch(2, UserData=keys.user_data(bootcmd=[tick], runcmd=own_key))
    yield instances
    bed.terminate(*instances)


@pytest.fixture
def client(bed: Bed, pair: list[dict[str, Any]]) -> paramiko.SSHClient:
    return bed.connect(pair[0])


@pytest.fixture
def machines(bed: Bed) -> Bed:
    if bed.hosts != "machines":
        pytest.skip("of hosts in namespaces alone")
    return bed


# ---- what every kind of host does


def test_login_is_the_image_s_with_a_home_of_its_own(bed, client) -> None:
    assert bed.run(client, 'echo $USER $(test "$HOME" = "$PWD" && echo home)') == (0, "ec2-user home\n")


def test_exit_code_comes_back(bed, client) -> None:
    assert bed.run(client, "exit 7")[0] == 7


def test_other_key_is_refused(bed, pair) -> None:
    with paramiko.SSHClient() as stranger:
        stranger.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        with pytest.raises(paramiko.SSHException):
            stranger.connect(
                pair[0]["PrivateIpAddress"], port=bed.sandbox.record.ssh_port, username="ec2-user",
                pkey=paramiko.ECDSAKey.generate(), allow_agent=False, look_for_keys=False,
            )  # fmt: skip


def test_sftp_there_and_back(bed, client, tmp_path) -> None:
    data = os.urandom(1 << 20)
    (tmp_path / "there").write_bytes(data)
    with client.open_sftp() as sftp:
        sftp.put(str(tmp_path / "there"), "file")
        sftp.get("file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == data


def test_sudo_asks_for_no_password(bed, client) -> None:
    assert bed.run(client, "sudo -n sh -c 'echo as root'") == (0, "as root\n")


def test_baked_image_has_java_spark_and_its_python(bed, client) -> None:
    code, output = bed.run(
        client, 'java -version && ls ~/spark/bin/spark-class && ~/spark-python -c "import pyspark, numpy, pyarrow"'
    )
    assert (code, "spark-class" in output) == (0, True)


def test_interval_timer_ticks(bed, client) -> None:
    eventually(lambda: bed.run(client, f"cat {TICKS}")[1].count("tick") >= 2)


def test_host_serves_a_key_of_its_own_besides_the_given_one(bed, pair) -> None:
    scan = ["ssh-keyscan", "-p", str(bed.sandbox.record.ssh_port), "-t", "ecdsa", pair[0]["PrivateIpAddress"]]
    eventually(
        lambda: "ecdsa-sha2-nistp256" in subprocess.run(scan, capture_output=True, check=False, text=True).stdout
    )
    bed.connect(pair[0])


def test_console_shows_the_boot(bed, pair) -> None:
    output = bed.ec2.get_console_output(InstanceId=pair[0]["InstanceId"])["Output"]
    assert f"address {pair[0]['PrivateIpAddress']}" in output


def test_drop_cuts_sessions_and_leaves_detached_work_alone(bed, pair) -> None:
    session = bed.connect(pair[1])
    bed.run(session, "setsid nohup sleep 1234 >/dev/null 2>&1 </dev/null &")
    bed.sandbox.drop(pair[1]["InstanceId"])
    eventually(lambda: not session.get_transport().is_active())
    assert bed.run(bed.connect(pair[1]), "pgrep -fx 'sleep 1234'")[0] == 0


def test_stop_and_start_keeps_files_keys_and_address(bed) -> None:
    [before] = bed.launch()
    bed.run(bed.connect(before), "echo kept > note; setsid nohup sleep 1235 >/dev/null 2>&1 </dev/null &")
    bed.ec2.stop_instances(InstanceIds=[before["InstanceId"]])
    bed.ec2.start_instances(InstanceIds=[before["InstanceId"]])
    after = bed.await_state(before["InstanceId"], "running")
    assert bed.run(bed.connect(after), "cat note; pgrep -fx 'sleep 1235'") == (1, "kept\n")
    bed.terminate(after)


def test_power_off_from_within_terminates(bed) -> None:
    [instance] = bed.launch()
    bed.connect(instance).exec_command("sudo systemctl poweroff")
    assert (
        bed.await_state(instance["InstanceId"], "terminated")["StateReason"]["Code"]
        == "Client.InstanceInitiatedShutdown"
    )


def test_timer_at_a_moment_powers_off(bed, keys) -> None:
    moment = (datetime.now(UTC) + timedelta(seconds=4)).replace(microsecond=0)
    request = {"ImageId": BAKED_IMAGE, "InstanceType": "m7i.large", "MinCount": 1, "MaxCount": 1}
    behaviour = {"InstanceInitiatedShutdownBehavior": "terminate", "UserData": keys.user_data(power_off=moment)}
    instance = bed.ec2.run_instances(**request, **behaviour)["Instances"][0]["InstanceId"]
    assert bed.await_state(instance, "terminated")["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    assert datetime.now(UTC) >= moment


def test_crash_ends_the_instance(bed) -> None:
    [instance] = bed.launch()
    bed.sandbox.crash(instance["InstanceId"])
    assert bed.await_state(instance["InstanceId"], "terminated")["StateReason"]["Code"] == "Server.InternalError"


def test_fault_host_key_is_another_one(bed) -> None:
    bed.sandbox.inject(Fault(kind="host-key"))
    [instance] = bed.launch()
    with pytest.raises(paramiko.BadHostKeyException):
        bed.connect(instance)
    bed.terminate(instance)


def test_fault_mute_accepts_and_says_nothing(bed) -> None:
    bed.sandbox.inject(Fault(kind="mute"))
    [instance] = bed.launch()
    with socket.create_connection((instance["PrivateIpAddress"], bed.sandbox.record.ssh_port), timeout=5) as line:
        line.settimeout(0.5)
        with pytest.raises(TimeoutError):
            line.recv(1)
    bed.terminate(instance)


def test_cut_needs_a_cable(bed, pair) -> None:
    if bed.hosts == "machines":
        pytest.skip("these have one")
    with pytest.raises(SandboxError, match="--hosts machines"):
        bed.sandbox.cut(pair[0]["InstanceId"])


# ---- what hosts in namespaces do besides


def test_machine_sees_neither_checkout_nor_environment_nor_sandbox(machines, client) -> None:
    for path in (CHECKOUT, sys.prefix, machines.sandbox.state):
        assert machines.run(client, f"sudo ls '{path}'")[0] != 0


def test_machine_sees_no_other_host(machines, pair, client) -> None:
    other = machines.connect(pair[1])
    machines.run(other, "echo mine > /tmp/mine; echo mine > ~/mine; setsid sleep 1236 >/dev/null 2>&1 </dev/null &")
    _, seen = machines.run(client, "sudo find /home /tmp /root /opt /var /run -name mine; pgrep -fx 'sleep 1236'")
    assert seen == ""


def test_machine_can_not_touch_what_its_image_is_made_of(machines, client) -> None:
    import importlib.util  # noqa: PLC0415 (the file, not the package, is wanted)

    original = Path(str(importlib.util.find_spec("py4j").origin))
    before = original.read_bytes()
    machines.run(client, "echo broken | sudo tee $(~/spark-python -c 'import py4j; print(py4j.__file__)')")
    assert original.read_bytes() == before


def test_machine_reaches_others_by_name(machines, pair, client) -> None:
    name = f"ip-{pair[1]['PrivateIpAddress'].replace('.', '-')}.ec2.internal"
    assert machines.run(client, f"getent hosts {name}")[0] == 0
    assert machines.run(client, f"bash -c 'exec 3<>/dev/tcp/{name}/22; head -c 4 <&3'") == (0, "SSH-")


def test_machine_powers_off_for_root_alone(machines, client) -> None:
    code, output = machines.run(client, "systemctl poweroff")
    assert (code, "use sudo" in output) == (1, True)


def test_machine_s_clock_and_kernel_settings_are_not_its_own(machines, client) -> None:
    assert machines.run(client, "sudo date -s 2020-01-01")[0] != 0
    assert machines.run(client, "sudo sysctl -w vm.swappiness=1 || echo 1 | sudo tee /proc/sys/vm/swappiness")[0] != 0


def test_machine_runs_cloud_init(machines, keys) -> None:
    data = keys.user_data(
        write_files=[{"path": "/etc/nightly", "content": "kept secret", "permissions": "0600"}],
        bootcmd=["echo boot >> /var/boots"],
        runcmd=["echo run >> /var/boots"],
    )
    [instance] = machines.launch(UserData=data)
    assert machines.run(machines.connect(instance), "stat -c '%a %U' /etc/nightly") == (0, "600 root\n")
    ids = [instance["InstanceId"]]
    eventually(lambda: machines.run(machines.connect(instance), "cat /var/boots")[1] == "boot\nrun\n")
    machines.ec2.stop_instances(InstanceIds=ids)
    machines.ec2.start_instances(InstanceIds=ids)
    machines.await_state(ids[0], "running")
    assert machines.run(machines.connect(instance), "cat /var/boots") == (0, "boot\nrun\nboot\n")
    machines.terminate(instance)


def test_machine_keeps_services_and_timers(machines, client) -> None:
    service = r"[Service]\nExecStart=/bin/sh -c 'echo served >>/tmp/served; sleep 1000'\n"
    place = "/etc/systemd/system/films.service"
    machines.run(client, f'printf "{service}" | sudo tee {place} && sudo systemctl daemon-reload')
    assert machines.run(client, "systemctl is-active films") == (3, "inactive\n")
    machines.run(client, "sudo systemctl enable --now films")
    assert machines.run(client, "systemctl is-active films") == (0, "active\n")
    eventually(lambda: machines.run(client, "cat /tmp/served") == (0, "served\n"))
    machines.run(client, "sudo systemctl stop films")
    assert machines.run(client, "systemctl is-active films") == (3, "inactive\n")
    assert machines.run(client, "sudo systemctl start nothing")[0] == 5


def test_machine_of_the_plain_image_is_bare_until_packages_are_installed(machines) -> None:
    [instance] = machines.launch(ImageId=PLAIN_IMAGE)
    client = machines.connect(instance)
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    assert machines.run(client, f"ls; command -v java {python}") == (1, "")
    assert machines.run(client, "sudo dnf install -y no-such-package")[0] == 1
    assert machines.run(client, f"dnf install -y {python}")[0] == 1
    installs = f"sudo dnf install -y java-17-amazon-corretto-headless {python} {python}-pip && java -version && "
    code, output = machines.run(client, f"{installs}{python} -m venv films && films/bin/python -m pip --version")
    assert (code, "pip" in output) == (0, True), output
    machines.terminate(instance)


def test_machine_s_cable_can_be_cut_and_healed(machines, pair) -> None:
    other, address = pair[1], pair[1]["PrivateIpAddress"]
    session = machines.connect(other)
    machines.sandbox.cut(other["InstanceId"])
    with pytest.raises(OSError, match=r"timed out|No route"), socket.create_connection((address, 22), timeout=1):
        pass
    machines.sandbox.heal(other["InstanceId"])
    assert machines.run(session, "echo alive") == (0, "alive\n")


def test_machines_leave_no_cable_behind(machines) -> None:
    [instance] = machines.launch()
    cable = next(name for name in psutil.net_if_addrs() if name.endswith(instance["InstanceId"][-8:]))
    machines.terminate(instance)
    eventually(lambda: cable not in psutil.net_if_addrs())


def test_machines_and_their_bridge_die_with_the_sandbox(machines, tmp_path, keys) -> None:
    settings = Settings.resolve(state=tmp_path, network=free_network("machines"), port=0, ssh_port=0, hosts="machines")
    sandbox = start(settings)
    try:
        ec2 = boto3.client(
            "ec2", endpoint_url=sandbox.endpoint, region_name="us-east-1", aws_access_key_id="sandbox",
            aws_secret_access_key="sandbox",
        )  # fmt: skip
        Bed(sandbox, ec2, keys).launch()
        assert in_use(settings.network)
        os.kill(sandbox.record.pid, signal.SIGKILL)
        eventually(lambda: name_of(settings.network) not in psutil.net_if_addrs())
        assert name_of(settings.network) not in firewall()
        eventually(
            lambda: not any(str(tmp_path) in " ".join(_command_line(process)) for process in psutil.process_iter())
        )
    finally:
        stop(tmp_path)


def firewall() -> str:
    """What the machine's firewall says of traffic that passes through; nothing where there is none."""
    iptables = shutil.which("iptables")
    done = (
        subprocess.run([iptables, "-S", "FORWARD"], capture_output=True, text=True, check=False) if iptables else None
    )
    return done.stdout if done else ""


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
