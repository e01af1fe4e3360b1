"""What a node does at its first boot, as cloud-init user data: its keys, and the dead-man's switch."""

from datetime import UTC, datetime
from textwrap import dedent

import yaml

from nightreel.cluster.keys import KeyRing
from nightreel.cluster.tags import Role


def render(*, role: Role, keys: KeyRing, expires_at: datetime) -> str:
    """The `#cloud-config` of a node with this role.

    It depends on nothing but its arguments, so the text stays the same under one client token. The timer is persistent
    (systemd.timer(5)): a node that was stopped over its expiry powers itself off when it is started again.
    """
    host = keys.host(role)
    config = {
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": host.private, "ed25519_public": host.public},
        "ssh_authorized_keys": [keys.client().public],
        "write_files": [
            {"path": "/etc/systemd/system/nightreel-expiry.service", "content": _SERVICE},
            {"path": "/etc/systemd/system/nightreel-expiry.timer", "content": _timer(expires_at)},
        ],
        # The first act of every boot, before anything else can hang; the persistent timer comes up later and
        # also catches a node that was stopped over its expiry.
        "bootcmd": [["systemd-run", "--no-block", f"--on-calendar={_utc(expires_at)}", "systemctl", "poweroff"]],
        "runcmd": [["systemctl", "enable", "--now", "nightreel-expiry.timer"]],
    }
    return "#cloud-config\n" + yaml.safe_dump(config, sort_keys=True)


_SERVICE = dedent("""\
    [Unit]
    Description=Power off: this node outlived its cluster's expiry

    [Service]
    Type=oneshot
    ExecStart=/usr/bin/systemctl poweroff
    """)


def _timer(expires_at: datetime) -> str:
    return dedent(f"""\
        [Unit]
        Description=The dead-man's switch of this node

        [Timer]
        OnCalendar={_utc(expires_at)}
        AccuracySec=1s
        Persistent=true

        [Install]
        WantedBy=timers.target
        """)


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
