import os
import subprocess
from collections.abc import Callable
from configparser import RawConfigParser
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_string
from pathlib import Path
from typing import Any

import pytest
import yaml

from nightreel.cluster import user_data
from nightreel.cluster.keys import KeyRing

KEYS = KeyRing(b"s" * 32, "run")
MOMENT = datetime(2027, 3, 4, 5, 6, 7, tzinfo=UTC)
EPOCH = int(MOMENT.timestamp())
DAY = 24 * 3600

type Check = Callable[..., bool]


def rendered(**changes: Any) -> str:
    settings: dict[str, Any] = {"role": "worker", "keys": KEYS, "expires_at": MOMENT}
    return user_data.render(**settings | changes)


def parsed(**changes: Any) -> dict[str, Any]:
    text = rendered(**changes)
    assert text.startswith("#cloud-config\n")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def test_user_data_gives_the_node_its_first_host_key() -> None:
    assert parsed()["ssh_keys"] == {
        "ed25519_private": KEYS.host("worker").private,
        "ed25519_public": KEYS.host("worker").public,
    }


def test_user_data_lets_the_node_make_host_keys_of_its_own() -> None:
    commands = parsed()["runcmd"]
    made = commands.index(["ssh-keygen", "-A"])
    assert "systemctl restart sshd" in commands[made + 1]


def test_user_data_lets_the_operator_in() -> None:
    assert parsed()["ssh_authorized_keys"] == [KEYS.client().public]


def test_user_data_never_holds_the_operators_private_key() -> None:
    assert KEYS.client().private.splitlines()[2] not in rendered(role="master")


def test_user_data_is_the_same_for_a_retry() -> None:
    extra = "#!/bin/sh\necho ümlaut\n"
    assert (rendered(), rendered(extra=extra)) == (rendered(), rendered(extra=extra))


# ---- The dead-man's switch, run by a real shell with a clock and a power switch of our own.


@pytest.fixture
def powers_off(tmp_path: Path) -> Check:
    """Whether the check powers the machine off at `now` with `written` in the login's file."""
    home = tmp_path / "home"
    (home / "nightreel").mkdir(parents=True)
    tools = tmp_path / "tools"
    tools.mkdir()

    def tool(name: str, script: str) -> None:
        path = tools / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def check(*, now: int, written: str | None = None, login_known: bool = True, home_variable: str = "") -> bool:
        tool("date", f"[ $1 = +%s ] && echo {now}")
        tool("getent", f"echo 'ec2-user:x:1000:1000::{home}:/bin/sh'" if login_known else "exit 2")
        tool("systemctl", f'[ "$1" = poweroff ] && touch {tmp_path}/off')
        if written is not None:
            (home / user_data.EXPIRY_FILE).write_text(written)
        (tmp_path / "off").unlink(missing_ok=True)
        environment = {"PATH": f"{tools}:/usr/bin:/bin", "HOME": home_variable or "/nonexistent"}
        text = user_data.expiry_check(expires_at=MOMENT, login="ec2-user")
        subprocess.run(["/bin/sh", "-c", text], env=environment, check=True, timeout=30, capture_output=True)
        return (tmp_path / "off").exists()

    return check


def test_the_node_stays_on_until_its_expiry(powers_off: Check) -> None:
    assert (powers_off(now=EPOCH - 1), powers_off(now=EPOCH)) == (False, True)


def test_a_later_expiry_keeps_the_node_until_then(powers_off: Check) -> None:
    later = EPOCH + DAY
    assert not powers_off(now=EPOCH + 5, written=f"{later}\n")
    assert powers_off(now=later, written=f"{later}\n")


def test_an_earlier_expiry_ends_the_node_before_the_original_one(powers_off: Check) -> None:
    assert powers_off(now=EPOCH - DAY, written=str(EPOCH - DAY))


@pytest.mark.parametrize("garbage", ["", "tomorrow", "-1", "1e12", "9" * 11, "9" * 19, "9" * 400, "0x7fffffff", "\0\0"])
def test_garbage_in_the_file_means_the_original_expiry(powers_off: Check, garbage: str) -> None:
    assert (powers_off(now=EPOCH - 1, written=garbage), powers_off(now=EPOCH, written=garbage)) == (False, True)


def test_nothing_written_keeps_a_node_for_ever(powers_off: Check) -> None:
    far = EPOCH + 30 * DAY
    assert powers_off(now=EPOCH, written=str(far))
    assert not powers_off(now=EPOCH, written=str(EPOCH + 8 * DAY))


def test_an_unknown_login_means_the_original_expiry(powers_off: Check) -> None:
    assert powers_off(now=EPOCH, written=str(EPOCH + DAY), login_known=False)


def test_a_pipe_in_the_files_place_does_not_hold_the_check_up(powers_off: Check, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "home" / user_data.EXPIRY_FILE)
    assert powers_off(now=EPOCH)


def test_every_boot_begins_with_the_check() -> None:
    [command] = parsed()["bootcmd"]
    assert command[0] == "systemd-run"
    assert command[-3:] == ["/bin/sh", "-c", user_data.expiry_check(expires_at=MOMENT, login="ec2-user")]


def test_the_persistent_carrier_runs_the_same_check() -> None:
    units = {Path(entry["path"]).name: entry["content"] for entry in parsed()["write_files"]}
    service = RawConfigParser()
    service.read_string(units["nightreel-expiry.service"])
    # systemd.service(5): a doubled dollar or percent sign means one.
    command = service["Service"]["ExecStart"].replace("$$", "$").replace("%%", "%")
    assert command == f"/bin/sh -c '{user_data.expiry_check(expires_at=MOMENT, login='ec2-user')}'"
    assert ["systemctl", "enable", "--now", "nightreel-expiry.timer"] in parsed()["runcmd"]


def test_the_check_holds_nothing_that_systemd_reads_in_its_own_way() -> None:
    text = user_data.expiry_check(expires_at=MOMENT, login="ec2-user")
    assert not any(mark in text for mark in ("'", "\\", "${", "$$"))


def test_the_expiry_is_an_absolute_moment_wherever_it_was_written() -> None:
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=9)))
    assert rendered(expires_at=elsewhere) == rendered()


# ---- The operator's own user data beside ours.


def parts(extra: str) -> list[tuple[str, str]]:
    _, *found = message_from_string(rendered(extra=extra)).walk()
    return [(part.get_content_type(), part.get_payload(decode=True).decode()) for part in found]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("extra", "kind"),
    [
        ("#!/bin/sh\ntouch /für/mich\n", "text/x-shellscript"),
        ("#cloud-config\npackages: [htop]\n", "text/cloud-config"),
    ],
)
def test_the_operators_own_comes_after_ours(extra: str, kind: str) -> None:
    assert parts(extra) == [("text/cloud-config", rendered()), (kind, extra)]


def test_the_operators_own_can_be_read_back() -> None:
    extra = "#!/bin/sh\ntouch /für/mich\n"
    assert (user_data.extra_of(rendered(extra=extra)), user_data.extra_of(rendered())) == (extra, "")


@pytest.mark.parametrize(
    "key", ["ssh_keys", "ssh_deletekeys", "bootcmd", "runcmd", "write_files", "cloud_init_modules"]
)
def test_a_cloud_config_that_would_replace_ours_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"sets {key}, which the cluster sets too"):
        rendered(extra=f"#cloud-config\n{key}: []\n")


@pytest.mark.parametrize(
    "extra", ["echo hello", "#include\nhttps://example.org/x", "## template: jinja\n#cloud-config"]
)
def test_user_data_of_another_kind_is_refused(extra: str) -> None:
    with pytest.raises(ValueError, match="can not be combined with ours"):
        rendered(extra=extra)


@pytest.mark.parametrize("extra", ["#cloud-config\n- a list", "#cloud-config\na: [b"])
def test_a_broken_cloud_config_is_refused(extra: str) -> None:
    with pytest.raises(ValueError, match="your #cloud-config is no"):
        rendered(extra=extra)


def test_more_than_ec2_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="EC2 takes 16384"):
        rendered(extra="#!/bin/sh\n" + "# a long story\n" * 1000)


def test_there_is_room_for_the_operators_own() -> None:
    assert len(rendered()) < user_data.MAX_BYTES / 3
