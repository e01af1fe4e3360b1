"""AWS's own command line sees the cluster that `describe` shows: nothing of it is known to us alone."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from nightreel.cluster import tags
from nightreel.sandbox.client import Sandbox
from tests.cluster.conftest import MASTER_SECRET

pytestmark = pytest.mark.sandbox

NIGHTREEL = Path(sys.executable).with_name("nightreel")
OURS = Path(sys.prefix) / "aws" / "bin"  # made by .setup/aws


@pytest.fixture(scope="module")
def aws_command() -> str:
    """An `aws` that runs: the one that is named, else the one made for this test, else the system's."""
    named = os.environ.get("NIGHTREEL_TEST_AWS_CLI")
    if named:
        return named
    for found in (shutil.which("aws", path=str(OURS)), shutil.which("aws")):
        # The shims of version managers are found and yet may not run.
        if found and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0:
            return found
    pytest.skip("no aws command on this machine: run `make test`, or name one in NIGHTREEL_TEST_AWS_CLI")


@pytest.fixture
def environment(sandbox: Sandbox, tmp_path: Path) -> Mapping[str, str]:
    """The sandbox's own variables beside a home without any configuration of the user's."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        **sandbox.environment,
        "NIGHTREEL_MASTER_SECRET": MASTER_SECRET.decode(),
    }


@pytest.fixture
def aws(aws_command: str, environment: Mapping[str, str]) -> Callable[..., Any]:
    """Run `aws ec2 …` and read its JSON."""

    def run(*arguments: str) -> Any:
        command = [aws_command, "ec2", *arguments, "--output", "json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def describe(environment: Mapping[str, str]) -> Callable[[], dict[str, Any]]:
    """Run `nightreel describe films --json` and read its JSON."""

    def run() -> dict[str, Any]:
        command = [str(NIGHTREEL), "describe", "films", "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


def instances_by_tag(aws: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    """What `aws ec2 describe-instances` shows of the cluster's live instances, by id.

    EC2 lists those that an earlier test terminated for a while.
    """
    live = "Name=instance-state-name,Values=pending,running"
    answer = aws("describe-instances", "--filters", f"Name=tag:{tags.CLUSTER},Values=films", live)
    found = [instance for reservation in answer["Reservations"] for instance in reservation["Instances"]]
    return {instance["InstanceId"]: instance for instance in found}


def test_aws_lists_the_same_nodes_with_the_same_states_and_addresses(
    launch: Callable[..., Any], aws: Callable[..., Any], describe: Callable[[], dict[str, Any]]
) -> None:
    launch(workers=2)
    seen = {
        key: (
            instance["State"]["Name"],
            instance["PrivateIpAddress"],
            instance["InstanceType"],
            tags.as_dict(instance["Tags"])[tags.ROLE],
            tags.as_dict(instance["Tags"])[tags.EXPIRES_AT],
        )
        for key, instance in instances_by_tag(aws).items()
    }
    shown = {
        node["instance_id"]: (
            node["state"],
            node["private_ip"],
            node["instance_type"],
            node["role"],
            node["expires_at"],
        )
        for node in describe()["nodes"]
    }
    assert seen == shown
    assert sorted(role for _, _, _, role, _ in seen.values()) == ["master", "worker", "worker"]
    assert {state for state, *_ in seen.values()} == {"running"}


def test_aws_sees_the_security_group_that_is_shown_and_it_is_closed_to_the_world(
    launch: Callable[..., Any], aws: Callable[..., Any], describe: Callable[[], dict[str, Any]]
) -> None:
    launch(workers=1)
    groups = aws("describe-security-groups", "--filters", f"Name=tag:{tags.CLUSTER},Values=films")["SecurityGroups"]
    assert [group["GroupId"] for group in groups] == describe()["security_groups"]
    interfaces = [card for instance in instances_by_tag(aws).values() for card in instance["NetworkInterfaces"]]
    worn = {group["GroupId"] for card in interfaces for group in card["Groups"]}
    assert worn == {groups[0]["GroupId"]}
    admitted = {block["CidrIp"] for rule in groups[0]["IpPermissions"] for block in rule["IpRanges"]}
    assert admitted
    assert "0.0.0.0/0" not in admitted


def test_what_aws_terminates_is_gone_for_describe(
    launch: Callable[..., Any], aws: Callable[..., Any], describe: Callable[[], dict[str, Any]]
) -> None:
    launch(workers=1)
    ids = list(instances_by_tag(aws))
    aws("terminate-instances", "--instance-ids", *ids)
    shown = describe()
    assert (shown["state"], shown["nodes"]) == ("absent", [])
