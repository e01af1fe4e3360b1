"""OpenSSH's own server for an instance: how it is configured, and the host that is nothing but one.

Run as `python -m nightreel.sandbox.sshd_host host.json` this is a host of the kind `sshd`: process 1, the timers, and
an sshd of the user who runs the sandbox, with a login that nss_wrapper makes up.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from nightreel.sandbox.init import DROP_SIGNAL, HostSpec, be_host, descendants, stay_mute

PROGRAM = "/usr/sbin/sshd"
_PRIVILEGE_SEPARATION = Path("/run/sshd")  # which sshd insists on as root


class Sshd:
    """A running sshd that can be restarted, and whose sessions can be cut."""

    def __init__(self, config: str, *, environment: Mapping[str, str]) -> None:
        self._command = [PROGRAM, "-D", "-e", "-f", config]
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it unless it runs."""
        if not self.running:
            if os.geteuid() == 0:
                _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
            self._process = subprocess.Popen(self._command, env=self._environment)

    def stop(self) -> None:
        """End it; its sessions go on, as they do on a machine of the cloud."""
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def wait(self) -> None:
        """Until it ends."""
        if self._process:
            self._process.wait()

    def drop_sessions(self) -> None:
        """Cut every connection that there is; what was started in a session of its own goes on.

        A connection is held by two processes, and those of a listener that was restarted belong to process 1. One that
        is being opened just now may fork behind our back, and its child then belongs to process 1 too, so look again
        until there is none. A connection that comes afterwards is another one and stays.
        """
        now = _ticks()
        while _ticks() <= now:  # who is cut may come back within the same tick, and must not be taken for the old one
            time.sleep(0.001)
        while sessions := self._sessions(before=now):
            for pid in sessions:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    def _sessions(self, *, before: float) -> list[int]:
        """Sessions that began `before` this moment, in ticks since the boot, or that nobody but process 1 holds."""
        listener, found = self._process.pid if self._process else 0, []
        for pid in descendants(os.getppid()):
            with contextlib.suppress(OSError):
                name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
                parent, started = int(rest.split()[1]), int(rest.split()[19])
                orphan = parent == os.getppid()
                if pid != listener and name.startswith("sshd") and (orphan or started <= before):
                    found.append(pid)
        return found

    @property
    def running(self) -> bool:
        """Whether it listens, or is about to."""
        return self._process is not None and self._process.poll() is None


def _ticks() -> int:
    """The time since the boot in the unit of the start times in /proc."""
    return round(float(Path("/proc/uptime").read_text().split()[0]) * os.sysconf("SC_CLK_TCK"))


def configuration(*, port: int, more: Sequence[str] = ()) -> str:
    """An sshd_config: public keys only, SFTP, many sessions at a time."""
    lines = [
        f"Port {port}",
        "PidFile none",
        "LogLevel ERROR",
        "AuthenticationMethods publickey",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "UsePAM no",
        "UseDNS no",
        "PrintMotd no",
        "Subsystem sftp internal-sftp",
        "AcceptEnv LANG LC_*",
        "MaxStartups 200",
        "MaxSessions 100",
        *more,
    ]
    return "".join(f"{line}\n" for line in lines)


def nss_wrapper(directory: Path, *, login: str, home: str) -> dict[str, str]:
    """Variables that let programs see `login`, with this home, in place of whoever runs them."""
    uid, gid = os.getuid(), os.getgid()
    passwd, group = directory / "passwd", directory / "group"
    passwd.write_text(f"{login}:x:{uid}:{gid}::{home}:/bin/bash\nsshd:x:65533:65534::/run/sshd:/bin/false\n")
    group.write_text(f"{login}:x:{gid}:\n")
    return {
        "LD_PRELOAD": "libnss_wrapper.so",
        "NSS_WRAPPER_PASSWD": str(passwd),
        "NSS_WRAPPER_GROUP": str(group),
    }


def _serve(spec: HostSpec) -> None:
    directory = Path(spec.pid_file).parent
    variables = " ".join(shlex.quote(f"{name}={value}") for name, value in spec.environment.items())
    config = directory / "sshd_config"
    config.write_text(
        configuration(
            port=spec.port,
            more=[
                *(f"HostKey {file}" for file in spec.host_keys),
                f"ListenAddress {spec.address}",
                f"AuthorizedKeysFile {spec.home}/.ssh/authorized_keys",
                "StrictModes no",  # the directories of a sandbox need not belong to its login
                "PermitRootLogin yes",  # the login is whoever runs the sandbox, by another name
                f"AllowUsers {spec.login}",
                f"SetEnv {variables}",
            ],
        )
    )
    sshd = Sshd(str(config), environment=nss_wrapper(directory, login=spec.login, home=spec.home))
    signal.signal(DROP_SIGNAL, lambda *_: sshd.drop_sessions())
    sshd.start()
    sshd.wait()
    raise RuntimeError("sshd has ended; its own words stand above")


def main() -> NoReturn:
    """Be the host of the description that the first argument names."""
    spec = HostSpec.read(sys.argv[1])
    be_host(spec, lambda: stay_mute(spec) if spec.mute else _serve(spec))


if __name__ == "__main__":
    main()
