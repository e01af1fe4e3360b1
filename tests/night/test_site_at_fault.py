"""The site is away, refuses, or has the better model: the cluster goes, the old model serves, nothing is lost."""

from dataclasses import replace
from pathlib import Path

import pytest

from nightreel.bundle.publish import publish
from nightreel.bundle.reader import open_bundle
from nightreel.cli.demo import Stack
from tests.night.better_bundle import better_than
from tests.night.night import Night, Outcome, Webhook, until

pytestmark = [pytest.mark.night, pytest.mark.sandbox, pytest.mark.spark, pytest.mark.timeout(1800)]
GOOD = Outcome(colour="success", left=0, spark_runs=1)
RED = Outcome(colour="failed", left=0, spark_runs=1)


def test_site_down_during_publish(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    night = begin.begin(stack, seed=31)
    night.reach("fetch_bundle", "running", "success")
    site = stack.services.kill("site")
    night.reach("quality_gate", "up_for_retry")
    stack.services.start(site)
    assert night.outcome() == GOOD, night.why()
    assert stack.site.served_model() != before


def test_site_down_for_good_then_published_alone(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    night = begin.begin(stack, seed=32)
    night.reach("fetch_bundle", "running", "success")
    site = stack.services.kill("site")
    assert night.outcome() == RED, night.why()
    stack.services.start(site)
    until(lambda: stack.site.served_model() == before, within=120, what="the site with its old model")
    machines = night.machines()
    night.clear("quality_gate")
    night.begins_again()
    assert (night.end(), night.machines()) == ("success", machines), night.why()
    assert stack.site.served_model() != before


def test_token_expired(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    night = begin.begin(stack, seed=33)
    night.reach("fetch_bundle", "running", "success")
    site = stack.services.kill("site")
    stack.services.start(replace(site, environment={**site.environment, "NIGHTREEL_SITE_TOKEN": "another" * 5}))
    assert night.outcome() == RED, night.why()
    assert (night.tries("publish_bundle"), stack.site.served_model()) == (1, before)
    stack.services.kill("site")
    stack.services.start(site)
    assert "nothing has to be trained anew" in night.log("publish_bundle")


@pytest.mark.usefixtures("first_model")
def test_gate_says_no(stack: Stack, begin: type[Night], webhook: Webhook, tmp_path: Path) -> None:
    [newest, *_] = sorted(
        (stack.airflow.home.parent / "bundles").glob("*/similarity.arrow"), key=lambda path: -path.stat().st_mtime
    )
    better = better_than(newest, tmp_path / "better.arrow")
    publish(better, server=stack.site.url, token=stack.site.token)
    served = stack.site.served_model()
    # Only models that the same users judged are compared, and the seed says which.
    night = begin.begin(stack, seed=open_bundle(newest).metadata.parameters["seed"])
    assert night.outcome() == RED
    assert (night.states()["quality_gate"], night.states()["publish_bundle"]) == ("failed", "upstream_failed")
    assert (night.tries("quality_gate"), stack.site.served_model()) == (1, served)
    assert night.own_lines("quality_gate")[0].startswith("Refused: NDCG@10 fell by")
    until(lambda: any("fell by" in note["text"] for note in list(webhook.heard)), within=60, what="word of the gate")
    publish(newest, server=stack.site.url, token=stack.site.token)
