"""Reading user data: what is honoured, and what is said of the rest."""

import base64
import gzip
import shlex
from datetime import UTC, datetime
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightreel.sandbox.cloud_init import File, Timer, UserData, parse

SERVICE = {"path": "/etc/systemd/system/off.service", "content": "[Service]\nExecStart=/usr/bin/systemctl poweroff\n"}
POWER_OFF = "/usr/bin/systemctl poweroff"
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
    assert read_timer(timer()).timers == (Timer(command=POWER_OFF, at=MOMENT, persistent=True),)


def test_parse_timer_is_not_persistent_by_default() -> None:
    entry = {"path": "/x/off.timer", "content": "[Timer]\nOnCalendar=2031-05-06 07:08:09 UTC\n"}
    assert read_timer(entry).timers == (Timer(command=POWER_OFF, at=MOMENT),)


def test_parse_timer_that_names_its_unit() -> None:
    entry = timer() | {"content": timer()["content"] + "Unit=night.service\n"}
    assert read_timer(entry, service=SERVICE | {"path": "/x/night.service"}).timers


def test_parse_timer_that_nothing_enables_never_elapses() -> None:
    data = read(write_files=[SERVICE, timer()])
    assert data.timers == ()
    assert "nothing enables off.timer" in data.notes[0]


@pytest.mark.parametrize("when", ["*-*-* 04:00:00", "2031-05-06 07:08:09", "2031-13-06 07:08:09 UTC", "daily"])
def test_parse_timer_without_absolute_time_is_noted(when: str) -> None:
    data = read_timer(timer(when))
    assert data.timers == ()
    assert "off.timer" in data.notes[0]


def test_parse_timer_of_a_service_without_a_command_is_noted() -> None:
    data = read_timer(timer(), service=SERVICE | {"content": "[Service]\nType=oneshot\n"})
    assert data.timers == ()
    assert "no ExecStart" in data.notes[0]


def test_parse_unit_in_base64() -> None:
    encoded = timer() | {"content": base64.b64encode(timer()["content"].encode()).decode(), "encoding": "b64"}
    assert read_timer(encoded).timers


@pytest.mark.parametrize("option", ["--on-calendar=2031-05-06 07:08:09 UTC", "--on-calendar='2031-05-06 07:08:09 UTC'"])
def test_parse_transient_timer(option: str) -> None:
    data = read(bootcmd=[["systemd-run", "--no-block", option, "systemctl", "poweroff"]])
    assert data.timers == (Timer(command="systemctl poweroff", at=MOMENT),)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"packages": ["htop"]}, "packages"),
        ({"write_files": "nonsense"}, "write_files"),
        ({"write_files": ["nonsense"]}, "nonsense"),
        ({"write_files": [SERVICE, timer() | {"content": "[[["}]}, "not a unit file"),
        ({"write_files": [timer() | {"content": "abc", "encoding": "b64"}]}, "can not be read"),
        ({"ssh_keys": {"rsa_private": "x"}}, "rsa_private"),
        ({"ssh_keys": "x"}, "ssh_keys"),
    ],
)
def test_parse_names_what_it_ignores(config: dict[str, object], word: str) -> None:
    assert any(note.startswith("ignored: ") and word in note for note in read(**config).notes)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"runcmd": ["touch /ready"]}, "touch /ready"),
        ({"bootcmd": [["touch", "/ready"]]}, "touch /ready"),
        ({"write_files": [{"path": "/etc/motd", "content": "hello"}]}, "/etc/motd"),
    ],
)
def test_parse_names_what_processes_leave_out(config: dict[str, object], word: str) -> None:
    data = read(**config)
    assert (data.notes, word in data.unexecuted[0]) == ((), True)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("a1[]=:\n ", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=5,
)
ENTRIES = st.fixed_dictionaries(
    {
        "path": st.sampled_from(["a.timer", "a.service"]),
        "content": VALUES
        | st.sampled_from(["[Timer]\nOnBootSec=1\n", "[Service]\nExecStart='\n", "[Service]\nExecStart=-\n"]),
        "encoding": VALUES | st.sampled_from(["gz", "b64", "gz+b64"]),
        "permissions": VALUES,
    }
)
COMMANDS = st.lists(
    st.sampled_from(
        ["systemd-run", "--on-boot=1s", "--on-calendar", "--unit", "--", "systemctl", "enable", "a.timer", "'"]
    ),
    max_size=5,
).flatmap(lambda words: st.sampled_from([words, " ".join(words)]))
KNOWN = st.sampled_from(["ssh_keys", "ssh_authorized_keys", "write_files", "runcmd", "bootcmd"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(KNOWN, VALUES | st.lists(ENTRIES, max_size=2) | st.lists(COMMANDS, max_size=3)))
def test_parse_never_raises(config: dict[str, object]) -> None:
    assert isinstance(read(**config), UserData)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text()
    | st.text().map("#cloud-config\n".__add__)
    | st.text().map("Content-Type: multipart/mixed; boundary=x\n\n--x\n".__add__)
    | st.binary()
    | st.binary().map((b"\x1f\x8b\x08" + bytes(7)).__add__)
)
def test_parse_never_raises_on_text(text: str | bytes) -> None:
    assert isinstance(parse(text), UserData)


@pytest.mark.parametrize("text", ["plain words", "#cloud-config\n- a list\n", "#cloud-config\n{", "\x1f\x8b"])
def test_parse_other_user_data_is_noted(text: str) -> None:
    data = parse(text)
    assert data.notes
    assert data.timers == ()


# ---- parts


def multipart(*parts: tuple[str, str]) -> str:
    message = MIMEMultipart()
    for kind, text in parts:
        message.attach(MIMEText(text, kind))
    return message.as_string()


def test_parse_parts_in_turn() -> None:
    script = "#!/bin/sh\necho hello\n"
    data = parse(multipart(("cloud-config", "#cloud-config\nssh_authorized_keys: [one]\n"), ("x-shellscript", script)))
    assert (data.authorized_keys, data.scripts, "#!/bin/sh" in data.unexecuted[0]) == (("one",), (script,), True)


def test_parse_later_part_replaces_a_key_as_cloud_init_does() -> None:
    ours, theirs = "#cloud-config\nssh_authorized_keys: [one]\n", "#cloud-config\nssh_authorized_keys: [two]\n"
    data = parse(base64.b64encode(multipart(("cloud-config", ours), ("cloud-config", theirs)).encode()))
    assert data.authorized_keys == ("two",)


def test_parse_part_of_an_unknown_kind_is_noted() -> None:
    assert "#include" in parse(multipart(("x-include-url", "#include\nhttp://x\n"))).notes[0]


def test_parse_compressed() -> None:
    raw = base64.b64encode(gzip.compress(b"#cloud-config\nssh_authorized_keys: [one]\n"))
    assert parse(raw).authorized_keys == ("one",)


# ---- files and commands


def test_parse_files() -> None:
    packed = base64.b64encode(gzip.compress(b"hello")).decode()
    written = [
        {"path": "/a", "content": "x", "permissions": "0755", "owner": "me:us", "append": True},
        {"path": "/b", "content": packed, "encoding": "gz+b64"},
    ]
    assert read(write_files=written).files == (
        File(path="/a", content=b"x", mode=0o755, owner="me:us", append=True),
        File(path="/b", content=b"hello"),
    )


def test_parse_commands_become_lines_of_shell() -> None:
    data = read(bootcmd=[["echo", "a b"]], runcmd=["echo $HOME", 7])
    assert (data.boot_commands, data.first_boot_commands) == (("echo 'a b'",), ("echo $HOME", "7"))


@pytest.mark.parametrize(
    ("commands", "own"),
    [
        ([["ssh-keygen", "-A"], ["systemctl", "restart", "sshd"]], True),
        (["ssh-keygen -A && systemctl restart sshd || systemctl restart ssh"], True),
        ([["sh", "-c", "ssh-keygen -A; service ssh restart"]], True),
        ([["ssh-keygen", "-A"]], False),  # sshd goes on with the keys that it has read
        ([["ssh-keygen", "-R", "host"]], False),
    ],
)
def test_parse_own_host_key(commands: list[object], own: bool) -> None:
    assert read(runcmd=commands).own_host_key == own


# ---- timers that run commands

CHECK = """home=$(getent passwd me | cut -d: -f6); at=$(cat "${home:-/}/at"); [ "$(date +%s)" -lt "$at" ] || poweroff"""
INTERVAL = "[Timer]\nOnBootSec=10s\nOnUnitActiveSec=1min 30s\n"


def read_units(interval: str, service: str, *commands: object) -> UserData:
    units = [{"path": "/x/check.timer", "content": interval}, {"path": "/x/check.service", "content": service}]
    return read(write_files=units, runcmd=list(commands) or [["systemctl", "enable", "--now", "check.timer"]])


def test_parse_interval_timer() -> None:
    data = read_units(INTERVAL, "[Service]\nExecStart=/usr/bin/touch /x\n")
    assert data.timers == (Timer(command="/usr/bin/touch /x", delay=10, interval=90),)


def test_parse_service_of_a_shell_script_after_systemds_quoting() -> None:
    quoted = CHECK.replace("$", "$$").replace("%", "%%").replace('"', '\\"')
    data = read_units(INTERVAL, f'[Service]\nExecStart=/bin/sh -c "{quoted}"\n')
    assert shlex.split(data.timers[0].command) == ["/bin/sh", "-c", CHECK]


def test_parse_transient_interval_timer() -> None:
    options = ["--unit=x", "--on-boot=10s", "--on-unit-active=5s", "--timer-property=AccuracySec=1s", "--no-block"]
    data = read(bootcmd=[["systemd-run", *options, "/bin/sh", "-c", CHECK.replace("$", "$$")]])
    expected = Timer(command=shlex.join(["/bin/sh", "-c", CHECK]), delay=10, interval=5)
    assert (data.timers, data.notes, data.unexecuted) == ((expected,), (), ())


def test_parse_transient_timer_of_runcmd_lasts_one_boot() -> None:
    data = read(runcmd=["systemd-run --on-active 1h systemctl poweroff"])
    assert data.timers == (Timer(command="systemctl poweroff", delay=3600, boots="first"),)


def test_parse_transient_timer_that_never_starts_is_noted() -> None:
    data = read(bootcmd=[["systemd-run", "--on-unit-active=5s", "true"]])
    assert (data.timers, "OnBootSec" in data.notes[0]) == ((), True)


@pytest.mark.parametrize(
    ("command", "boots"),
    [("enable --now", "all"), ("start", "first"), ("enable", "later"), ("--now enable", "all")],
)
def test_parse_timer_is_armed_at_the_boots_it_is_enabled_for(command: str, boots: str) -> None:
    data = read_units(INTERVAL, "[Service]\nExecStart=true\n", f"systemctl {command} check.timer")
    assert [timer.boots for timer in data.timers] == [boots]


def test_parse_timer_enabled_within_a_longer_line() -> None:
    line = "systemctl daemon-reload && systemctl enable --now check.timer"
    assert read_units(INTERVAL, "[Service]\nExecStart=true\n", ["sh", "-c", line]).timers
