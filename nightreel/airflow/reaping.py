"""Removes what has outlived its expiry, whoever left it there."""

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import BaseOperator, Context

from nightreel.airflow.hooks import Reach
from nightreel.cluster.errors import LeakError


class ReapExpired(BaseOperator):
    """Look for clusters past their expiry, stopped ones too, and remove them."""

    def __init__(self, *, aws_conn_id: str = "nightreel_aws", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> dict[str, int]:
        """How many clusters are there, were removed and were spared. LeakError when one could not be removed."""
        from nightreel.cluster.reap import reap, survey

        ec2 = Reach(self.aws_conn_id, "", run="").ec2()
        now = datetime.now(UTC)
        found = survey(ec2, now)
        for one in found:
            late = "expired" if one.expired else f"expires at {one.expires_at}"
            self.log.info("%s: %s, %s", one.name, one.state, late)
        done = reap(ec2, now=now)
        for ended in done:
            self.log.info("%s: %s", ended.name, ended.error or ended.spared or "removed; nothing of it is left")
        if failed := [ended for ended in done if ended.error]:
            raise LeakError("; ".join(f"{one.name} could not be removed: {one.error}" for one in failed))
        if not done:
            self.log.info("nothing has outlived its expiry")
        return {
            "found": len(found),
            "removed": sum(ended.destruction is not None for ended in done),
            "spared": sum(ended.spared is not None for ended in done),
        }
