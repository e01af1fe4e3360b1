"""Money: what a night may cost, somebody's word when that is above the cap, and what it has cost."""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from nightreel.airflow.params import REFUSE
from nightreel.airflow.plan import RunPlan
from nightreel.cluster import cost
from nightreel.cluster.cost import Estimate, Prices
from nightreel.cluster.ec2 import Node
from nightreel.cluster.errors import ClusterError, RefusedError
from nightreel.cluster.spec import ClusterSpec, Market

ESTIMATE = "estimate"
"""Key under which the estimate lies, for the tasks behind."""
RECORD = "cost.json"

log = logging.getLogger(__name__)


class OperatorsPrices:
    """The operator's own prices first, then AWS's by Airflow's connection; not knowing one is no failure."""

    def __init__(self, given: Mapping[str, Any], *, aws_conn_id: str) -> None:
        self._given = cost.fixed_prices(given)
        self._aws_conn_id = aws_conn_id
        self._aws: Prices | None = None
        self._silent = False

    def hourly(self, instance_type: str, market: Market) -> float | None:
        """USD per hour of one machine; None where nobody tells."""
        own = self._given.hourly(instance_type, market)
        if own is not None or self._silent:
            return own
        try:
            if self._aws is None:
                # Of a boto3 session nothing but `client` is asked.
                self._aws = cost.aws_prices(_Clients(self._aws_conn_id), _region(self._aws_conn_id))  # type: ignore[arg-type]
            return self._aws.hourly(instance_type, market)
        except ClusterError as error:
            # Whoever can not be asked of one price can not be asked of the next.
            self._silent = True
            log.warning("AWS tells no prices (%s): give them as `prices` in the Airflow Variable", error)
            return None


class _Clients:
    """Stands for a boto3 session: clients with the credentials, role and endpoint of Airflow's connection."""

    def __init__(self, aws_conn_id: str) -> None:
        self._aws_conn_id = aws_conn_id

    def client(self, service: str, *, region_name: str) -> Any:
        return AwsBaseHook(aws_conn_id=self._aws_conn_id, client_type=service, region_name=region_name).conn


def _region(aws_conn_id: str) -> str:
    client: Any = AwsBaseHook(aws_conn_id=aws_conn_id, client_type="ec2").conn
    return str(client.meta.region_name)


class ApproveCost(ApprovalOperator):
    """Say what the run may cost. Within the cap it goes on; above it, it waits for somebody's word, or is refused.

    Nothing is launched before this has succeeded.
    """

    template_fields = ("subject", "body", "plan")
    within_lifetime = True

    def __init__(
        self, *, plan: Any, response_timeout: timedelta, aws_conn_id: str = "nightreel_aws", **kwargs: Any
    ) -> None:
        super().__init__(subject="", response_timeout=response_timeout, fail_on_reject=True, **kwargs)
        self.plan = plan
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> Any:
        """The estimate; AirflowFailException above the cap when the run is not to ask."""
        plan = RunPlan.from_json(self.plan)
        spec = plan.spec(ssh_port=22)
        estimate = cost.estimate(spec, OperatorsPrices(plan.prices, aws_conn_id=self.aws_conn_id))
        facts = as_plain(estimate)
        context["ti"].xcom_push(key=ESTIMATE, value=facts)
        for line in in_words(estimate):
            self.log.info("%s", line)
        try:
            cost.require_within(estimate, plan.cost_cap)
        except RefusedError as error:
            if plan.above_cap == REFUSE:
                raise AirflowFailException(str(error)) from error
            self.log.warning("%s", error)
            self.subject = f"{spec.name} could cost {_dollars(estimate.worst_case)}, the cap is ${plan.cost_cap:.2f}"
            self.body = "\n".join(
                [
                    f"{error}.",
                    "",
                    *(f"- {line}" for line in in_words(estimate)),
                    "",
                    "Approve it to launch all the same.",
                ]
            )
            return super().execute(context)
        self.log.info("within the cap of $%.2f", plan.cost_cap)
        return facts

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on when it was approved; AirflowFailException when it was rejected, or when nobody answered in time."""
        if event.get("error_type") == "timeout":
            raise AirflowFailException(
                f"nobody approved the run within {self.response_timeout}: nothing was launched. Trigger it again with "
                "a higher cost_cap, or with fewer or smaller machines"
            )
        if event.get("chosen_options") == [self.REJECT]:
            raise AirflowFailException(f"{_who(event)} rejected the run: nothing was launched")
        answer = super().execute_complete(context, event)
        self.log.info("%s approved the run", _who(event))
        return answer


def _who(event: Mapping[str, Any]) -> str:
    user = event.get("responded_by_user")
    name = user.get("name") if isinstance(user, Mapping) else getattr(user, "name", None)
    return str(name or "somebody")


def as_plain(estimate: Estimate) -> dict[str, Any]:
    """The estimate, ready for JSON: USD per hour, hours, USD in the worst case."""
    return {"hourly": estimate.hourly, "hours": estimate.hours, "worst_case": estimate.worst_case}


def in_words(estimate: Estimate) -> list[str]:
    """The estimate line by line."""
    lines = [f"{line.count} × {line.what}: {_dollars(line.hourly)} per hour" for line in estimate.lines]
    return [
        *lines,
        f"estimate: {_dollars(estimate.hourly)} per hour, worst case {_dollars(estimate.worst_case)} in the "
        f"{estimate.hours:.1f} h to the expiry",
    ]


def _dollars(amount: float | None) -> str:
    return "an unknown price" if amount is None else f"${amount:.4f}" if amount < 1 else f"${amount:.2f}"


def meter(folder: Path, nodes: Iterable[Node], prices: Prices) -> dict[str, Any]:
    """Note what these machines of the run have cost so far, beside those noted before; the sums.

    EC2 forgets a terminated machine after an hour, and a run that is cleared launches others: what was noted stays.
    """
    record = folder / RECORD
    noted = _read(record)
    now = datetime.now(UTC)
    for line in cost.metered(nodes, prices, now, volume_gb=ClusterSpec.volume_gb).lines:
        noted[line.instance_id] = asdict(line)
    folder.mkdir(parents=True, exist_ok=True)
    part = record.with_name(record.name + ".part")
    part.write_text(json.dumps(noted, indent=1))
    part.replace(record)
    return summed(folder)


def summed(folder: Path) -> dict[str, Any]:
    """What a run has cost by its record: USD (None where a price is unknown), machines, machine seconds, final."""
    lines = list(_read(folder / RECORD).values())
    unknown = any(line["cost"] is None for line in lines)
    return {
        "usd": None if unknown else round(sum(line["cost"] for line in lines), 6),
        "machines": len(lines),
        "machine_seconds": round(sum(line["hours"] for line in lines) * 3600),
        "final": bool(lines) and not any(line["running"] for line in lines),
    }


def _read(record: Path) -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = json.loads(record.read_text())
    except FileNotFoundError:
        return {}
    return found
