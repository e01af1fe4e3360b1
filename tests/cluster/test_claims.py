"""A launch that fails takes away what it made, and not what another launcher works with."""

from collections.abc import Callable
from typing import Any

import pytest

from nightreel.cluster import claims, tags
from nightreel.cluster.destroy import leftovers
from nightreel.cluster.ec2 import find_nodes
from nightreel.cluster.launch import cleaned_on_failure
from nightreel.sandbox.client import Sandbox
from nightreel.sandbox.faults import Fault

pytestmark = pytest.mark.sandbox
ANOTHER = f"{tags.LAUNCHER}another"


def say(ec2: Any, nodes: Any, word: str) -> None:
    """What another launcher writes to these nodes."""
    ids = [node.instance_id for node in nodes]
    ec2.create_tags(Resources=ids, Tags=tags.as_list({ANOTHER: word}))


def living(ec2: Any) -> set[str]:
    return {node.instance_id for node in find_nodes(ec2, "films", states=["pending", "running"])}


def fail(ec2: Any, launch: Callable[..., Any], *, before_the_end: Callable[[Any], None], workers: int = 1) -> Any:
    """Launch and be interrupted; gives the cluster that was launched."""
    launched = []
    with pytest.raises(KeyboardInterrupt), cleaned_on_failure(ec2, "films"):  # noqa: PT012
        launched.append(launch(workers=workers))
        before_the_end(launched[0])
        raise KeyboardInterrupt
    return launched[0]


def test_every_machine_is_claimed_by_whoever_launches_or_adopts_it(launch: Callable[..., Any], ec2: Any) -> None:
    launch(workers=1)
    assert {node.launchers for node in find_nodes(ec2, "films", states=["running"])} == {(claims.OURS,)}


def test_what_another_launcher_works_with_is_left_to_it(launch: Callable[..., Any], ec2: Any) -> None:
    failed = fail(ec2, launch, before_the_end=lambda cluster: say(ec2, cluster.nodes, tags.WORKING))
    assert living(ec2) == {node.instance_id for node in failed.nodes}
    assert {node.launchers for node in find_nodes(ec2, "films", states=["running"])} == {(ANOTHER,)}


def test_of_two_that_give_up_the_last_removes_everything(launch: Callable[..., Any], ec2: Any) -> None:
    fail(ec2, launch, before_the_end=lambda cluster: say(ec2, cluster.nodes, tags.WITHDRAWN))
    assert set(leftovers(ec2, "films").values()) == {0}


def test_new_workers_that_another_launcher_works_with_stay(launch: Callable[..., Any], ec2: Any) -> None:
    before = launch(workers=1)

    def another_takes_one(cluster: Any) -> None:
        new = [node for node in cluster.nodes if node not in before.nodes and node.role == "worker"]
        say(ec2, [max(new, key=lambda node: node.instance_id)], tags.WORKING)

    fail(ec2, launch, before_the_end=another_takes_one, workers=3)
    assert len(living(ec2)) == 3


def test_a_claim_that_can_not_be_withdrawn_is_no_reason_to_leave_machines(
    launch: Callable[..., Any], ec2: Any, sandbox: Sandbox
) -> None:
    forbid = Fault(action="CreateTags", code="UnauthorizedOperation")
    fail(ec2, launch, before_the_end=lambda _: sandbox.inject(forbid))
    assert set(leftovers(ec2, "films").values()) == {0}


def test_machines_that_ec2_does_not_know_yet_are_claimed_a_moment_later(
    launch: Callable[..., Any], ec2: Any, sandbox: Sandbox
) -> None:
    sandbox.inject(Fault(action="CreateTags", code="InvalidInstanceID.NotFound", times=1))
    launch(workers=1)
    assert {node.launchers for node in find_nodes(ec2, "films", states=["running"])} == {(claims.OURS,)}
