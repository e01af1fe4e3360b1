"""What an operator does in a browser: fill in the form, press Trigger, see it go green; and a run by schedule."""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from nightreel.airflow.assets import MATRIX
from nightreel.cli.demo import DAG, Stack
from nightreel.local.airflow import PASSWORD, USER
from tests.night.night import Night, Outcome, until

pytestmark = [pytest.mark.night, pytest.mark.sandbox, pytest.mark.spark, pytest.mark.browser, pytest.mark.timeout(1800)]
GOOD = Outcome(colour="success", left=0, spark_runs=1)
PICTURES = os.environ.get("NIGHTREEL_PICTURES")
"""A folder for pictures of the pages, for the operator's guide."""


@pytest.fixture
def page(stack: Stack, browser: Browser) -> Iterator[Page]:
    with browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light") as context:
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.goto(f"{stack.airflow.url}/auth/login/")
        page.fill("input[name=username]", USER)
        page.fill("input[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"^(?!.*login)"))
        yield page


def picture(page: Page, name: str, *, width: int = 1280, height: int = 800, then: Locator | None = None) -> None:
    """Take a picture of the page, where pictures are wanted, in this size and after a click on `then`."""
    if PICTURES:
        page.set_viewport_size({"width": width, "height": height})
        if then:
            then.click()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"), animations="disabled")


def test_form_filled_in_and_triggered_in_a_browser(stack: Stack, begin: type[Night], page: Page) -> None:
    before = stack.site.served_model()
    client = stack.airflow.client()
    known = set(client.run_ids(DAG))
    page.goto(f"{stack.airflow.url}/dags/{DAG}")
    page.get_by_role("button", name="Trigger").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Training").click()
    dialog.locator("[name='element_rank']").fill("16")
    dialog.locator("[name='element_iterations']").fill("4")
    dialog.get_by_role("button", name="Machines").click()
    dialog.locator("[name='element_workers']").fill("1")
    dialog.locator("[name='element_instance_type']").fill("c7i.large")
    picture(page, "airflow-form", height=1250)
    dialog.get_by_role("button", name="Trigger").click()
    [run_id] = until(lambda: set(client.run_ids(DAG)) - known, within=120, what="the run")
    night = Night(stack, client, run_id)
    night.reach_spark()
    page.goto(f"{stack.airflow.url}/dags/{DAG}/runs/{run_id}/tasks/train_similarity?tab=logs")
    expect(page.get_by_text(re.compile(r"ALS: iteration \d+ of 4")).first).to_be_visible(timeout=300_000)
    picture(page, "airflow-log")
    assert night.outcome() == GOOD, night.why()
    assert stack.site.served_model() != before
    page.goto(f"{stack.airflow.url}/dags/{DAG}/runs/{run_id}")
    expect(page.get_by_text("11 Task Instances")).to_be_visible()
    picture(page, "airflow-run")
    page.get_by_label("Show Graph").click()
    expect(page.get_by_test_id("rf__node-verdict")).to_be_visible()
    page.get_by_label("Collapse Details Panel").click()
    picture(page, "airflow-graph", width=1700, height=640, then=page.get_by_label("fit view"))
    page.goto(f"{stack.airflow.url}/assets")
    page.get_by_role("link", name=MATRIX.name).click()
    # Airflow keeps JSON folded: the outer brackets, then what it cost and was estimated to cost.
    for which in (0, -1, -1):
        page.locator(".codicon-folding-collapsed").nth(which).click()
    expect(page.get_by_text("worst_case").first).to_be_visible()
    picture(page, "airflow-asset", height=900)


def test_scheduled_night_goes_green_by_itself(stack: Stack, begin: type[Night], code: Path) -> None:
    before = stack.site.served_model()
    client = until(stack.airflow.client, within=60, what="a login")
    known = set(client.run_ids(DAG))
    file = code / "nightly_retraining.py"
    was = file.read_text()
    soon = datetime.now(UTC) + timedelta(minutes=4)
    small = "form({**settings.form, 'workers': 1, 'instance_type': 'c7i.large', 'rank': 16, 'iterations': 4})"
    file.write_text(was.replace('"0 3 * * *"', f'"{soon:%M %H} * * *"').replace("form(settings.form)", small))
    try:
        [run_id] = until(lambda: set(client.run_ids(DAG)) - known, within=900, what="the scheduled run")
        night = Night(stack, client, run_id)
        assert run_id.startswith("scheduled__")
        assert night.outcome() == GOOD, night.why()
    finally:
        file.write_text(was)
    assert stack.site.served_model() != before
