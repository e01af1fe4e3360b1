"""The IAM policies in the documents: well formed, enough for what the code does, and no more."""

import ast
import fnmatch
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import xform_name
from moto.iam.policy_validation import IAMPolicyDocumentValidator, IAMTrustPolicyDocumentValidator

import nightreel
from nightreel.cluster import power, reap, resize
from nightreel.cluster.destroy import destroy_cluster
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.ssh import Connect
from nightreel.sandbox.client import Sandbox

ROOT = Path(nightreel.__file__).parent
POLICIES = ROOT.parent / "docs" / "iam"
SERVICES = ("ec2", "ssm", "pricing")
LAUNCHER_LIMIT = 6144
"""Characters that IAM allows a managed policy, white space not counted."""


def statements(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((POLICIES / f"{name}.json").read_text())["Statement"]
    return found


def several(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def allowed() -> set[str]:
    return {action for entry in statements("launcher-policy") for action in several(entry["Action"])}


def operations(service: str) -> set[str]:
    return set(boto3.client(service, region_name="us-east-1").meta.service_model.operation_names)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    return {service: operations(service) for service in SERVICES}


@pytest.mark.parametrize("name", ["launcher-policy", "node-role-policy"])
def test_policies_are_well_formed(name: str) -> None:
    IAMPolicyDocumentValidator((POLICIES / f"{name}.json").read_text()).validate()


def test_the_trust_policy_is_well_formed() -> None:
    IAMTrustPolicyDocumentValidator((POLICIES / "node-trust-policy.json").read_text()).validate()


def test_the_policy_fits_into_a_managed_one() -> None:
    assert len("".join((POLICIES / "launcher-policy.json").read_text().split())) < LAUNCHER_LIMIT


@pytest.mark.parametrize("path", sorted(POLICIES.glob("*.json")), ids=lambda path: path.stem)
def test_no_action_is_a_wildcard(path: Path) -> None:
    assert not [action for entry in statements(path.stem) for action in several(entry["Action"]) if "*" in action]


def test_actions_are_ones_that_there_are(known: dict[str, set[str]]) -> None:
    named = [action.split(":") for action in allowed() if not action.startswith("iam:")]
    assert not [(service, action) for service, action in named if action not in known[service]]


def test_everything_that_changes_something_is_bound_to_our_tag() -> None:
    free = {
        "LaunchFromWhatIsThere": {"ec2:RunInstances"},
        "MakeGroupsInAnyVPC": {"ec2:CreateSecurityGroup"},
        "TagWhatIsBeingMade": {"ec2:CreateTags"},
        "GiveNodesTheirRole": {"iam:PassRole"},
    }
    unbound = {
        entry["Sid"]: set(several(entry["Action"]))
        for entry in statements("launcher-policy")
        if "Tag/nightreel:cluster" not in json.dumps(entry.get("Condition", {}))
        and not all(_only_looks(action) for action in several(entry["Action"]))
    }
    assert unbound == free


def _only_looks(action: str) -> bool:
    return action.split(":")[1].startswith(("Describe", "Get"))


def test_only_looking_is_open_to_everything() -> None:
    for entry in statements("launcher-policy"):
        if entry["Resource"] == "*":
            assert all(_only_looks(action) for action in several(entry["Action"]))


def test_what_belongs_to_nobody_of_ours_can_not_be_tagged_later() -> None:
    later = next(entry for entry in statements("launcher-policy") if entry["Sid"] == "RenewWhatIsOurs")
    assert later["Condition"]["ForAllValues:StringLike"]["aws:TagKeys"] == [
        "nightreel:expires-at",
        "nightreel:host-key",
        "nightreel:launcher:*",
    ]


# ---- Enough for what the code does.


def calls_in_the_code(known: dict[str, set[str]]) -> Iterator[str]:
    """The AWS calls of the library, by the names that boto3 gives them: as methods, or as words for a paginator."""
    by_method = {
        xform_name(operation): f"{service}:{operation}" for service in SERVICES for operation in known[service]
    }
    for room in ("cluster", "cli", "airflow"):
        for path in sorted((ROOT / room).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                word = (
                    node.attr
                    if isinstance(node, ast.Attribute)
                    else node.value
                    if isinstance(node, ast.Constant)
                    else ""
                )
                if isinstance(word, str) and word in by_method:
                    yield by_method[word]


def test_every_call_in_the_code_is_allowed(known: dict[str, set[str]]) -> None:
    called = set(calls_in_the_code(known))
    assert {"ec2:RunInstances", "ec2:DescribeVolumes", "ssm:GetParameter", "pricing:GetProducts"} <= called
    assert called <= allowed()


def test_nothing_is_allowed_that_the_code_does_not_call(known: dict[str, set[str]]) -> None:
    # PassRole is asked for by RunInstances, where a node gets its role.
    assert allowed() - set(calls_in_the_code(known)) == {"iam:PassRole"}


@pytest.mark.sandbox
def test_a_whole_life_is_allowed(
    launch: Callable[..., Any], ec2: Any, sandbox: Sandbox, keys: KeyRing, connect: Connect
) -> None:
    before = len(sandbox.journal())
    now = datetime.now(UTC)
    launch(workers=1, market="spot-or-on-demand", fallback_types=("m7i.large",))
    resize.shrink(ec2, "films", workers=1, connect=connect)
    destroy_cluster(ec2, "films")
    launch(workers=1)
    resize.grow(ec2, "films", workers=2, keys=keys, ssh_port=sandbox.record.ssh_port)
    power.stop(ec2, "films", keep_until=now + timedelta(hours=2), connect=connect)
    power.start(ec2, "films", expires_at=now + timedelta(hours=1), connect=connect)
    resize.shrink(ec2, "films", workers=1, connect=connect)
    reap.reap(ec2, now=now + timedelta(hours=2))
    called = {f"{entry['service']}:{entry['action']}" for entry in sandbox.journal()[before:]}
    assert {"ec2:RunInstances", "ec2:StopInstances", "ec2:StartInstances", "ec2:TerminateInstances"} <= called
    assert called <= allowed()


@pytest.mark.sandbox
def test_what_is_changed_is_changed_where_the_policy_allows_it(
    launch: Callable[..., Any], ec2: Any, sandbox: Sandbox
) -> None:
    before = len(sandbox.journal())
    launch(workers=1)
    destroy_cluster(ec2, "films")
    runs = [entry["params"] for entry in sandbox.journal()[before:] if entry["action"] == "RunInstances"]
    assert runs
    for params in runs:
        assert params["MetadataOptions.HttpTokens"] == "required"
        assert params["BlockDeviceMapping.1.Ebs.Encrypted"] == "true"
        tagged = {value for name, value in params.items() if fnmatch.fnmatch(name, "TagSpecification.*.ResourceType")}
        assert {"instance", "volume", "network-interface"} <= tagged
