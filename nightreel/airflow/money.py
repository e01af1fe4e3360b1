"""Money: what a night may cost, somebody's word when that is above the cap, and what it has cost."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from nightreel.airflow.hooks import Reach
from nightreel.airflow.params import REFUSE
from nightreel.airflow.plan import RunPlan
from nightreel.bundle.reports import report_path
from nightreel.cluster.errors import RefusedError
from nightreel.cluster.spec import ClusterSpec

if TYPE_CHECKING:
    from nightreel.bundle.reader import Bundle
    from nightreel.cluster.cost import Estimate, Prices
    from nightreel.cluster.ec2 import Node

ESTIMATE = "estimate"
"""Key under which the estimate lies, for the tasks behind."""
RECORD = "cost.json"


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
        from nightreel.cluster import cost

        plan = RunPlan.from_json(self.plan)
        spec = plan.spec(ssh_port=22)
        estimate = cost.estimate(spec, Reach(self.aws_conn_id, "", run=plan.cluster).prices(plan.prices))
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


def as_plain(estimate: "Estimate") -> dict[str, Any]:
    """The estimate, ready for JSON: USD per hour, hours, USD in the worst case."""
    facts = {"hourly": estimate.hourly, "hours": estimate.hours, "worst_case": estimate.worst_case}
    return {name: None if fact is None else round(fact, 6) for name, fact in facts.items()}


def in_words(estimate: "Estimate") -> list[str]:
    """The estimate line by line."""
    lines = [f"{line.count} × {line.what}: {_dollars(line.hourly)} per hour" for line in estimate.lines]
    return [
        *lines,
        f"estimate: {_dollars(estimate.hourly)} per hour, worst case {_dollars(estimate.worst_case)} in the "
        f"{estimate.hours:.1f} h to the expiry",
    ]


def _dollars(amount: float | None) -> str:
    return "an unknown price" if amount is None else f"${amount:.4f}" if amount < 1 else f"${amount:.2f}"


def meter(folder: Path, nodes: "Iterable[Node]", prices: "Prices") -> dict[str, Any]:
    """Note what these machines of the run have cost so far, beside those noted before; the sums.

    EC2 forgets a terminated machine after an hour, and a run that is cleared launches others: what was noted stays.
    """
    from nightreel.cluster import cost

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


def write_run_report(bundle: "Bundle", estimate: Mapping[str, Any] | None) -> Path:
    """The report on a run's bundle, with what was estimated before and what was metered up to now; where it lies."""
    from nightreel.recommend.report import CostLine, write_report

    target, folder = report_path(bundle.path), bundle.path.parent
    costs = [
        CostLine(what=line["what"], hours=line["hours"], cost=line["cost"]) for line in _read(folder / RECORD).values()
    ]
    until = "to its end" if summed(folder)["final"] else "to the moment when the bundle was fetched"
    before = (
        f"Before the launch it was estimated at {_dollars(estimate['hourly'])} per hour and at most "
        f"{_dollars(estimate['worst_case'])}. "
        if estimate
        else ""
    )
    note = f"{before}Metered from each machine's launch {until}, in US dollars without tax; traffic is not in it."
    write_report(bundle, target, costs=costs, cost_note=note)
    return target


def _read(record: Path) -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = json.loads(record.read_text())
    except FileNotFoundError:
        return {}
    return found
