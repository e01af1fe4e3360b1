"""A host over SSH: commands, terminals, files, forwarding, keys; and its end where there are no pid namespaces."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import asdict
from io import BytesIO, StringIO
from pathlib import Path

import asyncssh
import paramiko
import psutil
import pytest

from nightreel.sandbox import init
from nightreel.sandbox.init import HostSpec
from nightreel.sandbox.kinds import missing_for

pytestmark = pytest.mark.sandbox
MEGABYTES = os.urandom(8 << 20)


@pytest.mark.parametrize("code", [0, 3, 255])
def test_exec_gives_the_exit_code(machine, run, code) -> None:
    assert run(machine[1], f"exit {code}") == (code, "", "")


def test_exec_keeps_output_and_errors_apart(machine, run) -> None:
    assert run(machine[1], "echo out; echo err >&2") == (0, "out\n", "err\n")


def test_exec_ended_by_a_signal_has_no_exit_code(machine, run) -> None:
    assert run(machine[1], "kill -9 $$")[0] == -1


def test_exec_passes_input_whole_under_back_pressure(machine, run) -> None:
    command = "sleep 0.3; sha256sum"
    assert run(machine[1], command, MEGABYTES)[1].split()[0] == hashlib.sha256(MEGABYTES).hexdigest()


def test_exec_passes_output_whole_under_back_pressure(machine) -> None:
    _, client = machine
    _, stdout, _ = client.exec_command("head -c 20000000 /dev/zero", bufsize=1 << 16)
    assert len(stdout.read()) == 20_000_000


def test_exec_waits_for_a_client_that_does_not_read(machine, run, eventually) -> None:
    _, client = machine
    _, stdout, _ = client.exec_command("head -c 4000000 /dev/zero; touch done")
    eventually(lambda: len(stdout.channel.in_buffer) > 2_000_000)  # the client's window is full
    assert run(client, "test -e done")[0] == 1
    assert len(stdout.read()) == 4_000_000
    assert run(client, "test -e done")[0] == 0


def test_exec_many_at_once_over_one_connection(machine, run) -> None:
    _, client = machine
    channels = [client.exec_command(f"sleep 0.2; echo {number}")[1] for number in range(8)]
    assert [channel.read().decode().strip() for channel in channels] == [str(number) for number in range(8)]


def test_exec_of_a_detached_child_returns_and_the_child_stays(machine, run, connect) -> None:
    instance, client = machine
    assert run(client, "setsid nohup sleep 1000 >log 2>&1 </dev/null & echo $! > pid")[0] == 0
    client.close()
    assert run(connect(instance["PrivateIpAddress"]), "kill -0 $(cat pid)")[0] == 0


def test_exec_whose_client_is_gone_notices_when_it_writes(machine, run, connect, eventually) -> None:
    instance, client = machine
    client.exec_command("echo $$ > pid; while sleep 0.05; do echo still here; done")
    other = connect(instance["PrivateIpAddress"])
    eventually(lambda: run(other, "test -s pid")[0] == 0)
    client.close()
    eventually(lambda: run(other, "kill -0 $(cat pid)")[0] != 0)


def test_shell_has_a_terminal(machine) -> None:
    channel = machine[1].invoke_shell(width=99, height=33)
    channel.settimeout(20)
    channel.send(b"tty; stty size; exit 7\n")
    output = b"".join(iter(lambda: channel.recv(4096), b""))
    assert b"/dev/pts/" in output
    assert b"33 99" in output
    assert channel.recv_exit_status() == 7


def test_shell_is_hung_up_with_its_connection(machine, run, connect, eventually) -> None:
    instance, client = machine
    client.invoke_shell().send(b"echo $$ > pid; sleep 1000\n")
    other = connect(instance["PrivateIpAddress"])
    eventually(lambda: run(other, "test -s pid")[0] == 0)
    client.close()
    eventually(lambda: run(other, "kill -0 $(cat pid)")[0] != 0)


def test_sftp_there_and_back(machine, run) -> None:
    _, client = machine
    with client.open_sftp() as sftp:
        sftp.putfo(BytesIO(MEGABYTES), "file.bin")
        back = BytesIO()
        sftp.getfo("file.bin", back)
    assert back.getvalue() == MEGABYTES
    assert run(client, "stat -c %s ~/file.bin")[1] == f"{len(MEGABYTES)}\n"


@pytest.mark.skipif(not shutil.which("scp"), reason="no OpenSSH client on this machine")
def test_scp_of_openssh_succeeds(machine, run, keys, live_sandbox, tmp_path: Path) -> None:
    instance, client = machine
    login, known = tmp_path / "login", tmp_path / "known_hosts"
    login.touch(mode=0o600)
    login.write_bytes(keys.login.export_private_key())
    host, port = instance["PrivateIpAddress"], live_sandbox.record.ssh_port
    known.write_text(f"[{host}]:{port} {keys.host.export_public_key().decode()}")
    (tmp_path / "note").write_text("hello")
    options = ["-i", str(login), "-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes", "-F", "none"]
    copy = ["scp", "-P", str(port), *options, str(tmp_path / "note"), f"ec2-user@{host}:note"]
    assert subprocess.run(copy, capture_output=True, check=False, text=True).returncode == 0
    assert run(client, "cat note")[1] == "hello"


def test_forwarding_reaches_a_port_of_the_host(machine) -> None:
    instance, client = machine
    with socket.create_server((instance["PrivateIpAddress"], 0)) as listener:
        target = listener.getsockname()
        channel = client.get_transport().open_channel("direct-tcpip", target, ("127.0.0.1", 0), timeout=5)
        accepted, _ = listener.accept()
        with accepted:
            channel.sendall(b"through")
            assert accepted.recv(7) == b"through"


def test_login_needs_an_authorised_key(machine, connect) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    key = paramiko.Ed25519Key.from_private_key(StringIO(stranger))
    with pytest.raises(paramiko.AuthenticationException):
        connect(machine[0]["PrivateIpAddress"], pkey=key)


def test_login_as_another_user_is_refused(machine, connect) -> None:
    with pytest.raises(paramiko.AuthenticationException):
        connect(machine[0]["PrivateIpAddress"], username="ubuntu")


def test_login_follows_the_authorised_keys_file(machine, run, connect) -> None:
    instance, client = machine
    run(client, "mv .ssh/authorized_keys .ssh/away")
    with pytest.raises(paramiko.AuthenticationException):
        connect(instance["PrivateIpAddress"])


# ---- without a pid namespace


AS_NOBODY_SPECIAL = ("unshare", "-U", "--map-user=1500", "--map-group=1500")


@pytest.fixture(params=[("ssh_host", ()), ("sshd_host", ()), ("sshd_host", AS_NOBODY_SPECIAL)], ids=str)
def lone_host(request: pytest.FixtureRequest, tmp_path: Path, keys):
    """A host as it runs where pid namespaces are not permitted: by itself, with its supervisor's pipe."""
    module, wrapper = request.param
    if module == "sshd_host" and (missing := missing_for("sshd")):
        pytest.skip(missing)
    if wrapper and subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("user namespaces are not permitted here")
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    (tmp_path / "home" / ".ssh" / "authorized_keys").write_text(keys.public)
    (tmp_path / "host_key").touch(mode=0o600)
    (tmp_path / "host_key").write_bytes(keys.host.export_private_key())
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    spec = HostSpec(
        instance="i-1", address="127.0.0.1", port=port, login="ec2-user", home=str(tmp_path / "home"),
        host_keys=[str(tmp_path / "host_key")], pid_file=str(tmp_path / "pid"), environment={"PATH": os.defpath},
    )  # fmt: skip
    (tmp_path / "host.json").write_text(json.dumps(asdict(spec)))
    command = [*wrapper, sys.executable, "-m", f"nightreel.sandbox.{module}", str(tmp_path / "host.json")]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield spec, process
        process.stdin.close()  # the word to end; a killed init would leave its children behind
        process.wait(10)


@pytest.fixture
def orphan(lone_host, connect, run, eventually) -> psutil.Process:
    """A process on the lone host that has left its session and its parents."""
    spec, _ = lone_host

    def greets() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((spec.address, spec.port)) == 0

    eventually(greets)
    client = connect(spec.address, port=spec.port)
    run(client, "(setsid sh -c 'echo $$ > pid; exec sleep 1000' >/dev/null 2>&1 </dev/null &)")
    return psutil.Process(int(eventually(lambda: run(client, "cat pid")[1])))


def test_end_of_the_supervisor_ends_orphans(lone_host, orphan: psutil.Process) -> None:
    _, process = lone_host
    process.stdin.close()
    assert process.wait(10) == 0
    assert not orphan.is_running()


def test_end_by_sigterm_is_a_power_off(lone_host, orphan: psutil.Process) -> None:
    _, process = lone_host
    process.terminate()
    assert process.wait(10) == init.POWERED_OFF
    assert not orphan.is_running()


def test_end_on_the_word_to_crash(lone_host, orphan: psutil.Process) -> None:
    _, process = lone_host
    process.stdin.write(init.CRASH)
    process.stdin.flush()
    assert process.wait(10) == init.CRASHED
    assert not orphan.is_running()


def test_end_of_the_ssh_server_is_a_crash(lone_host, orphan: psutil.Process) -> None:
    _, process = lone_host
    server = next(child for child in psutil.Process(process.pid).children() if child.pid != orphan.pid)
    server.kill()
    assert process.wait(10) == init.CRASHED
    assert not orphan.is_running()


def test_drop_leaves_the_servers_of_others_alone(lone_host, orphan: psutil.Process, connect, eventually) -> None:
    spec, process = lone_host
    session = connect(spec.address, port=spec.port)
    process.stdin.write(init.DROP)
    process.stdin.flush()
    eventually(lambda: not session.get_transport().is_active())
    connect(spec.address, port=spec.port)
    assert orphan.is_running()
