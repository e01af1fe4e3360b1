"""The images of hosts in namespaces: folders laid over this machine's own trees, made once per sandbox.

`base` turns this machine into one of the cloud: a login with sudo, no host keys, stand-ins for what there is no service
manager and no network for. `plain` takes Java and Python away, which a bare image lacks; `baked` has Spark. A layer is
only ever read: what a host writes goes to its own disk.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from nightreel.sandbox import stand_ins

SPARK_DISTRIBUTIONS = ("pyspark", "py4j", "numpy", "pyarrow")
"""What the baked image's Python has; requirements/spark.txt names the same."""
USER_ID = 1500
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
_SPARK_ENVIRONMENT = Path("opt/spark-environment")
_LENT = Path("usr/libexec/sandbox")
_ACCOUNTS = {
    "passwd": "{login}:x:{id}:{id}::/home/{login}:/bin/bash",
    "group": "{login}:x:{id}:",
    "shadow": "{login}:*:19000:0:99999:7:::",
}
_SEEN = ("usr", "opt")
"""Of this machine's trees those in which programs lie that hosts can run."""


@dataclass(frozen=True)
class Interpreter:
    """The Python that runs the sandbox, without its virtual environment, as hosts see it."""

    program: str
    read_only: tuple[str, ...]

    @classmethod
    def find(cls) -> "Interpreter":
        """Look where it is: among the programs that hosts see, or in a folder that they have to be shown."""
        prefix = Path(sys.base_prefix)
        program = (prefix / "bin" / _PYTHON).resolve()
        if prefix == Path("/usr"):  # it is taken away from plain images, so there is a second name for it
            return cls(f"/{_LENT / _PYTHON}", ())
        return cls(str(program), () if prefix.parts[1] in _SEEN else (str(prefix),))


class Images:
    """The layers of one sandbox, below a folder of their own."""

    def __init__(self, folder: Path, *, login: str, socket: str) -> None:
        self._folder = folder
        self._login = login
        self.interpreter = Interpreter.find()
        java = shutil.which("java")
        self._java = Path(java).resolve() if java else None
        shutil.rmtree(folder, ignore_errors=True)
        self._make_base(socket)
        self._make_plain()
        self._has_spark = self._make_baked()
        for directory, _, _ in os.walk(folder):
            Path(directory).chmod(0o755)  # whatever the umask: everybody on a host may look

    def layers(self, image: str) -> list[Path]:
        """The layers of `baked` or `plain`, the topmost first."""
        return [self._folder / image, self._folder / "base"]

    @property
    def read_only(self) -> tuple[str, ...]:
        """Folders of this machine that hosts have to be shown."""
        if self._java is None or self._java.parts[1] in _SEEN:
            return self.interpreter.read_only
        return (*self.interpreter.read_only, str(self._java.parents[1]))

    def home(self, image: str) -> dict[str, str]:
        """The image's scripts and links in the login's home, by name: of a link `-> target`."""
        if image != "baked" or not self._has_spark:
            return {}
        packages = Path("/", _SPARK_ENVIRONMENT, "lib", _PYTHON, "site-packages")
        return {
            "spark": f"-> {packages / 'pyspark'}",
            "spark-python": f'#!/bin/sh\nexec /{_SPARK_ENVIRONMENT}/bin/python "$@"\n',
        }

    def _make_base(self, socket: str) -> None:
        base = self._folder / "base"
        lent = f"/{_LENT / _PYTHON}"
        if self.interpreter.program == lent:
            _copy(Path("/usr/bin", _PYTHON).resolve(), base / _LENT / _PYTHON)
        install = (
            f"{'cp -p' if self.interpreter.program == lent else 'ln -s'} {self.interpreter.program} /usr/bin/{_PYTHON}"
        )
        dnf = {
            "java": str(self._java or "''"), "java_major": _java_major(self._java), "python": _PYTHON,
            "install_python": install,
        }  # fmt: skip
        scripts = stand_ins.for_machines(
            interpreter=self.interpreter.program, socket=socket, dnf=dnf, login=self._login
        )
        for name, text in scripts.items():
            _write(base / "usr" / name, text, mode=0o755)
        if Path("/usr/bin/python3").exists() and not Path("/usr/bin/python").exists():
            (base / "usr/bin/python").symlink_to("python3")
        self._make_accounts(base)
        (base / "etc/yum.repos.d").mkdir(parents=True)
        units = base / "etc/systemd/system"
        units.mkdir(parents=True)
        os.setxattr(units, "trusted.overlay.opaque", b"y")  # what runs on this machine does not run on its hosts
        for key in Path("/etc/ssh").glob("ssh_host_*"):
            _take_away(base, str(key))

    def _make_accounts(self, base: Path) -> None:
        for name, line in _ACCOUNTS.items():
            there = Path("/etc", name).read_text().splitlines()
            others = [entry for entry in there if not entry.startswith(f"{self._login}:")]
            account = line.format(login=self._login, id=USER_ID)
            mode = stat.S_IMODE(Path("/etc", name).stat().st_mode)
            _write(base / "etc" / name, "".join(f"{entry}\n" for entry in (*others, account)), mode=mode)
        _write(base / "etc/sudoers.d/90-cloud-init-users", f"{self._login} ALL=(ALL) NOPASSWD:ALL\n", mode=0o440)
        _write(base / "etc/resolv.conf", "", mode=0o644)

    def _make_plain(self) -> None:
        (self._folder / "plain").mkdir()
        for name in ("java", _PYTHON):
            for folder in ("/usr/bin", "/usr/local/bin"):
                if Path(folder, name).exists():
                    _take_away(self._folder / "plain", f"{folder}/{name}")

    def _make_baked(self) -> bool:
        """Java on the path, and Spark; False when this machine has no Spark to bake in."""
        baked = self._folder / "baked"
        (baked / "usr/bin").mkdir(parents=True)
        if self._java and not Path("/usr/bin/java").exists():
            (baked / "usr/bin/java").symlink_to(self._java)
        environment = baked / _SPARK_ENVIRONMENT
        packages = environment / "lib" / _PYTHON / "site-packages"
        packages.mkdir(parents=True)
        try:
            for name in SPARK_DISTRIBUTIONS:
                _link_distribution(name, packages)
        except PackageNotFoundError:
            return False
        program = self.interpreter.program
        (environment / "bin").mkdir()
        (environment / "bin/python").symlink_to(program)
        (environment / "pyvenv.cfg").write_text(
            f"home = {Path(program).parent}\ninclude-system-site-packages = false\n"
        )
        # Hosts can not write there, and without compiled modules every Python process would compile them for itself.
        python = Path(sys.base_prefix, "bin", _PYTHON)
        subprocess.run(
            [python, "-c", "import numpy, pyarrow, pyspark.sql, pyspark.ml"], check=False, capture_output=True,
            env={"PYTHONPATH": str(packages), "PATH": os.defpath},
        )  # fmt: skip
        return True


def _java_major(java: Path | None) -> str:
    release = java.parents[1] / "release" if java else None
    found = re.search(r'JAVA_VERSION="(\d+)', release.read_text()) if release and release.exists() else None
    return found[1] if found else "17"


def _link_distribution(name: str, packages: Path) -> None:
    """Link an installed distribution's files, or copy them to another file system."""
    installed = distribution(name)
    entries = {file.parts[0] for file in installed.files or () if file.parts[0] != ".."}
    for entry in sorted(entries - {"__pycache__"}):
        source = Path(str(installed.locate_file(entry)))
        if source.is_dir():
            shutil.copytree(source, packages / entry, copy_function=_link, symlinks=True, dirs_exist_ok=True)
        elif source.exists():
            _link(source, packages / entry)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _write(path: Path, text: str, *, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _take_away(layer: Path, path: str) -> None:
    """Let a file of the trees below not be there (a "whiteout", in overlayfs's words)."""
    place = layer / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(place, stat.S_IFCHR, os.makedev(0, 0))


def hidden_paths(state: Path, interpreter: Interpreter) -> list[str]:
    """What hosts must not see although it may lie below a tree that they see: the checkout, its Python, the sandbox."""
    checkout = Path(__file__).resolve().parents[2]
    candidates: Iterable[Path] = (checkout, Path(sys.prefix), state)
    return sorted(
        {str(path) for path in candidates if path.parts[1] in ("usr", "opt", "var", "etc")} - set(interpreter.read_only)
    )
