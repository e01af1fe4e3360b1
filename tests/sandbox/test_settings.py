"""Where a sandbox lives, from options, the environment and defaults."""

from ipaddress import IPv4Network
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nightreel.cli.main import app
from nightreel.sandbox.server import claimed
from nightreel.sandbox.settings import Record, SandboxError, Settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE", "NETWORK", "PORT", "SSH_PORT"):
        monkeypatch.delenv(f"NIGHTREEL_SANDBOX_{name}", raising=False)


def test_resolve_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg")
    settings = Settings.resolve()
    assert (settings.address, settings.port, settings.ssh_port) == ("127.77.0.2", 5000, 2222)
    assert settings.state == Path("/xdg/nightreel/sandbox")


def test_resolve_without_xdg_lies_under_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert Settings.resolve().state == Path.home() / ".local/state/nightreel/sandbox"


def test_resolve_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"STATE": "/elsewhere", "NETWORK": "127.80.0.0/16", "PORT": "6000", "SSH_PORT": "0"}
    for name, value in values.items():
        monkeypatch.setenv(f"NIGHTREEL_SANDBOX_{name}", value)
    settings = Settings.resolve()
    assert (settings.state, settings.address) == (Path("/elsewhere"), "127.80.0.2")
    assert (settings.port, settings.ssh_port) == (6000, 0)


def test_resolve_options_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTREEL_SANDBOX_PORT", "6000")
    assert Settings.resolve(port=0).port == 0


@pytest.mark.parametrize(
    "network", ["10.0.0.0/16", "127.77.0.0/24", "127.0.0.0/8", "127.0.0.0/16", "127.77.0.1/16", "::1/128", "nonsense"]
)
def test_resolve_refuses_a_network_of_no_use(network: str) -> None:
    with pytest.raises(SandboxError, match=r"127\.|network"):
        Settings.resolve(network=network)


@pytest.mark.parametrize("port", ["http", "-1", "65536"])
def test_resolve_refuses_a_port_that_is_none(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("NIGHTREEL_SANDBOX_PORT", port)
    with pytest.raises(SandboxError, match="port number"):
        Settings.resolve()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": 1}', '{"pid": "x", "started": 0}'])
def test_record_that_is_damaged_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "sandbox.json").write_text(text)
    assert Record.read(tmp_path) is None


def test_machines_have_a_network_of_cables_and_the_standard_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTREEL_SANDBOX_HOSTS", "machines")
    settings = Settings.resolve()
    assert (str(settings.network), settings.ssh_port, settings.address) == ("10.77.0.0/16", 22, "127.77.0.2")


@pytest.mark.parametrize("network", ["127.77.0.0/16", "10.77.0.0/24", "192.168.0.0/16", "10.0.0.0/16"])
def test_machines_refuse_a_network_without_cables(network: str) -> None:
    with pytest.raises(SandboxError, match=r"choose .*10\.77\.0\.0/16"):
        Settings.resolve(network=network, hosts="machines")


def test_unknown_kind_of_host_is_refused() -> None:
    with pytest.raises(SandboxError, match="processes, sshd, machines"):
        Settings.resolve(hosts="virtual")


@pytest.mark.parametrize("command", ["down", "status", "env"])
def test_a_sandbox_is_found_by_its_folder_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str) -> None:
    for name, value in {"NETWORK": "10.97.0.0/16", "PORT": "http", "HOSTS": "virtual"}.items():
        monkeypatch.setenv(f"NIGHTREEL_SANDBOX_{name}", value)
    said = CliRunner().invoke(app, ["sandbox", command, "--state", str(tmp_path)]).output
    assert f"o sandbox runs in {tmp_path}" in said


def test_a_network_that_was_not_named_is_refused_naming_the_one_that_was() -> None:
    loopback, asked = IPv4Network("127.251.0.0/16"), IPv4Network("10.251.0.0/16")
    with (
        claimed(loopback),
        pytest.raises(SandboxError, match=r"127\.251.* a sandbox in 10\.251"),
        claimed(loopback, asked=asked),
    ):
        pass


def test_hosts_that_are_processes_may_have_addresses_that_other_machines_reach() -> None:
    assert Settings.resolve(network="10.78.0.0/16").address == "10.78.0.2"
