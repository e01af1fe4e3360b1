"""First contact: the host key from the user data, then the node's own, and from then on that one alone."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nightreel.cluster import ssh
from nightreel.cluster.ec2 import find_nodes
from nightreel.cluster.errors import ClusterError, HostKeyError
from nightreel.cluster.host_keys import adopt_own_key
from nightreel.cluster.keys import KeyRing

pytestmark = pytest.mark.sandbox


@pytest.fixture
def own_key() -> str:
    public = generate_private_key(SECP256R1()).public_key()
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def add_command(connection: ssh.Connection, name: str, script: str) -> None:
    folder = connection.run("dirname $(command -v poweroff)").output.strip()
    connection.upload(f"#!/bin/sh\n{script}\n".encode(), PurePosixPath(folder, name))
    connection.run(f"chmod +x {folder}/{name}")


def adopt(ec2: Any, node: Any, connect: ssh.Connect, keyscan: str, *, timeout: float = 5) -> str | None:
    with connect(node) as connection:
        add_command(connection, "ssh-keyscan", keyscan)
        return adopt_own_key(ec2, node, connection, port=connection.port, timeout=timeout)


def test_the_nodes_own_key_is_kept_in_its_tag(
    launch: Callable[..., Any], ec2: Any, connect: ssh.Connect, own_key: str
) -> None:
    node = launch(workers=1).master
    answer = f'echo "# a remark"; echo "{node.private_ip} {own_key}"; echo "$@" > ~/asked'
    assert adopt(ec2, node, connect, answer) == own_key
    [found] = [one for one in find_nodes(ec2, "films", states=["running"]) if one.role == "master"]
    assert found.host_key == own_key


def test_the_first_key_is_refused_once_the_own_one_is_known(
    launch: Callable[..., Any], ec2: Any, connect: ssh.Connect, own_key: str
) -> None:
    node = launch(workers=1).master
    adopt(ec2, node, connect, f'echo "{node.private_ip} {own_key}"')
    [known] = [one for one in find_nodes(ec2, "films", states=["running"]) if one.role == "master"]
    with pytest.raises(HostKeyError, match=r"expected ecdsa-sha2-nistp256.*another machine may be answering"):
        connect(known)


def test_who_does_not_know_the_tag_yet_still_comes_in(
    launch: Callable[..., Any], ec2: Any, connect: ssh.Connect, own_key: str
) -> None:
    node = launch(workers=1).master
    adopt(ec2, node, connect, f'echo "{node.private_ip} {own_key}"')
    with connect(node) as connection:
        assert connection.run("true").exit_code == 0


def test_a_key_that_comes_late_is_waited_for(
    launch: Callable[..., Any], ec2: Any, connect: ssh.Connect, own_key: str
) -> None:
    node = launch(workers=1).master
    late = f'[ -e ~/asked ] && echo "{node.private_ip} {own_key}"; touch ~/asked'
    assert adopt(ec2, node, connect, late, timeout=20) == own_key


def test_without_an_own_key_the_first_one_stays(
    launch: Callable[..., Any], ec2: Any, connect: ssh.Connect, keys: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    node = launch(workers=1).master
    assert adopt(ec2, node, connect, "exit 1", timeout=0) is None
    assert "serves no host key of its own" in caplog.text
    assert ssh.expected_host_key(node, keys) == keys.host("master").public


def test_a_node_that_calls_something_else_its_key_is_not_believed(
    launch: Callable[..., Any], ec2: Any, connect: ssh.Connect
) -> None:
    node = launch(workers=1).master
    with pytest.raises(ClusterError, match="what it calls its host key is none"):
        adopt(ec2, node, connect, 'echo "host ecdsa-sha2-nistp256 AAAA"')


def test_a_login_with_the_operators_own_key(
    launch: Callable[..., Any], keys: KeyRing, connect: ssh.Connect, sandbox: Any, tmp_path: Path
) -> None:
    node = launch(workers=1).master
    mine = tmp_path / "id"
    mine.write_text(KeyRing(b"the operator's own secret", "own").client().private)
    with connect(node) as connection:
        public = KeyRing(b"the operator's own secret", "own").client().public
        connection.run(f"echo '{public}' >> .ssh/authorized_keys")
    own = ssh.pinned_connector(keys, user="ec2-user", port=sandbox.record.ssh_port, identity=mine)
    with own(node) as connection:
        assert connection.run("true").exit_code == 0


def test_a_nodes_real_own_key_is_the_one_that_it_then_presents(
    launch: Callable[..., Any], ec2: Any, connect: ssh.Connect
) -> None:
    node = launch(workers=1).master
    with connect(node) as connection:
        assert adopt_own_key(ec2, node, connection, port=connection.port)
    [known] = [one for one in find_nodes(ec2, "films", states=["running"]) if one.role == "master"]
    assert str(known.host_key).startswith("ecdsa-sha2-nistp256 ")
    with connect(known) as connection:
        assert connection.run("true").exit_code == 0
