"""What people do in the middle of a night, and what they find when they come in the morning."""

import re
from pathlib import Path

import pytest

from nightreel.airflow.assets import CLUSTER, MATRIX, RATINGS
from nightreel.cli.demo import DAG, Stack
from tests.night.night import BUCKET, Night, Outcome, Webhook, client_of, until

pytestmark = [pytest.mark.night, pytest.mark.sandbox, pytest.mark.spark, pytest.mark.timeout(1800)]
GOOD = Outcome(colour="success", left=0, spark_runs=1)


def test_good_night_tells_all_that_it_did(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    night = begin.begin(stack, seed=21)
    night.reach_spark()
    assert "console.aws.amazon.com" in str(night.links("train_similarity")["EC2 console"])
    assert night.outcome() == GOOD, night.why()
    assert set(night.states().values()) == {"success"}
    assert stack.site.served_model() != before
    log = night.log("train_similarity")
    assert re.search(r"ALS: iteration \d+ of 4 on 2 × 2 blocks", log)
    assert night.links("publish_bundle") == {
        "Model page": f"{stack.site.url}/model/",
        "Report": f"{stack.site.url}/staff/models/{stack.site.served_model()}/report/",
    }
    assert f"runs/{night.cluster}" in str(night.links("quality_gate")["Report"])
    assert f"runs/{night.cluster}" in str(night.links("destroy_cluster")["Log archive"])
    assert {"similarity.arrow", "similarity.report.html", "cost.json"} <= set(night.archived())
    assert any(name.startswith("logs/") for name in night.archived())
    assert "visitors.csv" not in night.archived()
    ratings, matrix, cluster = (night.said_with(asset.name) for asset in (RATINGS, MATRIX, CLUSTER))
    assert ratings["visitor_ratings"] == 0
    assert (matrix["sha256"], matrix["estimate"]["worst_case"] > 0) == (stack.site.served_model(), True)
    assert (cluster["cost"]["machines"], cluster["cost"]["final"], cluster["cost"]["usd"] > 0) == (2, True, True)


@pytest.mark.parametrize("state", ["failed", "success"])
def test_run_marked_in_mid_training(stack: Stack, begin: type[Night], state: str) -> None:
    before = stack.site.served_model()
    night = begin.begin(stack, seed=22)
    night.reach_spark()
    night.mark(state)
    # Red either way: no model came of it.
    assert night.outcome() == Outcome(colour="failed", left=0, spark_runs=1), night.why()
    assert (night.job_runs(), night.states()["destroy_cluster"]) == (False, "success")
    assert stack.site.served_model() == before


def test_two_runs_triggered_at_once(stack: Stack, begin: type[Night]) -> None:
    first, second = begin.begin(stack, seed=23), begin.begin(stack, seed=24)
    first.reach_spark()
    assert second.nodes() == []
    assert (first.outcome(), second.outcome()) == (GOOD, GOOD)


def test_dag_file_upgraded_in_mid_run(stack: Stack, begin: type[Night], code: Path) -> None:
    before = stack.site.served_model()
    night = begin.begin(stack, seed=25)
    night.reach_spark()
    file = code / "nightly_retraining.py"
    was = file.read_text()
    version = night.client.versions(DAG)
    file.write_text(was.replace("retries=5", "retries=6"))
    try:
        until(lambda: night.client.versions(DAG) != version, within=300, what="the new version of the DAG")
        assert night.outcome() == GOOD, night.why()
    finally:
        file.write_text(was)
    assert stack.site.served_model() != before


def test_deadline_missed(stack: Stack, begin: type[Night], code: Path, webhook: Webhook) -> None:
    file = code / "nightly_retraining.py"
    was = file.read_text()
    client = stack.airflow.client()
    version = client.versions(DAG)
    file.write_text(was.replace("interval=settings.publish_within", "interval=timedelta(seconds=1)"))
    try:
        until(lambda: client.versions(DAG) != version, within=300, what="the new version")
        night = begin.begin(stack, seed=26)
        assert night.outcome() == GOOD
        until(lambda: _heard(webhook, night, "by its deadline"), within=120, what="word of the deadline")
    finally:
        file.write_text(was)


def test_ratings_lie_in_a_bucket(stack: Stack, begin: type[Night], ratings: Path) -> None:
    before = stack.site.served_model()
    s3 = client_of(stack, "s3")
    for file in ratings.iterdir():
        s3.upload_file(str(file), BUCKET, f"ratings/{file.name}")
    night = begin.begin(stack, dataset=f"s3://{BUCKET}/ratings", seed=29)
    assert night.outcome() == GOOD, night.why()
    assert stack.site.served_model() != before


def test_run_above_the_cap_is_not_approved(stack: Stack, begin: type[Night], webhook: Webhook) -> None:
    before = stack.site.served_model()
    night = begin.begin(stack, cost_cap=0.01)
    night.reach("approve_cost", "awaiting_input")
    assert night.outcome() == Outcome(colour="failed", left=0, spark_runs=0)
    assert (night.nodes(), stack.site.served_model()) == ([], before)
    assert "nobody approved the run" in night.log("approve_cost")
    until(lambda: _heard(webhook, night, "failed"), within=120, what="word of the failure")


def test_run_above_the_cap_is_approved(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    night = begin.begin(stack, cost_cap=0.01, seed=27)
    night.reach("approve_cost", "awaiting_input")
    night.approve()
    assert night.outcome() == GOOD
    assert stack.site.served_model() != before


def test_run_above_the_cap_is_refused_at_once(stack: Stack, begin: type[Night]) -> None:
    night = begin.begin(stack, cost_cap=0.01, above_cap="refuse")
    assert night.outcome() == Outcome(colour="failed", left=0, spark_runs=0)
    assert (night.nodes(), night.tries("approve_cost")) == ([], 1)


def test_dry_run_leaves_the_site_alone(stack: Stack, begin: type[Night]) -> None:
    before = stack.site.served_model()
    night = begin.begin(stack, publish=False, seed=28)
    assert night.outcome() == GOOD
    assert (night.states()["publish_bundle"], stack.site.served_model()) == ("skipped", before)


def _heard(webhook: Webhook, night: Night, words: str) -> bool:
    return any(night.run_id in note["text"] and words in note["text"] for note in list(webhook.heard))
