"""The DAG in a live Airflow, against a live sandbox and a live site: one good night, and two bad ones after it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from nightreel.bundle.reader import open_bundle
from nightreel.cli.demo import CONF, DAG, Stack, follow_run, leftovers, running_stack
from nightreel.recommend.datasets import cache_folder
from nightreel.sandbox.faults import Fault

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.spark, pytest.mark.timeout(600)]
TOY_STORY = 1


def real_ratings() -> Path:
    given = os.environ.get("NIGHTREEL_TEST_DATA")
    candidates = [Path(given) / "ml-latest-small"] if given else []
    candidates.append(cache_folder() / "ml-100k")
    found = [folder for folder in candidates if folder.is_dir()]
    if not found:
        pytest.skip("no real ratings on this machine: `nightreel data fetch ml-100k` brings some")
    return found[0]


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(real_ratings(), tmp_path_factory.mktemp("data") / "ratings"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, ratings: Path) -> Iterator[Stack]:
    with running_stack(
        tmp_path_factory.mktemp("stack"), ratings, site_port=0, airflow_port=0, retry_delay=1
    ) as running:
        running.services.await_true(lambda: running.airflow.client().has_dag(DAG), what=DAG, timeout=60)
        yield running


def night(stack: Stack) -> tuple[str, dict[str, str]]:
    """Trigger a run and wait for its end: its state and its tasks' states."""
    client = stack.airflow.client()
    run_id = client.trigger(DAG, CONF)
    state = follow_run(client, run_id, check=stack.services.check, timeout=420)
    return state, {task["task_id"]: task["state"] for task in client.task_instances(DAG, run_id)}


@pytest.fixture(scope="module")
def first_model(stack: Stack) -> str:
    """The model of one good night, checked on the way."""
    state, tasks = night(stack)
    assert (state, set(tasks.values())) == ("success", {"success"})
    model = stack.site.served_model()
    assert model is not None
    return model


def nothing_is_left(stack: Stack) -> bool:
    assert not any(stack.sandbox.instances()) or {entry["state"] for entry in stack.sandbox.instances()} == {
        "terminated"
    }
    return not any(leftovers(stack.sandbox).values())


def test_a_good_night_serves_the_new_model_and_leaves_nothing(
    stack: Stack, first_model: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    answer = httpx.get(
        f"{stack.site.url}/api/recommendations", params={"seed": f"{TOY_STORY}:5", "n": 10}, timeout=30
    ).raise_for_status()
    content: dict[str, Any] = answer.json()
    assert (content["model"], len(content["recommendations"])) == (first_model, 10)
    assert nothing_is_left(stack)
    [bundle] = (stack.airflow.home.parent / "bundles").glob("*/similarity.arrow")
    assert open_bundle(bundle).metadata.evaluation


def test_a_launch_that_fails_after_the_first_machine_is_red_and_leaves_nothing(stack: Stack, first_model: str) -> None:
    stack.sandbox.inject(Fault(action="RunInstances", after=1, code="UnauthorizedOperation"))
    state, tasks = night(stack)
    assert (state, tasks["launch_cluster"], tasks["destroy_cluster"]) == ("failed", "failed", "success")
    assert nothing_is_left(stack)
    assert stack.site.served_model() == first_model


def test_a_training_that_fails_is_red_and_leaves_nothing(stack: Stack, first_model: str, ratings: Path) -> None:
    for file in ratings.iterdir():
        if "rating" in file.name or file.suffix == ".inter":
            file.write_text(file.read_text().splitlines()[0] + "\nnothing but rubbish\n")
    state, tasks = night(stack)
    assert (state, tasks["train_similarity"], tasks["destroy_cluster"]) == ("failed", "failed", "success")
    assert nothing_is_left(stack)
    assert stack.site.served_model() == first_model
