"""What a node does when it boots, as cloud-init user data: its keys, and the dead-man's switch.

The switch is one shell check, run by root on the node every ten seconds: after the expiry it powers the node off, and
EC2 terminates what powers itself off. Nothing but the node takes part in it. Two carriers run the check, each without
the other: a transient timer made as the first act of every boot, and a persistent one that is installed at the first.

The expiry that the node was born with is part of the check. A file in the login's home may name a later or an earlier
one, so that a cluster can be renewed without root; whatever is no sensible moment there means the original expiry.
"""

from datetime import datetime, timedelta
from email import message_from_string
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import PurePosixPath
from textwrap import dedent
from typing import Any

import yaml

from nightreel.cluster.keys import KeyRing
from nightreel.cluster.tags import Role

EXPIRY_FILE = PurePosixPath("nightreel/expires-at")
"""In the login's home: the expiry in force, as whole seconds since 1970."""
LONGEST = timedelta(days=8)
"""A node takes no expiry that is further ahead: so nothing that is written there keeps a node for ever."""
CHECK_SECONDS = 10
"""How often the node looks at the clock."""
MAX_BYTES = 16_384
"""EC2's limit for user data, before it is encoded."""
_BOUNDARY = "=====nightreel-user-data====="
_WHOLE_MODULE_LISTS = frozenset({"cloud_init_modules", "cloud_config_modules", "cloud_final_modules"})


def render(*, role: Role, keys: KeyRing, expires_at: datetime, login: str = "ec2-user", extra: str = "") -> str:
    """The user data of a node with this role, whose image lets `login` in.

    `extra` is the operator's own: a shell script (`#!`) or a `#cloud-config`. It depends on nothing but its arguments,
    so the text stays the same under one client token. Raises ValueError for an `extra` that can not be combined with
    ours, or when the whole is larger than EC2 takes.
    """
    ours = "#cloud-config\n" + yaml.safe_dump(_config(role, keys, expires_at, login), sort_keys=True)
    text = _combined(ours, extra) if extra.strip() else ours
    size = len(text.encode())
    if size > MAX_BYTES:
        raise ValueError(
            f"the user data has {size} bytes and EC2 takes {MAX_BYTES}: let your own part fetch what is large "
            "instead of holding it"
        )
    return text


def _config(role: Role, keys: KeyRing, expires_at: datetime, login: str) -> dict[str, Any]:
    host = keys.host(role)
    check = expiry_check(expires_at=expires_at, login=login)
    every = f"{CHECK_SECONDS}s"
    return {
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": host.private, "ed25519_public": host.public},
        "ssh_authorized_keys": [keys.client().public],
        "write_files": [
            {"path": "/etc/systemd/system/nightreel-expiry.service", "content": _service(check)},
            {"path": "/etc/systemd/system/nightreel-expiry.timer", "content": _timer(every)},
        ],
        # The first act of every boot, before anything else can hang.
        "bootcmd": [
            [
                "systemd-run",
                "--unit=nightreel-expiry-from-boot",
                "--no-block",
                f"--on-boot={every}",
                f"--on-unit-active={every}",
                "--timer-property=AccuracySec=1s",
                "/bin/sh",
                "-c",
                check,
            ]
        ],
        # User data can be read by more than the node, so it makes host keys of its own besides the one from here.
        "runcmd": [
            ["systemctl", "enable", "--now", "nightreel-expiry.timer"],
            ["ssh-keygen", "-A"],
            "systemctl restart sshd || systemctl restart ssh",
        ],
    }


def expiry_check(*, expires_at: datetime, login: str) -> str:
    """The dead-man's switch: shell that powers the machine off once the expiry is over.

    It holds no single quote, no backslash and no `${`, all of which systemd would read in its own way.
    """
    original = int(expires_at.timestamp())
    # A job may leave anything under that name, a pipe that never ends too: hence the time limits and the length. With
    # an unknown login the home is the caller's, for root under systemd none, and so the original expiry counts.
    return (
        f"now=$(date +%s); home=$(timeout 5 getent passwd {login} | cut -d: -f6); "
        '[ -n "$home" ] || home=$HOME; '
        f'at=$(timeout 5 head -c 12 "$home/{EXPIRY_FILE}" 2>/dev/null); '
        f'case $at in ""|*[!0-9]*|????????????*) at={original};; esac; '
        f'[ "$at" -le $((now + {int(LONGEST.total_seconds())})) ] || at={original}; '
        '[ "$now" -lt "$at" ] || systemctl poweroff'
    )


def _service(check: str) -> str:
    # In unit files a dollar and a percent sign mean themselves only when they are doubled.
    command = check.replace("%", "%%").replace("$", "$$")
    return dedent(f"""\
        [Unit]
        Description=Power off when this node has outlived its cluster's expiry

        [Service]
        Type=oneshot
        ExecStart=/bin/sh -c '{command}'
        """)


def _timer(every: str) -> str:
    return dedent(f"""\
        [Unit]
        Description=The dead-man's switch of this node

        [Timer]
        OnBootSec={every}
        OnUnitActiveSec={every}
        AccuracySec=1s

        [Install]
        WantedBy=timers.target
        """)


def _combined(ours: str, extra: str) -> str:
    """Both as one MIME message, ours first. ValueError when they do not go together."""
    if extra.startswith("#!"):
        kind = "x-shellscript"
    elif extra.startswith("#cloud-config"):
        kind = "cloud-config"
        _refuse_ours(extra, ours)
    else:
        raise ValueError(
            f"user data that begins with {extra[:20]!r} can not be combined with ours: give a shell script, which "
            "begins with #!, or a #cloud-config"
        )
    whole = MIMEMultipart(boundary=_BOUNDARY)
    for content, subtype in ((ours, "cloud-config"), (extra, kind)):
        whole.attach(MIMEText(content, subtype, "us-ascii" if content.isascii() else "utf-8"))
    return whole.as_string()


def _refuse_ours(extra: str, ours: str) -> None:
    try:
        theirs = yaml.safe_load(extra)
    except yaml.YAMLError as error:
        raise ValueError(f"your #cloud-config is no YAML: {error}") from error
    if not isinstance(theirs, dict):
        raise ValueError("your #cloud-config is no mapping of keys to values")
    reserved = set(yaml.safe_load(ours)) | _WHOLE_MODULE_LISTS
    if taken := sorted(reserved & {str(key) for key in theirs}):
        raise ValueError(
            f"your #cloud-config sets {', '.join(taken)}, which the cluster sets too: cloud-init would let one replace "
            "the other, and the node would lose its keys or its dead-man's switch; give a shell script (#!) instead"
        )


def extra_of(text: str) -> str:
    """The operator's own part of user data that `render` made; empty when there is none."""
    if not text.startswith("Content-Type: multipart/"):
        return ""
    *_, last = message_from_string(text).walk()
    content = last.get_payload(decode=True)
    return content.decode() if isinstance(content, bytes) else ""
