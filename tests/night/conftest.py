"""One live Airflow, sandbox and site for all faults, and nights that are kept short."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from nightreel.cli.demo import DAG, Stack, running_stack
from nightreel.recommend.datasets import cache_folder
from tests.night.night import BUCKET, Night, Webhook, client_of, until

USERS = 300
"""Of the data set; enough for the gate to judge by, and quickly trained on."""
LEAST_RATED = 5
"""Movies with fewer ratings are left out, so that the baselines are quickly there."""
SMALL_JVM = "-Xss16m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData"
SETTINGS = {
    "approval_hours": 0.003,
    "prices": {"c7i.large": 0.1, "m7i.large": 0.1},
    "archive": f"s3://{BUCKET}/runs",
    # Jobs of a minute on shared cores: the plainest compiler and collector.
    "spark": dict.fromkeys(("spark.driver.extraJavaOptions", "spark.executor.extraJavaOptions"), SMALL_JVM),
}
ROOT = Path(__file__).parents[2]


def _some_real_ratings(folder: Path) -> Path:
    given = os.environ.get("NIGHTREEL_TEST_DATA")
    small = Path(given) / "ml-latest-small" if given else None
    if small and small.is_dir():
        shutil.copytree(small, folder)
        lines = (folder / "ratings.csv").read_text().splitlines()
        some = [line for line in lines[1:] if int(line.split(",")[0]) <= USERS]
        rated = Counter(line.split(",")[1] for line in some)
        kept = [line for line in some if rated[line.split(",")[1]] >= LEAST_RATED]
        (folder / "ratings.csv").write_text("\n".join([lines[0], *kept]) + "\n")
        return folder
    if (cache_folder() / "ml-100k").is_dir():
        return Path(shutil.copytree(cache_folder() / "ml-100k", folder))
    pytest.skip("no real ratings on this machine: `nightreel data fetch ml-100k` brings some")


@pytest.fixture(scope="session")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that a test may spoil, and mend again."""
    return _some_real_ratings(tmp_path_factory.mktemp("data") / "ratings")


@pytest.fixture(scope="session")
def webhook() -> Iterator[Webhook]:
    """Where Airflow tells what it has to tell."""
    with Webhook() as listening:
        yield listening


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of DAG files, a copy that a test may change."""
    folder = tmp_path_factory.mktemp("code")
    for name in ("dags", "spark_jobs"):
        shutil.copytree(ROOT / name, folder / name)
    return folder / "dags"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, ratings: Path, webhook: Webhook, code: Path) -> Iterator[Stack]:
    with running_stack(
        tmp_path_factory.mktemp("stack"),
        ratings,
        site_port=0,
        airflow_port=0,
        airflow_settings={
            "dags": code,
            "environment": {"NIGHTREEL_RETRY_DELAY": "2", "NIGHTREEL_CAPACITY_DELAY": "3"},
        },
        connections={"nightreel_notify": webhook.connection},
        variables={"nightreel_settings": json.dumps(SETTINGS)},
    ) as running:
        client_of(running, "s3").create_bucket(Bucket=BUCKET)
        running.services.await_true(lambda: running.airflow.client().has_dag(DAG), what=DAG, timeout=300)
        yield running


@pytest.fixture(scope="session")
def first_model(stack: Stack) -> str:
    """The model of one good night; for whoever needs a model to be there, whichever tests came before."""
    night = Night.begin(stack)
    assert night.end() == "success", night.why()
    model = stack.site.served_model()
    assert model is not None
    return model


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium, for operators and visitors."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on PATH: `apt-get install chromium` brings one")
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def begin(stack: Stack) -> Iterator[type[Night]]:
    """Begins nights; when the test is over, nothing of it may be going on, and nothing may go wrong any more."""
    yield Night
    stack.sandbox.clear_faults()
    until(lambda: not Night.going_on(stack), within=600, what="the end of all runs")
