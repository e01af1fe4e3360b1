"""Retrain the movie similarity matrix on an ephemeral Spark cluster and publish it.

**plan** fixes what the run does. **collect_ratings** brings the ratings here: the base data and what the site's
visitors have rated. **approve_cost** says what the run may cost, and above the cap waits for somebody to approve it.
**launch_cluster** brings up EC2 machines, **bootstrap_spark** ships code and ratings to them and starts Spark,
**train_similarity** runs the ALS job there (deferred: it holds no worker) and **fetch_bundle** brings the one artifact
back. Then the cluster is destroyed, while **quality_gate** judges the new model and **publish_bundle** makes the site
serve it.

- Every task may be retried or cleared: launch adopts what is there, the job is re-attached, an upload that was made
  already changes nothing.
- **destroy_cluster** always runs and proves that nothing is left; besides, every machine powers itself off at its
  expiry.
- **verdict** makes the run's colour tell the truth: green only if every task ended as it should.
- To publish a fetched bundle again, clear **publish_bundle** alone. To train again after the cluster is gone, clear
  **launch_cluster** with everything downstream.
"""

import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, CronTriggerTimetable
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from nightreel.airflow.collect import CollectRatings
from nightreel.airflow.money import ApproveCost
from nightreel.airflow.notify import GateRefused, RunFailed, deadline_missed
from nightreel.airflow.operators import BootstrapSpark, DestroyCluster, FetchBundle, LaunchCluster, TrainSimilarity
from nightreel.airflow.params import form
from nightreel.airflow.plan import PlanRun
from nightreel.airflow.publishing import PublishBundle, QualityGate, Verdict
from nightreel.airflow.retry_rules import CLUSTER_RULES, PLAN_RULES
from nightreel.airflow.settings import Settings

JOBS = Path(__file__).resolve().parent.parent / "spark_jobs"
RETRY_DELAY = timedelta(seconds=float(os.environ.get("NIGHTREEL_RETRY_DELAY", "30")))
settings = Settings.load()

with DAG(
    dag_id="nightly_retraining",
    description="Train on an ephemeral Spark cluster, publish to the site, leave nothing behind",
    doc_md=__doc__,
    # No start date and next to no grace for a night that has passed: setting it up launches nothing.
    schedule=CronTriggerTimetable("0 3 * * *", timezone="UTC", run_immediately=timedelta(seconds=1)),
    catchup=False,
    max_active_runs=1,
    params=form(settings.form),
    tags=["nightreel"],
    on_failure_callback=RunFailed(),
    deadline=DeadlineAlert(
        # Not DAGRUN_QUEUED_AT: with it Airflow 3.3 refuses to clear a task (apache/airflow#70368). So a run that is
        # triggered without a logical date has no deadline.
        reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
        interval=settings.publish_within,
        callback=AsyncCallback(deadline_missed),
    ),
    default_args={
        "retries": 2,
        "retry_delay": RETRY_DELAY,
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(minutes=10),
        "retry_policy": CLUSTER_RULES,
    },
) as dag:
    # No dagrun_timeout: it would skip the teardown and leak the cluster.
    plan = PlanRun(task_id="plan", retry_policy=PLAN_RULES)
    collect = CollectRatings(task_id="collect_ratings", plan=plan.output)
    approve = ApproveCost(task_id="approve_cost", plan=plan.output, response_timeout=settings.approval)
    launch = LaunchCluster(task_id="launch_cluster", plan=plan.output, retries=4)
    bootstrap = BootstrapSpark(
        task_id="bootstrap_spark", plan=plan.output, collected=collect.output, job_folder=str(JOBS)
    )
    train = TrainSimilarity(
        task_id="train_similarity",
        plan=plan.output,
        collected=collect.output,
        retries=1,
        job_timeout=timedelta(minutes=60),
    )
    fetch = FetchBundle(task_id="fetch_bundle", plan=plan.output)
    gate = QualityGate(task_id="quality_gate", plan=plan.output, on_failure_callback=GateRefused())
    publish = PublishBundle(task_id="publish_bundle", plan=plan.output)
    destroy = DestroyCluster(task_id="destroy_cluster", plan=plan.output, retries=5)
    verdict = Verdict(task_id="verdict", may_skip=[collect.task_id, publish.task_id])

    plan >> collect >> approve >> launch >> bootstrap >> train >> fetch >> [destroy, gate]
    gate >> publish
    # `plan` can not fail half-way, so the teardown runs even when the launch does.
    destroy.as_teardown(setups=[plan, launch, bootstrap], on_failure_fail_dagrun=True)
    [destroy, publish] >> verdict.as_teardown(setups=plan, on_failure_fail_dagrun=True)
