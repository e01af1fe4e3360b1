"""What is installed on a bare image, with small stand-ins for Spark, its wheels and the package manager."""

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZipFile

import pytest

from nightreel.cluster import bootstrap, ssh
from nightreel.cluster.bootstrap import SPARK_VERSION, Payload, Runtime
from nightreel.cluster.errors import BootstrapError
from nightreel.cluster.launch import launch_machines
from nightreel.cluster.wheels import suitable_wheels
from nightreel.sandbox.settings import PLAIN_IMAGE

WHEEL_NAMES = ("pyspark-4.3.0-py2.py3-none-any", "numpy-2.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64")


@pytest.fixture
def connection(ec2: Any, make_spec: Callable[..., Any], keys: Any, connect: ssh.Connect) -> Iterator[ssh.Connection]:
    cluster = launch_machines(ec2, make_spec(workers=1), image=PLAIN_IMAGE, keys=keys)
    with connect(cluster.master) as opened:
        yield opened


def add_command(connection: ssh.Connection, name: str, script: str) -> None:
    """A command of the host's own, beside the sandbox's stand-ins."""
    folder = connection.run("dirname $(command -v poweroff)").output.strip()
    connection.upload(f"#!/bin/sh\n{script}\n".encode(), PurePosixPath(folder, name))
    connection.run(f"chmod +x {folder}/{name}")


@pytest.fixture
def python(connection: ssh.Connection) -> None:
    add_command(connection, "python3.12", 'exec /usr/bin/env python3 "$@"')


@pytest.fixture
def tarball(tmp_path: Path) -> Path:
    return make_tarball(tmp_path / "spark.tgz")


def make_tarball(target: Path, *, version: str = SPARK_VERSION) -> Path:
    content = target.parent / f"content-{version}" / f"spark-{version}-bin-hadoop3"
    for name in (f"jars/spark-core_2.13-{version}.jar", "python/pyspark/__init__.py", "python/lib/py4j-1-src.zip"):
        (content / name).parent.mkdir(parents=True, exist_ok=True)
        (content / name).touch()
    with tarfile.open(target, "w:gz") as archive:
        archive.add(content, content.name)
    return target


def prepare(connection: ssh.Connection, runtime: Runtime) -> str | None:
    return bootstrap.prepare(connection, runtime=runtime, payload=Payload({}))


@pytest.mark.sandbox
@pytest.mark.usefixtures("python")
def test_spark_comes_from_a_tarball_once(
    connection: ssh.Connection, tarball: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime(spark_source=str(tarball))
    connection.run("mkdir -p spark/jars; touch spark/an-older-one spark/jars/spark-core_2.13-3.5.0.jar")
    prepare(connection, runtime)
    assert connection.run("ls spark spark-python nightreel").output.count("an-older-one") == 0
    monkeypatch.setattr(connection, "upload", lambda *_: pytest.fail("sent again"))
    prepare(connection, runtime)


@pytest.mark.sandbox
@pytest.mark.usefixtures("python")
@pytest.mark.parametrize("there", ["mkdir spark; touch spark/thesis", "touch spark", "ln -s /usr spark"])
def test_what_is_no_spark_is_left_alone(connection: ssh.Connection, tarball: Path, there: str) -> None:
    connection.run(there)
    before = connection.run("ls -lR spark").output
    with pytest.raises(BootstrapError, match="is no Spark: it is left alone"):
        prepare(connection, Runtime(spark_source=str(tarball)))
    assert connection.run("ls -lR spark").output == before


@pytest.mark.sandbox
@pytest.mark.usefixtures("python")
def test_a_tarball_with_another_checksum_is_refused(connection: ssh.Connection, tarball: Path) -> None:
    runtime = Runtime(spark_source=str(tarball), spark_sha256="0" * 64)
    with pytest.raises(BootstrapError, match="checksum is not 0000"):
        prepare(connection, runtime)
    assert connection.run("ls -d spark", check=False).exit_code != 0


@pytest.mark.sandbox
@pytest.mark.usefixtures("python")
def test_nodes_fetch_a_tarball_by_themselves_and_check_it(connection: ssh.Connection, tarball: Path) -> None:
    add_command(connection, "curl", f'for a; do case $last in -o) cp {tarball} "$a";; esac; last=$a; done')
    digest = hashlib.sha512(tarball.read_bytes()).hexdigest()
    prepare(connection, Runtime(spark_source="https://films.example/spark-{v}.tgz", spark_sha512=digest))
    assert connection.run(f"ls spark/jars/spark-core_2.13-{SPARK_VERSION}.jar").exit_code == 0


@pytest.mark.sandbox
@pytest.mark.usefixtures("python")
def test_a_tarball_of_another_version_is_refused(connection: ssh.Connection, tmp_path: Path) -> None:
    runtime = Runtime(spark_source=str(make_tarball(tmp_path / "spark.tgz", version="3.0.0")))
    with pytest.raises(BootstrapError, match=f"does not hold Spark {SPARK_VERSION}"):
        prepare(connection, runtime)


# Every machine that runs these tests has a Java; none has this one.
DNF = r"""here=$(dirname "$0"); echo "$*" >> ~/asked
case "$*" in
    *java-99-openjdk-headless) printf '#!/bin/sh\necho "openjdk version \\"99.0.1\\"" >&2\n' > $here/java ;;
    *python3.12) printf '#!/bin/sh\nexec /usr/bin/env python3 "$@"\n' > $here/python3.12 ;;
    *) echo "no match for $*"; exit 1 ;;
esac; chmod +x $here/*"""


@pytest.mark.sandbox
def test_java_and_python_come_from_the_package_manager(connection: ssh.Connection, tarball: Path) -> None:
    add_command(connection, "dnf", DNF)
    prepare(connection, Runtime(spark_source=str(tarball), java_major=99))
    asked = [line.split()[-1] for line in connection.run("cat asked").output.splitlines()]
    assert asked == ["java-99-amazon-corretto-headless", "java-99-openjdk-headless", "python3.12"]


@pytest.mark.sandbox
@pytest.mark.usefixtures("python")
def test_a_java_that_is_too_old_is_passed_over(connection: ssh.Connection, tarball: Path) -> None:
    add_command(connection, "java", "echo 'openjdk version \"1.8.0_392\"' >&2")
    java_home = prepare(connection, Runtime(spark_source=str(tarball)))
    assert java_home is not None
    assert connection.run(f"[ -x {java_home}/bin/java ]").exit_code == 0


@pytest.mark.sandbox
def test_a_package_that_can_not_be_had_is_told_in_the_nodes_words(connection: ssh.Connection, tarball: Path) -> None:
    add_command(connection, "java", "exit 1")
    add_command(connection, "dnf", "echo no match for this; exit 1")
    with pytest.raises(BootstrapError, match=r"no Java 99(.|\n)*no match for this"):
        prepare(connection, Runtime(spark_source=str(tarball), java_major=99))


@pytest.mark.sandbox
def test_nothing_is_installed_when_that_is_switched_off(connection: ssh.Connection, tarball: Path) -> None:
    with pytest.raises(BootstrapError, match="installing is switched off"):
        prepare(connection, Runtime(spark_source=str(tarball), install=False))


def test_what_nodes_fetch_needs_a_checksum() -> None:
    with pytest.raises(ValueError, match=r"needs spark_sha512.*spark-4\.0\.0\.tgz\.sha512"):
        Runtime(spark_source="https://films.example/spark-{v}.tgz", spark_version="4.0.0")


def test_a_checksum_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="128 hexadecimal digits"):
        Runtime(spark_sha512="abc")


@pytest.mark.parametrize(
    "place",
    ["", "/", "~", "~/", "spark", "~/my spark", "~/spark/..", "/opt/./spark", "/opt/'spark'", "/opt/$x", "/opt/"],
)
def test_a_place_for_spark_that_is_of_no_use_is_refused(place: str) -> None:
    with pytest.raises(ValueError, match="spark_home must be a path such as /opt/spark"):
        Runtime(spark_home=place)


@pytest.mark.parametrize("place", ["~/spark", "/opt/spark-4.3.0", "~/.local/spark_4"])
def test_a_place_for_spark_is_a_plain_path(place: str) -> None:
    assert Runtime(spark_home=place).spark_home == place


def test_a_source_that_can_not_be_fetched_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="can not be fetched"):
        Runtime(spark_source="ftp://films.example/spark.tgz")
    with pytest.raises(ValueError, match="no file of this machine"):
        Runtime(spark_source=str(tmp_path / "none.tgz"))


def test_a_tarball_alone_asks_for_no_further_modules(tarball: Path) -> None:
    assert Runtime(spark_source=str(tarball)).modules == ()
    assert Runtime().modules == ("numpy", "pyarrow")


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        with ZipFile(folder / f"{name}.whl", "w"):
            pass
    return folder


def chosen(wheelhouse: Path, *, python: str = "3.12", architecture: str = "x86_64") -> list[str]:
    needed = ("pyspark", "numpy")
    return [p.stem for p in suitable_wheels(wheelhouse, python=python, architecture=architecture, needed=needed)]


def test_wheels_of_this_machine_are_taken(tmp_path: Path) -> None:
    assert chosen(fill(tmp_path / "w", *WHEEL_NAMES)) == sorted(WHEEL_NAMES)


def test_of_wheels_for_two_machines_the_right_one_is_taken(tmp_path: Path) -> None:
    arm = "numpy-2.0-cp312-cp312-manylinux_2_28_aarch64"
    folder = fill(tmp_path / "w", *WHEEL_NAMES, arm)
    assert chosen(folder, architecture="aarch64") == sorted((WHEEL_NAMES[0], arm))


@pytest.mark.parametrize(("python", "architecture"), [("3.12", "aarch64"), ("3.11", "x86_64"), ("3.13", "x86_64")])
def test_wheels_of_another_machine_are_refused(tmp_path: Path, python: str, architecture: str) -> None:
    with pytest.raises(BootstrapError, match=rf"Python {python} on {architecture}: numpy-2\.0"):
        chosen(fill(tmp_path / "w", *WHEEL_NAMES), python=python, architecture=architecture)


def test_a_wheel_for_every_later_python_is_taken(tmp_path: Path) -> None:
    stable = "numpy-2.0-cp310-abi3-manylinux_2_28_x86_64"
    assert stable in chosen(fill(tmp_path / "w", WHEEL_NAMES[0], stable))


def test_a_wheelhouse_that_lacks_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BootstrapError, match="lacks numpy"):
        chosen(fill(tmp_path / "w", WHEEL_NAMES[0]))


def test_an_empty_wheelhouse_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BootstrapError, match="holds no wheels"):
        chosen(fill(tmp_path / "w"))
