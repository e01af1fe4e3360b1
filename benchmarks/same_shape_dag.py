"""A DAG of the nightly run's shape whose tasks do nothing: what Airflow itself takes for it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import DAG, BaseOperator, Context


class Nothing(BaseOperator):
    """Does nothing, in a worker of its own."""

    def execute(self, context: Context) -> None:
        """Do nothing."""


class Wait(BaseOperator):
    """Gives its worker back for nothing, and takes another one."""

    def execute(self, context: Context) -> None:
        """Defer until now."""
        self.defer(trigger=DateTimeTrigger(moment=datetime.now(UTC)), method_name="resume")

    def resume(self, context: Context, event: Any) -> None:
        """Do nothing."""


with DAG(
    dag_id="same_shape",
    schedule=None,
    max_active_runs=1,
    default_args={"retries": 2, "execution_timeout": timedelta(minutes=10)},
) as dag:
    plan, collect, approve, launch, bootstrap = (
        Nothing(task_id=name)
        for name in ("plan", "collect_ratings", "approve_cost", "launch_cluster", "bootstrap_spark")
    )
    train = Wait(task_id="train_similarity")
    fetch, gate, publish, destroy, verdict = (
        Nothing(task_id=name)
        for name in ("fetch_bundle", "quality_gate", "publish_bundle", "destroy_cluster", "verdict")
    )
    plan >> collect >> approve >> launch >> bootstrap >> train >> fetch >> [destroy, gate]
    gate >> publish
    # What these two find out is handed to the steps behind them.
    plan >> [approve, launch, bootstrap, train, fetch, gate, publish, destroy]
    collect >> [bootstrap, train]
    destroy.as_teardown(setups=[plan, launch, bootstrap], on_failure_fail_dagrun=True)
    [destroy, publish] >> verdict.as_teardown(setups=plan, on_failure_fail_dagrun=True)
