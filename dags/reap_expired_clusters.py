"""Remove every cluster that has outlived its expiry.

**reap** looks for what carries our tag and is past its expiry: stopped clusters, volumes and security groups without a
machine, and machines whose own timer did not work. It is the last of the nets below a night whose teardown failed, or
that was paused in the middle. It finds things by tag and knows no run; running it at any time is harmless.

Outside of Airflow, `nightreel reap --yes` does the same from cron.
"""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from nightreel.airflow.notify import RunFailed
from nightreel.airflow.reaping import ReapExpired

with DAG(
    dag_id="reap_expired_clusters",
    description="Remove what has outlived its expiry, whoever left it there",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("23 * * * *", timezone="UTC", run_immediately=timedelta(seconds=1)),
    catchup=False,
    max_active_runs=1,
    on_failure_callback=RunFailed(),
    tags=["nightreel"],
) as dag:
    ReapExpired(task_id="reap", retries=3, retry_delay=timedelta(minutes=1), execution_timeout=timedelta(minutes=20))
