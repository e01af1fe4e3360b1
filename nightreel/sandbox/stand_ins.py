"""Commands of a real machine that the sandbox's hosts have stand-ins for, kind by kind."""

import shlex
from collections.abc import Mapping

# ---- hosts that are processes of the sandbox's user

_POWEROFF = """\
#!/bin/sh
# Ends this host of the sandbox, and nothing else.
exec kill -TERM "$(cat '{pid_file}')"
"""
_SHUTDOWN = """\
#!/bin/sh
# Stand-in: `shutdown [-hP] now` powers this host of the sandbox off.
for argument do
    case $argument in now | +0) exec poweroff ;; esac
done
echo "shutdown: the sandbox's hosts know 'shutdown now' only" >&2
exit 1
"""
_SUDO = """\
#!/bin/sh
# Stand-in: runs the command as the login itself; it grants nothing.
while [ $# -gt 0 ]; do
    case $1 in
        --) shift; break ;;
        -u | -g | -U | -p | -h | -C | -D | -r | -t | -T) shift 2 ;;
        -*) shift ;;
        *) break ;;
    esac
done
[ $# -eq 0 ] || exec env "$@"
"""
_SYSTEMCTL = """\
#!/bin/sh
# Stand-in: these hosts of the sandbox have no systemd; `systemctl poweroff` alone works.
case " $* " in *" poweroff "* | *" halt "*) exec poweroff ;; esac
echo "systemctl: the sandbox's hosts know 'systemctl poweroff' only" >&2
exit 1
"""


def for_processes(pid_file: str) -> dict[str, str]:
    """Scripts, by name, for a host whose process 1 has this file with its id."""
    poweroff = _POWEROFF.replace("{pid_file}", pid_file)
    return {"poweroff": poweroff, "shutdown": _SHUTDOWN, "sudo": _SUDO, "systemctl": _SYSTEMCTL}


# ---- hosts in namespaces, where sudo is real

SERVICE_COMMANDS = ("systemctl", "systemd-run", "poweroff", "halt", "reboot", "shutdown")
_SERVICE_COMMAND = """\
#!{interpreter} -IS
# Stand-in: hands its arguments to the host's service manager, and ends as that says.
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect("{socket}")
    stream = connection.makefile("rw")
    stream.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]) + "\\n")
    stream.flush()
    output, code = json.loads(stream.readline() or '["", 0]')
(sys.stderr if code else sys.stdout).write(output)
sys.exit(code)
"""
_DNF = """\
#!/bin/sh
# Stand-in for dnf and yum: there is no network here, so a package that is known is there already, or it is linked into
# place from where this machine has it. Unknown packages are refused as dnf refuses them.
verb=
packages=
for argument do
    case $argument in
        -*) ;;
        *) if [ -z "$verb" ]; then verb=$argument; else packages="$packages $argument"; fi ;;
    esac
done
case $verb in
    install | reinstall) ;;
    update | upgrade | makecache | clean | check-update | remove) exit 0 ;;
    *) echo "No such command: $verb; this stand-in knows install" >&2; exit 1 ;;
esac
[ "$(id -u)" = 0 ] || { echo "Error: This command has to be run with superuser privileges." >&2; exit 1; }
for package in $packages; do
    case $package in
        java-{java_major}-amazon-corretto | java-{java_major}-amazon-corretto-* | java-{java_major}-openjdk* | \
        temurin-{java_major}-*)
            [ -n {java} ] || { echo "Error: this machine has no Java to lend" >&2; exit 1; }
            [ -e /usr/bin/java ] || ln -s {java} /usr/bin/java
            mkdir -p /usr/lib/jvm; home={java}; ln -sfn "${home%/bin/java}" "/usr/lib/jvm/$package" ;;
        {python} | {python}-pip | {python}-devel | {python}-libs)
            [ -e /usr/bin/{python} ] || {install_python} ;;
        *)
            command -v "$package" >/dev/null || { echo "Error: Unable to find a match: $package" >&2; exit 1; } ;;
    esac
    echo "Installed: $package"
done
"""
_LSBLK = """\
#!/bin/sh
# Stand-in: the one disk of this host.
echo 'KNAME="/dev/nvme0n1p1" MOUNTPOINT="/" SIZE="32212254720"'
"""


def for_machines(*, interpreter: str, socket: str, dnf: Mapping[str, str], login: str) -> dict[str, str]:
    """Scripts, by their path below /usr, for a host with a service manager at this socket."""
    command = _SERVICE_COMMAND.replace("{interpreter}", interpreter).replace("{socket}", socket)
    packages = _DNF
    for name, value in dnf.items():
        packages = packages.replace(f"{{{name}}}", value)
    services = {f"{folder}/{name}": command for folder in ("bin", "sbin") for name in SERVICE_COMMANDS}
    logname = f"#!/bin/sh\necho {shlex.quote(login)}\n"
    return {**services, "bin/dnf": packages, "bin/yum": packages, "bin/lsblk": _LSBLK, "bin/logname": logname}
