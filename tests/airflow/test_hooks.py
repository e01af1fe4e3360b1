from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightreel.airflow.hooks import Reach, Site
from nightreel.airflow.pinned_ssh import PinnedSSHHook
from nightreel.cluster.ec2 import Node
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.ssh import load_host_key, load_key

KEYS = KeyRing(b"a secret for the tests", "run")
NODE = Node(
    instance_id="i-1",
    role="worker",
    state="running",
    private_ip="127.77.0.9",
    public_ip=None,
    instance_type="c7i.large",
    launched=datetime(2026, 1, 1, tzinfo=UTC),
    expires_at="",
    run="run",
    reach="private",
)


@pytest.fixture(autouse=True)
def _connections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The provider's hook reads the ssh configuration of whoever runs it.
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host *\n  IdentityFile ~/.ssh/id_of_the_user\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_NODES", '{"conn_type": "ssh", "login": "ec2-user", "port": 2222}')
    monkeypatch.setenv(
        "AIRFLOW_CONN_SITE",
        '{"conn_type": "http", "host": "films.example", "schema": "https", "port": 8443, "password": "token"}',
    )


def test_hook_takes_login_and_port_from_the_connection() -> None:
    hook = PinnedSSHHook(ssh_conn_id="nodes", node=NODE, keys=KEYS)
    assert (hook.remote_host, hook.port, hook.username) == ("127.77.0.9", 2222, "ec2-user")


def test_hook_logs_in_with_the_derived_key_whatever_the_user_has() -> None:
    hook = PinnedSSHHook(ssh_conn_id="nodes", node=NODE, keys=KEYS)
    assert hook.client_key == load_key(KEYS.client().private)


def test_hook_expects_the_host_key_of_the_nodes_role() -> None:
    hook = PinnedSSHHook(ssh_conn_id="nodes", node=NODE, keys=KEYS)
    assert hook.expected_host_key == load_host_key(KEYS.host("worker").public)


def test_keys_need_the_master_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_NIGHTREEL_MASTER_SECRET", "")
    with pytest.raises(ValueError, match="nightreel_master_secret"):
        _ = Reach("aws", "nodes", "run").keys


def test_a_short_master_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_NIGHTREEL_MASTER_SECRET", "short")
    with pytest.raises(ValueError, match="at least 16"):
        _ = Reach("aws", "nodes", "run").keys


def test_site_comes_from_its_connection() -> None:
    assert Site.of_connection("site") == Site(server="https://films.example:8443", token="token", export_token="token")


def test_a_step_asks_ec2_with_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    # Airflow makes a session anew for each client, an eighth of a second of processor time.
    extra = '{"conn_type": "aws", "login": "a", "password": "b", "extra": {"region_name": "eu-north-1"}}'
    monkeypatch.setenv("AIRFLOW_CONN_AWS", extra)
    reach = Reach("aws", "nodes", "run")
    assert reach.ec2() is reach.ec2()
    assert reach.region() == "eu-north-1"
