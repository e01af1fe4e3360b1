"""What one run is going to do, fixed once and deterministic for the run."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from airflow.sdk import BaseOperator, Context, Variable

from nightreel.airflow.params import ASK, LAST_WINNER, SEARCHED, job_arguments
from nightreel.airflow.settings import Settings
from nightreel.cluster.spec import Choice, ClusterSpec
from nightreel.cluster.tags import format_time, parse_time

RATINGS = "nightreel_ratings"
ARTIFACTS = "nightreel_artifacts"
WINNER = "last-winner.json"
"""In the folder of artifacts: what the last search found and was published with, for the nights after it."""
_OPTIONAL = {
    "ami": "nightreel_ami",
    "subnet": "nightreel_subnet",
    "operator_cidr": "nightreel_operator_cidr",
    "wheelhouse": "nightreel_wheelhouse",
}


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """Everything that the tasks of a run need to know; it travels between them as JSON."""

    cluster: str
    """The cluster's name, which also names the run's job and folder and is what its keys are derived for."""
    workers: int
    instance_type: str
    expires_at: str
    ratings: str
    bundle: str
    arguments: list[str]
    publish: bool
    override_gate: bool = False
    ami: str | None
    subnet: str | None
    operator_cidr: str | None
    wheelhouse: str | None
    as_of: str = ""
    """ISO 8601: the moment up to which visitors' ratings count."""
    visitors: bool = False
    ratings_per_visitor: int = 500
    skip_without_new_ratings: bool = False
    fallback_types: list[str] = field(default_factory=list)
    market: Choice = "on-demand"
    cost_cap: float | None = None
    above_cap: str = ASK
    prices: Mapping[str, Any] = field(default_factory=dict)
    archive: str | None = None
    spark: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, plan: Mapping[str, Any]) -> Self:
        """The plan that `plan` gave to the tasks behind it; what another version of this code put there is let be."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in plan.items() if name in known})

    @property
    def folder(self) -> Path:
        """Where the run keeps what it makes."""
        return Path(self.bundle).parent

    def spec(self, *, ssh_port: int) -> ClusterSpec:
        """The cluster to launch."""
        return ClusterSpec(
            name=self.cluster,
            workers=self.workers,
            expires_at=parse_time(self.expires_at),
            instance_type=self.instance_type,
            fallback_types=tuple(self.fallback_types),
            market=self.market,
            ami=self.ami,
            subnets=tuple((self.subnet or "").replace(",", " ").split()),
            operator_cidr=self.operator_cidr,
            ssh_port=ssh_port,
        )


def cluster_name(dag_id: str, run_id: str) -> str:
    """The name of a run's cluster: the same for every try of every task of it."""
    return "nightly-" + hashlib.sha256(f"{dag_id}\0{run_id}".encode()).hexdigest()[:12]


class PlanRun(BaseOperator):
    """Fix what the run is going to do. It touches nothing, so it can be run again at any time.

    It is also the teardown's second setup: a teardown whose only setup failed would not run, and a launch that fails
    half-way would leave its machines behind.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the form and the Airflow Variables; ValueError, naming the field, for what can not work."""
        params: Mapping[str, Any] = context["params"]
        settings = Settings.load()
        dag_run = context["dag_run"]
        name = cluster_name(context["dag"].dag_id, dag_run.run_id)
        lifetime = timedelta(hours=float(params["lifetime_hours"]))
        longest = longest_duration(context["dag"].tasks)
        if lifetime < longest:
            raise ValueError(
                f"lifetime_hours is {lifetime / timedelta(hours=1):g}, but with all time-outs and retries the run up "
                f"to the cluster's end may take {longest / timedelta(hours=1):.1f} h: the machines would switch "
                "themselves off under it. Give a longer lifetime."
            )
        filled = {name: value for name, value in params.items() if value is not None}
        reuse = params["hyperparameters"] == LAST_WINNER
        winner = remembered_winner(Path(_required(ARTIFACTS))) if reuse else {}
        started = dag_run.start_date or datetime.now().astimezone()
        plan = RunPlan(
            cluster=name,
            workers=int(params["workers"]),
            instance_type=params["instance_type"],
            expires_at=format_time(started + lifetime),
            ratings=_source_of_ratings(params["dataset"]),
            bundle=str(Path(_required(ARTIFACTS)) / name / "similarity.arrow"),
            arguments=["--run-id", dag_run.run_id, *job_arguments(winner | filled)],
            publish=bool(params["publish"]),
            as_of=dag_run.run_after.isoformat(),
            visitors=bool(params["visitors"]),
            ratings_per_visitor=int(settings.ratings_per_visitor),
            skip_without_new_ratings=settings.skip_without_new_ratings,
            fallback_types=list(params["fallback_types"]),
            market=params["market"],
            cost_cap=float(params["cost_cap"]),
            above_cap=params["above_cap"],
            prices=settings.prices,
            archive=settings.archive,
            spark=settings.spark,
            override_gate=bool(params["override_gate"]),
            **{field: Variable.get(variable, default=None) or None for field, variable in _OPTIONAL.items()},
        )
        plan.spec(ssh_port=22)
        self.log.info("cluster %s: 1 master + %d worker(s), %s", name, plan.workers, plan.instance_type)
        self.log.info("its machines power themselves off at %s", plan.expires_at)
        return asdict(plan)


def remembered_winner(artifacts: Path) -> dict[str, Any]:
    """What the last search found, by field of the form; nothing when there was none or the file is no such thing."""
    try:
        found = json.loads((artifacts / WINNER).read_text())
    except (OSError, ValueError):
        return {}
    return {name: found[name] for name in SEARCHED if name in found} if isinstance(found, dict) else {}


def longest_duration(tasks: Iterable[Any]) -> timedelta:
    """How long the tasks up to the end of the cluster may take together, all retries and their delays included."""
    return sum((_bound(task) for task in tasks if getattr(task, "within_lifetime", False)), timedelta())


def _bound(task: Any) -> timedelta:
    once = (task.execution_timeout or timedelta()) + (getattr(task, "job_timeout", None) or timedelta())
    waiting: timedelta = getattr(task, "response_timeout", None) or timedelta()  # once: an answer ends it either way
    delay = max(task.retry_delay, task.max_retry_delay or timedelta())
    total: timedelta = once * (task.retries + 1) + delay * task.retries + waiting
    return total


def _required(variable: str) -> str:
    value = Variable.get(variable, default=None)
    if not value:
        raise ValueError(f"the Airflow Variable {variable} is not set: it names a folder on the workers")
    return str(value)


def _source_of_ratings(given: str | None) -> str:
    source = given or _required(RATINGS)
    if not source.startswith("s3://") and not Path(source).is_dir():
        whose = "the form" if given else f"the Airflow Variable {RATINGS}"
        raise ValueError(f"{whose} names {source}, which is not a folder on this worker, nor s3://bucket/prefix")
    return source
