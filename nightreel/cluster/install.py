"""Install what an image lacks: Java and Python from the system's packages, Spark from a tarball or from wheels."""

import logging
import shlex
from dataclasses import dataclass
from pathlib import Path

from nightreel.cluster.errors import BootstrapError
from nightreel.cluster.relay import Ship
from nightreel.cluster.runtime import ROOT, Runtime
from nightreel.cluster.ssh import Connection, quote
from nightreel.cluster.wheels import suitable_wheels

log = logging.getLogger(__name__)

WHEELS = ROOT / "wheels"
_VENV = ROOT / "venv"
_TARBALL = ROOT / "spark.tgz"
# Seconds of silence. Package managers also wait for each other, and a first boot updates its lists.
_INSTALL_SILENCE = 900.0


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What a node has."""

    architecture: str
    java: str
    """`path`: the node's own `java` will do; else the folder to use as JAVA_HOME; empty when there is no Java."""
    spark: bool
    foreign: bool
    """Whether something else than a Spark stands where Spark should be."""
    python: bool
    """Whether there is a Python of the version that the wheels are for."""
    lacks: tuple[str, ...]
    """Modules that the runtime's Python does not find; `python` itself when that is not there."""

    @property
    def complete(self) -> bool:
        return bool(self.java) and self.spark and not self.lacks

    @property
    def java_home(self) -> str | None:
        return None if self.java in ("", "path") else self.java

    def missing(self, runtime: Runtime) -> str:
        """What is missing, in words."""
        words = [
            "" if self.java else f"no Java {runtime.java_major} or newer",
            "" if self.spark else f"no Spark {runtime.spark_version} at {runtime.spark_home}",
            f"no Python at {runtime.python}" if "python" in self.lacks else "",
            f"{runtime.python} lacks {', '.join(self.lacks)}" if self.lacks and "python" not in self.lacks else "",
        ]
        return "; ".join(filter(None, words))


def ensure_runtime(connection: Connection, runtime: Runtime, *, ship: Ship) -> str | None:
    """Make sure that the node has the runtime, installing what it lacks; JAVA_HOME when its own `java` will not do.

    `ship` copies files to the node. Raises BootstrapError, with the node's own words, when it can not be had.
    """
    found = _look(connection, runtime)
    if found.complete:
        return found.java_home
    log.info("%s lacks: %s", connection.host, found.missing(runtime))
    _require_sources(connection, runtime, found)
    _install_packages(connection, runtime, found)
    if not found.spark and runtime.source:
        _install_tarball(connection, runtime, ship)
    if runtime.wheelhouse and (found.lacks or not found.spark):
        _install_wheels(connection, runtime, runtime.wheelhouse, found, ship)
    elif found.lacks:
        _use_system_python(connection, runtime)
    now = _look(connection, runtime)
    if not now.complete:
        raise BootstrapError(f"{connection.host}: installed, and yet: {now.missing(runtime)}")
    return now.java_home


_LACKS = """
import importlib.util, sys
print(*[name for name in sys.argv[1:] if importlib.util.find_spec(name) is None])"""


def _look(connection: Connection, runtime: Runtime) -> _Found:
    """One question to the node for everything, so that a complete image costs one round trip."""
    home, python = quote(runtime.spark_home), quote(runtime.python)
    modules = " ".join(map(shlex.quote, ("pyspark", *runtime.modules)))
    answer = connection.run(
        f"""
        suits() {{
            major=$("$1" -version 2>&1 | sed -n 's/.*version "\\(1\\.\\)\\{{0,1\\}}\\([0-9]*\\).*/\\2/p' | head -n 1)
            [ "${{major:-0}}" -ge {runtime.java_major} ]
        }}
        java=; for candidate in java /usr/lib/jvm/*/bin/java; do
            suits "$candidate" && {{ java=${{candidate%/bin/java}}; break; }}
        done
        [ "$java" = java ] && java=path
        echo "architecture $(uname -m)"; echo "java $java"
        ls {home}/jars/spark-core_*-{shlex.quote(runtime.spark_version)}.jar >/dev/null 2>&1 && echo "spark there"
        [ -z "$(ls -A {home} 2>/dev/null)" ] || ls {home}/jars/spark-core_*.jar >/dev/null 2>&1 || echo "foreign there"
        command -v python{runtime.python_version} >/dev/null && echo "python there"
        export PYTHONPATH={home}/python:$(echo {home}/python/lib/py4j-*-src.zip)
        lacks=$({python} -c {shlex.quote(_LACKS)} {modules} 2>/dev/null) || lacks=python
        echo "lacks $lacks" """,
        timeout=120,
    ).output
    lines = dict([*line.split(maxsplit=1), ""][:2] for line in answer.splitlines() if line.strip())
    return _Found(
        architecture=lines.get("architecture", ""),
        java=lines.get("java", ""),
        spark="spark" in lines,
        foreign="foreign" in lines,
        python="python" in lines,
        lacks=tuple(lines.get("lacks", "python").split()),
    )


def _require_sources(connection: Connection, runtime: Runtime, found: _Found) -> None:
    """Refuse before anything is installed when it could not be brought to an end."""
    missing = found.missing(runtime)
    if not runtime.install:
        raise BootstrapError(f"{connection.host}: {missing}, and installing is switched off: use an image that has it")
    if found.foreign:
        raise BootstrapError(
            f"{connection.host}: {runtime.spark_home} is there and is no Spark: it is left alone; remove it, or give "
            "another place with --remote-spark-home"
        )
    no_spark = not found.spark and runtime.source is None
    if runtime.wheelhouse is None and (no_spark or (found.lacks and runtime.modules)):
        raise BootstrapError(
            f"{connection.host}: {missing}. Use an image that has Spark {runtime.spark_version} at "
            f"{runtime.spark_home} and its Python at {runtime.python}, or give a Spark tarball (spark_source) or a "
            "folder of wheels to install from."
        )


def _install_packages(connection: Connection, runtime: Runtime, found: _Found) -> None:
    """Java and Python by the node's package manager: the first of the names that it knows."""
    java, version = runtime.java_major, runtime.python_version
    wanted = []
    if not found.java:
        wanted.append(
            (
                f"Java {java}",
                f"openjdk-{java}-jre-headless",
                f"java-{java}-amazon-corretto-headless",
                f"java-{java}-openjdk-headless",
            )
        )
    if found.lacks and not found.python:
        wanted.append((f"Python {version}", f"python{version} python{version}-venv", f"python{version}", ""))
    for what, by_apt, *by_dnf in wanted:
        _install_package(connection, what=what, by_apt=by_apt, by_dnf=[name for name in by_dnf if name])


def _install_package(connection: Connection, *, what: str, by_apt: str, by_dnf: list[str]) -> None:
    attempts = " || ".join(f"$sudo $manager install -y -q {name}" for name in by_dnf)
    done = connection.run(
        f"""
        sudo=; [ "$(id -u)" = 0 ] || sudo="sudo -n"
        manager=$(command -v dnf || command -v yum)
        if [ -n "$manager" ]; then
            {attempts}
        elif command -v apt-get >/dev/null; then
            export DEBIAN_FRONTEND=noninteractive
            apt="$sudo apt-get -q -o DPkg::Lock::Timeout=300"
            $apt update && $apt install -y --no-install-recommends {by_apt}
        else
            echo "there is neither dnf, yum nor apt-get to install it with"; exit 1
        fi""",
        timeout=_INSTALL_SILENCE,
        check=False,
    )
    if done.exit_code != 0:
        raise BootstrapError(
            f"{connection.host}: this image has no {what}, and it could not be installed: use an image that has it, "
            f"or one whose package manager knows it:\n{_end(done.output)}"
        )


def _install_tarball(connection: Connection, runtime: Runtime, ship: Ship) -> None:
    """Fetch or ship the tarball, check it, unpack it beside its place and put it there in one step."""
    if runtime.local_source:
        ship(connection, {_TARBALL.name: runtime.local_source}, folder=_TARBALL.parent)
        fetch = "true"
    else:
        fetch = _fetch_command(runtime.source or "")
    check = "true"
    if runtime.checksum:
        command, digest = runtime.checksum
        check = f"""[ "$({command} < {_TARBALL} | cut -d' ' -f1)" = {digest} ] || {{
            {command} < {_TARBALL}; rm -f {_TARBALL}; echo "the tarball's checksum is not {digest}"; exit 1; }}"""
    script = f"""
        command -v tar >/dev/null || {{ echo "there is no tar"; exit 1; }}
        {fetch} || {{ echo "the tarball could not be fetched"; exit 1; }}
        {check}
        place={quote(runtime.spark_home)}
        mkdir -p "$(dirname "$place")" && rm -rf "$place.part" && mkdir "$place.part" || exit 1
        tar -xzf {_TARBALL} -C "$place.part" --strip-components=1 || exit 1
        ls "$place.part"/jars/spark-core_*-{shlex.quote(runtime.spark_version)}.jar >/dev/null || {{
            echo "the tarball does not hold Spark {runtime.spark_version}"; exit 1; }}
        if [ -e "$place" ] || [ -L "$place" ]; then rm -rf "$place.old"; mv -T "$place" "$place.old" || exit 1; fi
        mv -T "$place.part" "$place" && rm -rf "$place.old" {_TARBALL}"""
    done = connection.run(script, timeout=_INSTALL_SILENCE, check=False)
    if done.exit_code != 0:
        raise BootstrapError(
            f"{connection.host}: Spark could not be installed from {runtime.source}:\n{_end(done.output)}"
        )


def _fetch_command(source: str) -> str:
    if source.startswith("s3://"):
        return f"aws s3 cp --no-progress {shlex.quote(source)} {_TARBALL}"
    return f"curl -fsSL --proto =http,https --connect-timeout 10 --retry 3 -o {_TARBALL} {shlex.quote(source)}"


def _install_wheels(connection: Connection, runtime: Runtime, wheelhouse: Path, found: _Found, ship: Ship) -> None:
    """A virtual environment from the wheels, made beside its place and put there when it is known to work."""
    spark_too = not found.spark and runtime.source is None
    modules = (*(("pyspark",) if spark_too else ()), *runtime.modules)
    wheels = suitable_wheels(wheelhouse, python=runtime.python_version, architecture=found.architecture, needed=modules)
    if not spark_too:
        wheels = [wheel for wheel in wheels if not wheel.name.lower().startswith("pyspark-")]
    ship(connection, {wheel.name: wheel for wheel in wheels}, folder=WHEELS)
    names = " ".join(shlex.quote(wheel.name) for wheel in wheels)
    link = f"""
        spark=$({_VENV}/bin/python -c 'import pyspark; print(pyspark.__path__[0])') || exit 1
        place={quote(runtime.spark_home)}
        # A folder in its place would get the link inside of it.
        if [ -d "$place" ] && [ ! -L "$place" ]; then rm -rf "$place.old"; mv -T "$place" "$place.old" || exit 1; fi
        mkdir -p "$(dirname "$place")" && ln -sfn "$spark" "$place" && rm -rf "$place.old" || exit 1"""
    script = f"""
        rm -rf {_VENV}.part && python{runtime.python_version} -m venv {_VENV}.part || exit 1
        install="../venv.part/bin/python -m pip install --quiet --no-index --no-deps --no-compile"
        (cd {WHEELS} && $install {names}) || exit 1
        {_VENV}.part/bin/python -c 'import {", ".join(modules)}' || exit 1
        if [ -e {_VENV} ]; then rm -rf {_VENV}.old; mv -T {_VENV} {_VENV}.old || exit 1; fi
        mv -T {_VENV}.part {_VENV} && rm -rf {_VENV}.old || exit 1
        {link if spark_too else ""}
        {_launcher(runtime, f'"$HOME/{_VENV}/bin/python"')}"""
    done = connection.run(script, timeout=_INSTALL_SILENCE, check=False)
    if done.exit_code != 0:
        raise BootstrapError(
            f"{connection.host}: Spark could not be installed from the wheels:\n{_end(done.output)}"
            if spark_too
            else f"{connection.host}: the wheels could not be installed:\n{_end(done.output)}"
        )


def _use_system_python(connection: Connection, runtime: Runtime) -> None:
    program = f'"$(command -v python{runtime.python_version})"'
    connection.run(_launcher(runtime, program))


def _launcher(runtime: Runtime, program: str) -> str:
    """A script that runs a Python. A link would not do: through one, Python does not find its virtual environment."""
    place = quote(runtime.python)
    return f"""printf '#!/bin/sh\\nexec "%s" "$@"\\n' {program} > {place}.part || exit 1
        chmod +x {place}.part && mv {place}.part {place}"""


def _end(output: str) -> str:
    return "\n".join(output.strip().splitlines()[-20:])
