"""From instance states to SSH hosts and back."""

import contextlib
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import paramiko
import psutil
import pytest
from botocore.exceptions import ClientError

from nightreel.sandbox.client import Sandbox
from nightreel.sandbox.faults import Fault
from nightreel.sandbox.settings import PLAIN_IMAGE

pytestmark = pytest.mark.sandbox


def processes_of(home: str) -> list[psutil.Process]:
    """Every process of this machine that works in the home directory of an instance, or below it."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def home_of(sandbox: Sandbox, instance: dict) -> str:
    return next(entry["home"] for entry in sandbox.instances() if entry["id"] == instance["InstanceId"])


def soon(seconds: float) -> datetime:
    """At least so many seconds from now; timers know whole seconds."""
    return (datetime.now(UTC) + timedelta(seconds=seconds + 1)).replace(microsecond=0)


# ---- honest states


def test_state_is_pending_until_ssh_answers(launch, await_state, connect, keys) -> None:
    instance = launch(UserData=keys.user_data())[0]
    assert instance["State"]["Name"] == "pending"
    await_state(instance["InstanceId"], "running")
    connect(instance["PrivateIpAddress"])


def test_state_after_start_is_pending_again(ec2, machine, describe) -> None:
    instance, _ = machine
    ec2.stop_instances(InstanceIds=[instance["InstanceId"]])
    stopped = describe(instance["InstanceId"])["State"]["Name"]
    ec2.start_instances(InstanceIds=[instance["InstanceId"]])
    assert (stopped, describe(instance["InstanceId"])["State"]["Name"]) == ("stopped", "pending")


def test_stop_and_start_keeps_home_id_and_address(ec2, machine, await_state, connect, run) -> None:
    before, client = machine
    run(client, "echo kept > note")
    ec2.stop_instances(InstanceIds=[before["InstanceId"]])
    ec2.start_instances(InstanceIds=[before["InstanceId"]])
    after = await_state(before["InstanceId"], "running")
    assert after["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert run(connect(after["PrivateIpAddress"]), "cat note")[1] == "kept\n"


def test_terminate_wipes_home_and_ends_every_process(sandbox, ec2, machine, run) -> None:
    instance, client = machine
    home = home_of(sandbox, instance)
    run(client, "setsid nohup sleep 1000 >/dev/null 2>&1 </dev/null & (sleep 1000 >/dev/null 2>&1 &)")
    assert len(processes_of(home)) >= 3
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    assert processes_of(home) == []
    assert not Path(home).exists()


def test_stop_ends_every_process(sandbox, ec2, machine, run) -> None:
    instance, client = machine
    run(client, "setsid nohup sleep 1000 >/dev/null 2>&1 </dev/null &")
    ec2.stop_instances(InstanceIds=[instance["InstanceId"]])
    assert processes_of(home_of(sandbox, instance)) == []


def test_address_of_the_dead_can_be_used_again(ec2, launch, await_state, connect, keys) -> None:
    first = launch(PrivateIpAddress=f"{launch()[0]['PrivateIpAddress'].rpartition('.')[0]}.200")[0]
    await_state(first["InstanceId"], "running")
    ec2.terminate_instances(InstanceIds=[first["InstanceId"]])
    second = launch(PrivateIpAddress=first["PrivateIpAddress"], UserData=keys.user_data())[0]
    await_state(second["InstanceId"], "running")
    connect(second["PrivateIpAddress"])


def test_subnet_without_addresses_of_this_machine_ends_the_launch(ec2, launch, await_state) -> None:
    vpc = ec2.create_vpc(CidrBlock="10.99.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.99.0.0/24")["Subnet"]["SubnetId"]
    instance = await_state(launch(SubnetId=subnet)[0]["InstanceId"], "terminated")
    assert instance["StateReason"]["Code"] == "Server.InternalError"
    assert "10.99.0.4" in ec2.get_console_output(InstanceId=instance["InstanceId"])["Output"]


# ---- hosts that end by themselves


@pytest.mark.parametrize("command", ["poweroff", "sudo -n systemctl poweroff", "sudo shutdown -h now"])
def test_power_off_from_within(launch, await_state, connect, keys, command) -> None:
    instance = launch(UserData=keys.user_data(), InstanceInitiatedShutdownBehavior="terminate")[0]
    await_state(instance["InstanceId"], "running")
    connect(instance["PrivateIpAddress"]).exec_command(command)
    after = await_state(instance["InstanceId"], "terminated")
    assert after["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_power_off_stops_by_default(machine, await_state) -> None:
    instance, client = machine
    client.exec_command("poweroff")
    assert await_state(instance["InstanceId"], "stopped")["PrivateIpAddress"] == instance["PrivateIpAddress"]


@pytest.mark.parametrize(("behaviour", "state"), [("terminate", "terminated"), ("stop", "stopped")])
def test_crash_ends_the_instance(sandbox, launch, await_state, behaviour, state) -> None:
    instance = launch(InstanceInitiatedShutdownBehavior=behaviour)[0]["InstanceId"]
    await_state(instance, "running")
    sandbox.crash(instance)
    assert await_state(instance, state)["StateReason"]["Code"] == "Server.InternalError"


def test_crash_takes_volumes_and_interfaces_along(sandbox, ec2, launch, await_state) -> None:
    instance = launch(InstanceInitiatedShutdownBehavior="terminate")[0]["InstanceId"]
    await_state(instance, "running")
    sandbox.crash(instance)
    await_state(instance, "terminated")
    attached = [{"Name": "attachment.instance-id", "Values": [instance]}]
    assert ec2.describe_volumes(Filters=attached)["Volumes"] == []
    assert ec2.describe_network_interfaces(Filters=attached)["NetworkInterfaces"] == []


def test_timer_powers_off_and_everything_dies(sandbox, launch, await_state, connect, keys) -> None:
    data = keys.user_data(power_off=soon(10))  # a boot on a busy machine takes seconds
    instance = launch(UserData=data, InstanceInitiatedShutdownBehavior="terminate")[0]
    await_state(instance["InstanceId"], "running")
    home = home_of(sandbox, instance)
    connect(instance["PrivateIpAddress"]).exec_command("setsid nohup sleep 1000 >/dev/null 2>&1 </dev/null &")
    after = await_state(instance["InstanceId"], "terminated")
    assert after["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    assert processes_of(home) == []


def test_timer_missed_while_stopped_is_caught_up_with(ec2, launch, await_state, eventually, keys) -> None:
    instance, moment = stopped_before_its_timer(ec2, launch, await_state, keys)
    eventually(lambda: datetime.now(UTC) > moment, timeout=60)
    ec2.start_instances(InstanceIds=[instance])
    assert await_state(instance, "terminated")["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def stopped_before_its_timer(ec2, launch, await_state, keys) -> tuple[str, datetime]:
    """An instance that was stopped before the moment of its timer, however busy the machine is, and that moment."""
    for seconds in (4, 12, 36):
        moment = soon(seconds)
        data = keys.user_data(power_off=moment)
        instance = launch(UserData=data, InstanceInitiatedShutdownBehavior="terminate")[0]["InstanceId"]
        with contextlib.suppress(ClientError):  # too late: it has powered itself off and is gone
            ec2.stop_instances(InstanceIds=[instance])
        if datetime.now(UTC) < moment and await_state(instance, "stopped"):
            return instance, moment
    raise AssertionError("no instance could be launched and stopped within 36 seconds")


def test_timer_of_the_past_never_elapses_at_first_boot(ec2, launch, await_state, keys) -> None:
    instance = launch(UserData=keys.user_data(power_off=datetime(2020, 1, 1, tzinfo=UTC)))[0]["InstanceId"]
    await_state(instance, "running")
    assert "elapses" not in ec2.get_console_output(InstanceId=instance)["Output"]


# ---- what is on a host


def test_baked_image_has_spark_and_a_python_for_it(machine, run) -> None:
    _, client = machine
    assert run(client, "ls -d ~/spark/bin/spark-class ~/spark/bin/spark-submit")[0] == 0
    assert run(client, '~/spark-python -c "import numpy, pyarrow, pyspark"') == (0, "", "")


def test_plain_image_has_neither(launch, await_state, connect, run, keys) -> None:
    instance = launch(ImageId=PLAIN_IMAGE, UserData=keys.user_data())[0]
    await_state(instance["InstanceId"], "running")
    assert run(connect(instance["PrivateIpAddress"]), "ls")[1] == ""


def test_homes_are_apart(launch, await_state, connect, run, keys) -> None:
    instances = launch(2, UserData=keys.user_data())
    places = set()
    for instance in instances:
        await_state(instance["InstanceId"], "running")
        places.add(run(connect(instance["PrivateIpAddress"]), "echo $HOME $PWD $TMPDIR")[1])
    assert len(places) == 2
    assert all(place.split()[0] == place.split()[1] for place in places)


def test_environment_of_the_sandbox_stays_outside(machine, run) -> None:
    names = {line.partition("=")[0] for line in run(machine[1], "env")[1].splitlines()}
    assert names <= {"HOME", "USER", "LOGNAME", "SHELL", "LANG", "TMPDIR", "PATH", "PWD", "OLDPWD", "SHLVL", "_"}


def test_processes_of_other_hosts_are_out_of_sight(sandbox, machine, run) -> None:
    if "namespace of its own" not in sandbox.record.isolation:
        pytest.skip(sandbox.record.isolation)
    _, client = machine
    assert run(client, "cat /proc/1/cmdline")[1].split("\0")[-3].endswith("ssh_host")


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("sudo echo hello", "hello\n"),
        ("sudo -n -E FOO=bar sh -c 'echo $FOO'", "bar\n"),
        ("sudo -u root -- echo hello", "hello\n"),
        ("shutdown -c 2>/dev/null || echo refused", "refused\n"),
        ("systemctl daemon-reload 2>/dev/null || echo refused", "refused\n"),
    ],
)
def test_stand_ins(machine, run, command, output) -> None:
    assert run(machine[1], command)[:2] == (0, output)


# ---- keys


def test_key_pair_opens_the_login(ec2, launch, await_state, live_sandbox, keys) -> None:
    ec2.import_key_pair(KeyName="login", PublicKeyMaterial=keys.public.encode())
    instance = launch(KeyName="login")[0]
    await_state(instance["InstanceId"], "running")
    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        port = live_sandbox.record.ssh_port
        client.connect(instance["PrivateIpAddress"], port=port, username="ec2-user", pkey=keys.paramiko_login)
    ec2.delete_key_pair(KeyName="login")


def test_host_key_without_user_data_is_new_on_every_instance(ec2, launch, await_state, live_sandbox) -> None:
    found = set()
    for instance in launch(2):
        await_state(instance["InstanceId"], "running")
        scan = ["ssh-keyscan", "-p", str(live_sandbox.record.ssh_port), instance["PrivateIpAddress"]]
        found.add(subprocess.run(scan, capture_output=True, check=True, text=True).stdout.split()[-1])
    assert len(found) == 2


# ---- faulty hosts


def test_fault_mute_host_runs_and_never_answers(sandbox, launch, await_state, connect, keys) -> None:
    sandbox.inject(Fault(kind="mute", after=1))
    sound, mute = launch(2, UserData=keys.user_data())
    for instance in (sound, mute):
        await_state(instance["InstanceId"], "running")
    connect(sound["PrivateIpAddress"])
    with pytest.raises(paramiko.SSHException, match="banner"):
        connect(mute["PrivateIpAddress"], banner_timeout=0.5)


def test_fault_host_key_is_another_one(sandbox, launch, await_state, connect, keys) -> None:
    sandbox.inject(Fault(kind="host-key", tags={"role": "worker"}))
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "role", "Value": "worker"}]}]
    sound = launch(UserData=keys.user_data())[0]
    other = launch(UserData=keys.user_data(), TagSpecifications=tags)[0]
    for instance in (sound, other):
        await_state(instance["InstanceId"], "running")
    connect(sound["PrivateIpAddress"])
    with pytest.raises(paramiko.BadHostKeyException):
        connect(other["PrivateIpAddress"])
