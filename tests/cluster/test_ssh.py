import subprocess
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import paramiko
import pytest

from nightreel.cluster import ssh
from nightreel.cluster.errors import ClusterError, HostKeyError
from nightreel.cluster.keys import KeyRing
from nightreel.sandbox.client import Sandbox
from nightreel.sandbox.faults import Fault

pytestmark = pytest.mark.sandbox


@pytest.fixture
def connection(launch: Callable[..., Any], connect: ssh.Connect) -> Any:
    with connect(launch(workers=1).master) as opened:
        yield opened


def test_a_host_with_another_key_is_refused(launch: Callable[..., Any], sandbox: Sandbox, connect: ssh.Connect) -> None:
    sandbox.inject(Fault(kind="host-key"))
    with pytest.raises(HostKeyError, match="another machine may be answering"):
        ssh.await_connection(connect, launch(workers=1).master, timeout=20)


def test_a_login_with_another_key_is_refused(launch: Callable[..., Any], sandbox: Sandbox, keys: KeyRing) -> None:
    master = launch(workers=1).master
    stranger = KeyRing(b"another secret altogether", "films")
    with pytest.raises(paramiko.AuthenticationException):
        ssh.open_client(
            host=master.address,
            port=sandbox.record.ssh_port,
            user="ec2-user",
            client_key=ssh.load_key(stranger.client().private),
            host_key=ssh.load_host_key(keys.host("master").public),
        )


def test_a_host_that_never_answers_is_given_up(
    launch: Callable[..., Any], sandbox: Sandbox, connect: ssh.Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "CONNECT_TIMEOUT", 1.0)
    master = launch(workers=1).master
    sandbox.crash(master.instance_id)
    with pytest.raises(ClusterError, match="did not let us in by SSH"):
        ssh.await_connection(connect, master, timeout=1)


def test_run_gives_output_and_exit_code(connection: ssh.Connection) -> None:
    result = connection.run("echo out; echo err >&2; exit 3", check=False)
    assert (result.exit_code, sorted(result.output.split())) == (3, ["err", "out"])


def test_run_checked_says_what_failed(connection: ssh.Connection) -> None:
    with pytest.raises(ClusterError, match=r"exit code 4:\nwhy"):
        connection.run("echo why; exit 4")


def test_run_of_a_silent_command_ends_in_time(connection: ssh.Connection) -> None:
    with pytest.raises(ClusterError, match="lost while running"):
        connection.run("sleep 60", timeout=0.5)


def test_files_come_back_as_they_went(connection: ssh.Connection, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 5000)
    connection.upload(source, PurePosixPath("there"))
    connection.download(PurePosixPath("there"), tmp_path / "deep" / "back")
    assert (tmp_path / "deep" / "back").read_bytes() == source.read_bytes()


def test_a_missing_file_is_said_to_be_missing(connection: ssh.Connection, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="fetching nowhere"):
        connection.download(PurePosixPath("nowhere"), tmp_path / "back")


def test_read_from_an_offset(connection: ssh.Connection) -> None:
    connection.upload(b"0123456789", PurePosixPath("digits"))
    assert connection.read_from(PurePosixPath("digits"), 7) == b"789"


def test_on_all_raises_the_first_failure_and_notes_the_others(launch: Callable[..., Any]) -> None:
    def fail(node: Any) -> None:
        raise ClusterError(f"{node.role} failed")

    with pytest.raises(ClusterError, match="master failed") as caught:
        ssh.on_all(launch(workers=1).nodes, fail)
    assert caught.value.__notes__ == ["also: worker failed"]


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_an_identity_may_be_a_key_of_any_type(tmp_path: Path, kind: str) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", tmp_path / "id"], check=True)
    assert kind in ssh.load_identity(tmp_path / "id").get_name()


def test_an_identity_with_a_passphrase_is_refused(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret words", "-f", tmp_path / "id"], check=True)
    with pytest.raises(ValueError, match="protected by a passphrase"):
        ssh.load_identity(tmp_path / "id")


def test_an_identity_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("no key\n")
    with pytest.raises(ValueError, match="no private key that can be used"):
        ssh.load_identity(tmp_path / "id")
    with pytest.raises(ValueError, match="there is no private key at"):
        ssh.load_identity(tmp_path / "none")
