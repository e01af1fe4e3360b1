"""What an operator does in a browser: fill in the form, press Trigger, see it go green; and a run by schedule."""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

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


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.wait_for_load_state("networkidle")
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))


def test_form_filled_in_and_triggered_in_a_browser(stack: Stack, begin: type[Night], page: Page) -> None:
    before = stack.site.served_model()
    client = stack.airflow.client()
    known = set(client.run_ids(DAG))
    page.goto(f"{stack.airflow.url}/dags/{DAG}")
    page.get_by_role("button", name="Trigger").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Training").click()
    dialog.locator("[id='element_rank']").fill("16")
    dialog.locator("[id='element_iterations']").fill("4")
    dialog.get_by_role("button", name="Machines").click()
    dialog.locator("[id='element_workers']").fill("1")
    dialog.locator("[id='element_instance_type']").fill("c7i.large")
    picture(page, "airflow-form")
    dialog.get_by_role("button", name="Trigger").click()
    [run_id] = until(lambda: set(client.run_ids(DAG)) - known, within=120, what="the run")
    night = Night(stack, client, run_id)
    night.reach_spark()
    page.goto(f"{stack.airflow.url}/dags/{DAG}/runs/{run_id}/tasks/train_similarity?tab=logs")
    expect(page.get_by_text(re.compile(r"ALS: iteration|read [\d,]+ ratings")).first).to_be_visible(timeout=300_000)
    picture(page, "airflow-log")
    assert night.outcome() == GOOD, night.why()
    assert stack.site.served_model() != before
    for path, name in ((f"/dags/{DAG}/runs/{run_id}", "airflow-grid"), ("/assets", "airflow-assets")):
        page.goto(stack.airflow.url + path)
        picture(page, name)


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
