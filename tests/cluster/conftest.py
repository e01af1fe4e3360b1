"""A live sandbox for the cluster's tests, and clusters in it that end with their test."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from nightreel.cluster import lifecycle, ssh
from nightreel.cluster.destroy import destroy_cluster
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.launch import launch_machines
from nightreel.cluster.spec import ClusterSpec
from nightreel.sandbox.client import Sandbox, running_sandbox

MASTER_SECRET = b"a secret for the tests alone"


def await_the_next_second(cluster: Any) -> None:
    """Wait until what is launched next is newer by EC2's clock, which tells whole seconds."""
    newest = max(node.launched for node in cluster.nodes)
    while datetime.now(UTC) < newest + timedelta(seconds=1):
        threading.Event().wait(0.02)


@pytest.fixture(scope="module")
def live_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One for each module: EC2 goes on listing the dead, and a cluster's name that is used often finds many."""
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def module_ec2(live_sandbox: Sandbox) -> Any:
    environment = live_sandbox.environment
    return boto3.client(
        "ec2",
        endpoint_url=live_sandbox.endpoint,
        region_name=environment["AWS_DEFAULT_REGION"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=boto3.session.Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def sandbox(live_sandbox: Sandbox, module_ec2: Any) -> Iterator[Sandbox]:
    """The live sandbox with nothing going wrong; whatever a test leaves running is ended."""
    yield live_sandbox
    live_sandbox.clear_faults()
    for name in ("films", "films-2", "first-night"):
        destroy_cluster(module_ec2, name)


@pytest.fixture
def ec2(sandbox: Sandbox, module_ec2: Any) -> Any:
    return module_ec2


@pytest.fixture
def keys() -> KeyRing:
    return KeyRing(MASTER_SECRET, "films")


@pytest.fixture
def make_spec(sandbox: Sandbox) -> Callable[..., ClusterSpec]:
    def make(**changes: Any) -> ClusterSpec:
        settings: dict[str, Any] = {
            "name": "films",
            "workers": 2,
            "expires_at": datetime.now(UTC) + timedelta(hours=1),
            "instance_type": "c7i.large",
            "ssh_port": sandbox.record.ssh_port,
        }
        return ClusterSpec(**settings | changes)

    return make


@pytest.fixture
def launch(ec2: Any, sandbox: Sandbox, keys: KeyRing, make_spec: Callable[..., ClusterSpec]) -> Callable[..., Any]:
    image = sandbox.environment["NIGHTREEL_AMI"]

    def run(**changes: Any) -> lifecycle.Cluster:
        return launch_machines(ec2, make_spec(**changes), image=image, keys=keys)

    return run


@pytest.fixture
def connect(sandbox: Sandbox, keys: KeyRing) -> ssh.Connect:
    return ssh.pinned_connector(keys, user="ec2-user", port=sandbox.record.ssh_port)
