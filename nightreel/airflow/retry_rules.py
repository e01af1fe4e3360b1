"""Which failures are worth another try."""

from datetime import timedelta

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from nightreel.cluster import errors

CLUSTER_RULES = ExceptionRetryPolicy(
    rules=[
        RetryRule(exception=errors.RefusedError, action=RetryAction.FAIL, reason="EC2 will refuse this every time"),
        RetryRule(exception=errors.HostKeyError, action=RetryAction.FAIL, reason="a host that can not be trusted"),
        RetryRule(
            exception=errors.CapacityError,
            action=RetryAction.RETRY,
            retry_delay=timedelta(minutes=5),
            reason="EC2 has no such machine just now",
        ),
    ]
)
