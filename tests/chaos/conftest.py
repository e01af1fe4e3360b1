"""A sandbox for the chaos, and one cluster per test in it that is gone when its test is over."""

import itertools
import re
from collections.abc import Iterator

import pytest

from nightreel.cluster.destroy import destroy_cluster, leftovers
from nightreel.sandbox.client import Sandbox, running_sandbox
from tests.chaos.scene import NOTHING, Scene

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="package")
def chaos_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("chaos")) as sandbox:
        yield sandbox


@pytest.fixture
def scene(chaos_sandbox: Sandbox, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """A cluster's name and all that is done to it. Afterwards nothing goes wrong any more, and nothing may be left."""
    made = Scene(chaos_sandbox, cluster_name(request.node.name))
    yield made
    clean_up(made)


@pytest.fixture(scope="module")
def lasting_scene(chaos_sandbox: Sandbox, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """As `scene`, for all tests of a module."""
    made = Scene(chaos_sandbox, cluster_name(request.node.name.removesuffix(".py").rpartition("/")[2]))
    yield made
    clean_up(made)


def cluster_name(test: str) -> str:
    """A name that no other test has, and that tells which test it is."""
    words = re.sub(r"[^a-z0-9]+", "-", test.removeprefix("test_").lower())
    return f"{words[:40].strip('-')}-{next(_NUMBERS)}"


def clean_up(scene: Scene) -> None:
    for process in scene.processes:
        process.kill()
        process.wait()
    scene.sandbox.clear_faults()
    destroy_cluster(scene.ec2, scene.name)
    assert leftovers(scene.ec2, scene.name) == NOTHING
