from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

import nightreel
from nightreel.cluster import bootstrap, ssh
from nightreel.cluster.bootstrap import PAYLOAD, SPARK_VERSION, Payload, Runtime
from nightreel.cluster.errors import BootstrapError
from nightreel.cluster.launch import launch_machines
from nightreel.sandbox.settings import PLAIN_IMAGE

pytestmark = pytest.mark.sandbox


@pytest.fixture
def connection(launch: Callable[..., Any], connect: ssh.Connect) -> Iterator[ssh.Connection]:
    with connect(launch(workers=1).master) as opened:
        yield opened


@pytest.fixture
def payload(tmp_path: Path) -> Payload:
    (tmp_path / "ratings").mkdir()
    (tmp_path / "ratings" / "ratings.csv").write_text("userId,movieId,rating\n1,1,5\n")
    (tmp_path / "job.py").write_text("print('hello')\n")
    return Payload.of(tmp_path / "ratings", tmp_path / "job.py")


def test_spark_version_is_the_pinned_one() -> None:
    pinned = Path(nightreel.__file__).parents[1] / "requirements" / "spark.txt"
    assert f"pyspark=={SPARK_VERSION}" in pinned.read_text()


def test_prepare_ships_the_payload(connection: ssh.Connection, payload: Payload) -> None:
    bootstrap.prepare(connection, runtime=Runtime(), payload=payload)
    assert connection.run(f"cat {PAYLOAD}/job.py {PAYLOAD}/ratings/ratings.csv").output.startswith("print('hello')")


def test_prepare_again_sends_nothing(
    connection: ssh.Connection, payload: Payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap.prepare(connection, runtime=Runtime(), payload=payload)
    sent: list[str] = []
    monkeypatch.setattr(connection, "upload", lambda source, target: sent.append(str(target)))
    bootstrap.prepare(connection, runtime=Runtime(), payload=payload)
    assert sent == []


def test_prepare_replaces_what_changed_on_the_node(connection: ssh.Connection, payload: Payload) -> None:
    bootstrap.prepare(connection, runtime=Runtime(), payload=payload)
    connection.upload(b"tampered", PAYLOAD / "job.py")
    bootstrap.prepare(connection, runtime=Runtime(), payload=payload)
    assert connection.run(f"cat {PAYLOAD}/job.py").output == "print('hello')\n"


def test_a_transfer_that_arrives_damaged_is_noticed(
    connection: ssh.Connection, payload: Payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = connection.upload
    monkeypatch.setattr(connection, "upload", lambda source, target: real(b"cut", target))
    with pytest.raises(BootstrapError, match="arrived damaged"):
        bootstrap.prepare(connection, runtime=Runtime(), payload=payload)


def test_an_image_without_spark_is_told_apart(
    ec2: Any, make_spec: Callable[..., Any], keys: Any, connect: ssh.Connect
) -> None:
    cluster = launch_machines(ec2, make_spec(workers=1), image=PLAIN_IMAGE, keys=keys)
    with connect(cluster.master) as connection, pytest.raises(BootstrapError, match=f"no Spark {SPARK_VERSION}"):
        bootstrap.prepare(connection, runtime=Runtime(), payload=Payload({}))


def test_another_version_than_asked_for_is_no_runtime(connection: ssh.Connection) -> None:
    with pytest.raises(BootstrapError, match=r"no Spark 9\.9\.9"):
        bootstrap.prepare(connection, runtime=Runtime(spark_version="9.9.9"), payload=Payload({}))


def test_payload_of_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing to ship"):
        Payload.of(tmp_path / "nothing")


def test_other_logins_can_not_read_what_was_shipped(connection: ssh.Connection, payload: Payload) -> None:
    bootstrap.prepare(connection, runtime=Runtime(), payload=payload)
    assert connection.run("stat -c %a nightreel").output.strip() == "700"
    assert PurePosixPath("nightreel") == bootstrap.ROOT
