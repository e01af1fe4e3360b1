"""One good night on hosts that share nothing with this machine: what a node needs was really shipped to it."""

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from nightreel.bundle.reader import open_bundle
from nightreel.cli.demo import CONF, DAG, Stack, follow_run, leftovers, running_stack
from nightreel.cluster import lifecycle, ssh, tags
from nightreel.cluster.ec2 import Node
from nightreel.cluster.keys import KeyRing
from tests.e2e.test_nightly_run import real_ratings

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.sandbox,
    pytest.mark.spark,
    pytest.mark.machines,
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="hosts in namespaces of their own need root"),
    pytest.mark.skipif(
        not all(shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin") for tool in ("sshd", "sudo", "ip")),
        reason="hosts in namespaces of their own need sshd, sudo and ip: .setup/hosts installs them",
    ),
]

CHECKOUT = Path(__file__).resolve().parents[2]
# What a node prints of the world as it sees it, while it is at work.
LOOK = """
    for path in {paths}; do [ -e "$path" ] && echo "sees $path"; done
    [ "$(ls /home)" = "$(id -un)" ] || echo "sees the homes of $(ls /home)"
    cat "$HOME"/left-by-* 2>/dev/null
    true"""


class Onlooker:
    """Looks at every node once, while the training runs on them."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._secret = stack.airflow.variables["nightreel_master_secret"].encode()
        aws = stack.sandbox.environment
        self._ec2 = boto3.client(
            "ec2",
            endpoint_url=stack.sandbox.endpoint,
            region_name=aws["AWS_DEFAULT_REGION"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.seen: dict[str, str] = {}
        """What each node saw that it should not have, by its role and address."""

    def look(self) -> None:
        """Leave a note in each node's home, and ask each what it sees."""
        name, run = self._cluster()
        cluster = lifecycle.find(self._ec2, name)
        keys = KeyRing(self._secret, run)
        connect = ssh.pinned_connector(keys, user="ec2-user", port=self._stack.sandbox.record.ssh_port)

        def leave_note(node: Node) -> None:
            with connect(node) as connection:
                connection.run(f"echo 'sees a note of {node.role}' > ~/left-by-{node.instance_id}")

        def ask(node: Node) -> str:
            script = LOOK.format(paths=" ".join(map(str, self._hidden())))
            with connect(node) as connection:
                own = f"rm -f ~/left-by-{node.instance_id}; "
                return connection.run(own + script).output.strip()

        ssh.on_all(cluster.nodes, leave_note)
        answers = ssh.on_all(cluster.nodes, ask)
        self.seen = {f"{node.role} {node.address}": answer for node, answer in zip(cluster.nodes, answers, strict=True)}

    def _hidden(self) -> list[Path]:
        return [CHECKOUT, Path(sys.prefix), self._stack.sandbox.state, self._stack.airflow.home]

    def _cluster(self) -> tuple[str, str]:
        answer = self._ec2.describe_instances(
            Filters=[
                {"Name": "tag-key", "Values": [tags.CLUSTER]},
                {"Name": "instance-state-name", "Values": ["running"]},
            ]
        )
        own = tags.as_dict(answer["Reservations"][0]["Instances"][0]["Tags"])
        return own[tags.CLUSTER], own[tags.RUN]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    ratings = shutil.copytree(real_ratings(), tmp_path_factory.mktemp("data") / "ratings")
    with running_stack(
        tmp_path_factory.mktemp("stack"), ratings, site_port=0, airflow_port=0, retry_delay=1, hosts="machines"
    ) as running:
        running.services.await_true(lambda: running.airflow.client().has_dag(DAG), what=DAG, timeout=60)
        yield running


@pytest.fixture(scope="module")
def night(stack: Stack) -> tuple[str, dict[str, str], Onlooker]:
    """One run to its end: its state, its tasks' states, and what was seen on the nodes meanwhile."""
    client = stack.airflow.client()
    run_id = client.trigger(DAG, CONF)
    onlooker = Onlooker(stack)
    state = follow_run(client, run_id, check=_once_training(stack, run_id, onlooker), timeout=780)
    return state, {task["task_id"]: task["state"] for task in client.task_instances(DAG, run_id)}, onlooker


def _once_training(stack: Stack, run_id: str, onlooker: Onlooker) -> Callable[[], None]:
    """What `follow_run` does between two looks at the run: look at the nodes, once, when the job is on them."""
    client, looked = stack.airflow.client(), threading.Event()

    def check() -> None:
        stack.services.check()
        if looked.is_set():
            return
        states = {task["task_id"]: task["state"] for task in client.task_instances(DAG, run_id)}
        if states.get("train_similarity") in ("running", "deferred"):
            looked.set()
            onlooker.look()

    return check


def test_a_night_on_machines_of_their_own_is_green(night: tuple[str, dict[str, str], Any]) -> None:
    state, tasks, _ = night
    assert (state, set(tasks.values())) == ("success", {"success"}), json.dumps(tasks, indent=2)


def test_its_model_is_served(stack: Stack, night: object) -> None:
    [bundle] = (stack.airflow.home.parent / "bundles").glob("*/similarity.arrow")
    assert open_bundle(bundle).metadata.evaluation
    assert stack.site.served_model() is not None


def test_it_leaves_nothing(stack: Stack, night: object) -> None:
    assert {entry["state"] for entry in stack.sandbox.instances()} == {"terminated"}
    assert not any(leftovers(stack.sandbox).values())


def test_its_nodes_see_neither_the_checkout_nor_its_environment_nor_each_other(
    night: tuple[str, Any, Onlooker],
) -> None:
    seen = night[2].seen
    assert len(seen) == CONF["workers"] + 1  # every node was asked
    assert {node: answer for node, answer in seen.items() if answer} == {}
