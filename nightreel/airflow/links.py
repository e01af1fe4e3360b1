"""Buttons on a task's page, to where one looks next."""

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink, Context

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

UI_PORT = 4040
"""Where Spark's driver shows a job, on the master."""


class _Link(BaseOperatorLink):
    """A link whose address the operator knows, as `addresses[name]`; none where it gives none."""

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        """The address; Airflow asks for it when the task has ended."""
        addresses: dict[str, str] = getattr(operator, "addresses", {})
        return addresses.get(self.name, "")


class Ec2Console(_Link):
    """The run's machines in EC2's console."""

    name = "EC2 console"

    @staticmethod
    def of(cluster: str, *, region: str) -> str:
        """The address for this cluster."""
        base = f"https://{region}.console.aws.amazon.com/ec2/home?region={region}"
        return f"{base}#Instances:tag:nightreel:cluster={cluster}"


class SparkUi(_Link):
    """Spark's pages of the running job, through the tunnel whose command stands in the task's log."""

    name = "Spark UI (open the tunnel in the log first)"

    @staticmethod
    def here() -> str:
        """The near end of the tunnel."""
        return f"http://127.0.0.1:{UI_PORT}"

    @staticmethod
    def tunnel(cluster: str) -> str:
        """The command that opens the tunnel."""
        return f"nightreel login {cluster} --forward {UI_PORT}"


class ModelPage(_Link):
    """What the site says of its model."""

    name = "Model page"


class Report(_Link):
    """The report on the model: the site's page for its staff, or before that the bucket in which runs are archived."""

    name = "Report"


class LogArchive(_Link):
    """The logs of the machines, where runs are archived in a bucket."""

    name = "Log archive"


def show(operator: Any, context: Context) -> None:
    """Let the links be there while the task still runs or waits; by itself Airflow makes them at its end."""
    for link in operator.operator_extra_links:
        if address := operator.addresses.get(link.name):
            context["ti"].xcom_push(key=link.xcom_key, value=address)
