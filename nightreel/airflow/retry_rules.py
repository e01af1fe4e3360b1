"""Which failures are worth another try."""

import os
from datetime import timedelta

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from nightreel.bundle.errors import BundleError, PublishRefusedError
from nightreel.cluster import errors
from nightreel.recommend.errors import DatasetError

CAPACITY_DELAY = timedelta(seconds=float(os.environ.get("NIGHTREEL_CAPACITY_DELAY", "300")))

CLUSTER_RULES = ExceptionRetryPolicy(
    rules=[
        RetryRule(exception=errors.RefusedError, action=RetryAction.FAIL, reason="EC2 will refuse this every time"),
        RetryRule(exception=errors.HostKeyError, action=RetryAction.FAIL, reason="a host that can not be trusted"),
        RetryRule(
            exception=errors.NoClusterError,
            action=RetryAction.FAIL,
            reason="the cluster is gone: clear launch_cluster with everything downstream",
        ),
        RetryRule(
            exception=PublishRefusedError, action=RetryAction.FAIL, reason="the site will refuse this every time"
        ),
        RetryRule(
            exception=[BundleError, DatasetError, FileNotFoundError],
            action=RetryAction.FAIL,
            reason="the same files would be as wrong again",
        ),
        RetryRule(
            exception=errors.CapacityError,
            action=RetryAction.RETRY,
            retry_delay=CAPACITY_DELAY,
            reason="EC2 has no such machine just now",
        ),
    ]
)

PLAN_RULES = ExceptionRetryPolicy(
    rules=[RetryRule(exception=ValueError, action=RetryAction.FAIL, reason="the settings would be as wrong again")]
)
