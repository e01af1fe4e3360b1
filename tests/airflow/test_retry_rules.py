import pytest
from airflow.sdk import RetryAction

from nightreel.airflow.retry_rules import CLUSTER_RULES
from nightreel.bundle.errors import BundleError, PublishError, PublishRefusedError
from nightreel.cluster import errors


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (errors.RefusedError("quota"), RetryAction.FAIL),
        (errors.HostKeyError("stranger"), RetryAction.FAIL),
        (errors.NoClusterError("gone"), RetryAction.FAIL),
        (PublishRefusedError("old token"), RetryAction.FAIL),
        (PublishError("away"), RetryAction.DEFAULT),
        (BundleError("damaged"), RetryAction.FAIL),
        (errors.CapacityError("none left"), RetryAction.RETRY),
        (errors.BootstrapError("disk"), RetryAction.DEFAULT),
        (OSError("cut"), RetryAction.DEFAULT),
    ],
)
def test_failures_are_retried_by_kind(error: Exception, action: RetryAction) -> None:
    assert CLUSTER_RULES.evaluate(error, try_number=1, max_tries=3).action is action
