"""The root file system of a host in namespaces of its own: this machine's programs, seen through the image's layers.

Nothing of this machine is written to: `/usr`, `/etc`, `/var` and `/opt` are overlays whose upper folder is the host's
disk, and there is nothing else of it: no home directories, no `/tmp`, no disks.
"""

import ctypes
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_OVERLAID = ("usr", "etc", "var", "opt", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
_OWN = {"home": 0o755, "root": 0o711, "tmp": 0o1777}
"""Folders of the host's own disk: of this machine's nothing is seen in them."""
_EMPTY = ("dev", "proc", "sys", "run", "mnt", "media", "srv", "boot")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {
    "ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}  # fmt: skip

# mount(2), umount2(2), prctl(2), capabilities(7)
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _NO_PROGRAMS, _REMOUNT, _BIND = 1, 2, 4, 8, 32, 4096
_DETACH = 2
_DROP_CAPABILITY = 24
_NOT_FOR_GUESTS = (16, 17, 22, 25, 26, 27, 34)
"""To load modules, touch hardware, reboot, set the clock, configure consoles, make devices, read the kernel's log."""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True)
class RootPlan:
    """What a root file system is made of. `layers` are folders with trees, the topmost first."""

    disk: str
    layers: Sequence[str]
    read_only: Sequence[str]
    """Folders of this machine that are there, under the same name, and can not be changed."""
    hidden: Sequence[str]
    """Folders below the overlaid trees that must not be seen."""
    files: Mapping[str, str]
    """Single files of this machine by the path at which the host sees them, read only."""


def enter(plan: RootPlan) -> None:
    """Make the root file system and move into it. To be called by process 1, in a mount namespace of its own."""
    disk = Path(plan.disk)
    os.chdir(disk)  # layers are named relative to it, since overlayfs reads colons and commas in paths as its own
    root = disk / "mnt"
    root.mkdir(exist_ok=True)
    _mount("tmpfs", root, "tmpfs", options="mode=755")
    for name in _OVERLAID:
        _overlay(name, root, disk, plan.layers)
    for name, mode in _OWN.items():
        (disk / name).mkdir(exist_ok=True)
        (disk / name).chmod(mode)
        (root / name).mkdir()
        _mount(disk / name, root / name, flags=_BIND)
    for name in _EMPTY:
        (root / name).mkdir()
    _mount("tmpfs", root / "run", "tmpfs", _NO_SETUID | _NO_DEVICES, "mode=755")
    _mount("tmpfs", root / "var/tmp", "tmpfs", _NO_SETUID | _NO_DEVICES, "mode=1777")
    _make_proc(root / "proc")
    _make_devices(root / "dev")
    for folder in plan.read_only:
        (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        _bind_read_only(folder, root / folder.lstrip("/"))
    for folder in plan.hidden:
        place = root / folder.lstrip("/")
        if place.is_dir():
            _mount("tmpfs", place, "tmpfs", _READ_ONLY, "mode=000")
    for path, source in plan.files.items():
        (root / path.lstrip("/")).touch()
        _bind_read_only(source, root / path.lstrip("/"))
    _pivot(root)
    _give_up_capabilities()


def _overlay(name: str, root: Path, disk: Path, layers: Sequence[str]) -> None:
    tree = Path("/", name)
    if tree.is_symlink():
        (root / name).symlink_to(tree.readlink())
        return
    if not tree.is_dir():
        return
    (root / name).mkdir()
    for part in ("upper", "work"):
        (disk / "disk" / name / part).mkdir(parents=True, exist_ok=True)
    (disk / "disk" / name / "upper").chmod(0o755)
    lower = [*(f"{layer}/{name}" for layer in layers if Path(layer, name).is_dir()), str(tree)]
    options = f"lowerdir={':'.join(lower)},upperdir=disk/{name}/upper,workdir=disk/{name}/work"
    _mount("overlay", root / name, "overlay", options=options)


def _make_proc(place: Path) -> None:
    _mount("proc", place, "proc", _NO_SETUID | _NO_DEVICES | _NO_PROGRAMS)
    for name in ("sys", "sysrq-trigger"):  # they are the whole machine's
        if (place / name).exists():
            _bind_read_only(place / name, place / name)


def _make_devices(place: Path) -> None:
    _mount("tmpfs", place, "tmpfs", _NO_SETUID, "mode=755")
    for name in _DEVICES:
        (place / name).touch()
        _mount(Path("/dev", name), place / name, flags=_BIND)
    for name in ("pts", "shm"):
        (place / name).mkdir()
    _mount("devpts", place / "pts", "devpts", _NO_SETUID, "newinstance,ptmxmode=0666,mode=620,gid=5")
    _mount("tmpfs", place / "shm", "tmpfs", _NO_SETUID | _NO_DEVICES, "mode=1777")
    for name, target in _DEVICE_LINKS.items():
        (place / name).symlink_to(target)


def _bind_read_only(source: str | Path, target: Path) -> None:
    _mount(source, target, flags=_BIND)
    _mount("none", target, flags=_BIND | _REMOUNT | _READ_ONLY)


def _pivot(root: Path) -> None:
    os.chdir(root)
    _check(_libc.pivot_root(b".", b"."), f"pivot_root to {root}")  # pivot_root(2): the old root lies under the new one
    _check(_libc.umount2(b".", _DETACH), "unmounting the old root")
    os.chdir("/")


def _give_up_capabilities() -> None:
    for capability in _NOT_FOR_GUESTS:
        _check(_libc.prctl(_DROP_CAPABILITY, capability, 0, 0, 0), f"giving up capability {capability}")


def _mount(source: str | Path, target: Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    answer = _libc.mount(os.fsencode(source), os.fsencode(target), kind.encode(), flags, options.encode())
    _check(answer, f"mounting {kind or source} at {target}")


def _check(answer: int, what: str) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def try_overlay(disk: Path) -> None:
    """Whether hosts can keep their disks in this folder; OSError when not. In a mount namespace of one's own."""
    (disk / "mnt").mkdir(parents=True)
    os.chdir(disk)
    _overlay("etc", disk / "mnt", disk, ())


if __name__ == "__main__":
    try_overlay(Path(sys.argv[1]))
