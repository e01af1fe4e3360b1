"""Reading user data: what is honoured, and what is said of the rest."""

import base64
from datetime import UTC, datetime

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightreel.sandbox.cloud_init import PowerOff, UserData, parse

SERVICE = {"path": "/etc/systemd/system/off.service", "content": "[Service]\nExecStart=/usr/bin/systemctl poweroff\n"}
MOMENT = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


def timer(when: str = "2031-05-06 07:08:09 UTC", persistent: str = "true") -> dict[str, str]:
    content = f"[Timer]\nOnCalendar={when}\nPersistent={persistent}\n"
    return {"path": "/etc/systemd/system/off.timer", "content": content}


def read(**config: object) -> UserData:
    return parse("#cloud-config\n" + yaml.safe_dump(config))


def read_timer(entry: dict[str, str], *, service: dict[str, str] = SERVICE) -> UserData:
    return read(write_files=[service, entry], runcmd=[["systemctl", "enable", "--now", "off.timer"]])


def test_parse_nothing() -> None:
    assert parse(None) == UserData()


def test_parse_keys() -> None:
    data = read(ssh_keys={"ed25519_private": "PRIVATE", "ed25519_public": "PUBLIC"}, ssh_authorized_keys=["one", "two"])
    assert (data.host_key, data.authorized_keys, data.notes) == ("PRIVATE", ("one", "two"), ())


@pytest.mark.parametrize("encode", [lambda text: text, lambda text: base64.b64encode(text.encode()).decode()])
def test_parse_plain_or_base64(encode) -> None:
    assert parse(encode("#cloud-config\nssh_authorized_keys: [one]\n")).authorized_keys == ("one",)


def test_parse_base64_twice_is_warned_of() -> None:
    twice = base64.b64encode(base64.b64encode(b"#cloud-config\nssh_authorized_keys: [one]\n"))
    data = parse(twice)
    assert data.authorized_keys == ("one",)
    assert "twice" in data.notes[0]


def test_parse_enabled_timer() -> None:
    assert read_timer(timer()).power_offs == (PowerOff(at=MOMENT, persistent=True),)


def test_parse_timer_is_not_persistent_by_default() -> None:
    entry = {"path": "/x/off.timer", "content": "[Timer]\nOnCalendar=2031-05-06 07:08:09 UTC\n"}
    assert read_timer(entry).power_offs == (PowerOff(at=MOMENT, persistent=False),)


def test_parse_timer_that_names_its_unit() -> None:
    entry = timer() | {"content": timer()["content"] + "Unit=night.service\n"}
    assert read_timer(entry, service=SERVICE | {"path": "/x/night.service"}).power_offs


def test_parse_timer_that_nothing_enables_never_elapses() -> None:
    data = read(write_files=[SERVICE, timer()])
    assert data.power_offs == ()
    assert "nothing enables off.timer" in data.notes[0]


@pytest.mark.parametrize("when", ["*-*-* 04:00:00", "2031-05-06 07:08:09", "2031-13-06 07:08:09 UTC", "daily"])
def test_parse_timer_without_absolute_time_is_noted(when: str) -> None:
    data = read_timer(timer(when))
    assert data.power_offs == ()
    assert "off.timer" in data.notes[0]


def test_parse_timer_of_another_service_is_noted() -> None:
    data = read_timer(timer(), service=SERVICE | {"content": "[Service]\nExecStart=/bin/true\n"})
    assert data.power_offs == ()
    assert "does not power the host off" in data.notes[0]


def test_parse_unit_in_base64() -> None:
    encoded = timer() | {"content": base64.b64encode(timer()["content"].encode()).decode(), "encoding": "b64"}
    assert read_timer(encoded).power_offs


@pytest.mark.parametrize("option", ["--on-calendar=2031-05-06 07:08:09 UTC", "--on-calendar='2031-05-06 07:08:09 UTC'"])
def test_parse_transient_timer(option: str) -> None:
    data = read(bootcmd=[["systemd-run", "--no-block", option, "systemctl", "poweroff"]])
    assert data.power_offs == (PowerOff(at=MOMENT, persistent=False),)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"packages": ["htop"]}, "packages"),
        ({"runcmd": ["touch /ready"]}, "touch /ready"),
        ({"write_files": [{"path": "/etc/motd", "content": "hello"}]}, "/etc/motd"),
        ({"write_files": "nonsense"}, "write_files"),
        ({"write_files": ["nonsense"]}, "nonsense"),
        ({"write_files": [SERVICE, timer() | {"content": "[[["}]}, "not a unit file"),
        ({"write_files": [timer() | {"content": "abc", "encoding": "b64"}]}, "not base64"),
        ({"ssh_keys": {"rsa_private": "x"}}, "rsa_private"),
        ({"ssh_keys": "x"}, "ssh_keys"),
    ],
)
def test_parse_names_what_it_ignores(config: dict[str, object], word: str) -> None:
    assert any(note.startswith("ignored: ") and word in note for note in read(**config).notes)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("a1[]=:\n ", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=5,
)
ENTRIES = st.fixed_dictionaries(
    {"path": st.sampled_from(["a.timer", "a.service"]), "content": VALUES, "encoding": VALUES}
)
KNOWN = st.sampled_from(["ssh_keys", "ssh_authorized_keys", "write_files", "runcmd", "bootcmd"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(KNOWN, VALUES | st.lists(ENTRIES, max_size=2)))
def test_parse_never_raises(config: dict[str, object]) -> None:
    assert isinstance(read(**config), UserData)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text() | st.text().map("#cloud-config\n".__add__) | st.binary())
def test_parse_never_raises_on_text(text: str | bytes) -> None:
    assert isinstance(parse(text), UserData)


@pytest.mark.parametrize("text", ["#!/bin/sh\necho hi\n", "#cloud-config\n- a list\n", "#cloud-config\n{", "\x1f\x8b"])
def test_parse_other_user_data_is_noted(text: str) -> None:
    data = parse(text)
    assert data.notes
    assert data.power_offs == ()
