"""The steps behind the cluster: judge the new bundle, publish it, and say how the run went."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseOperatorLink, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from nightreel.airflow import links
from nightreel.airflow.assets import MATRIX
from nightreel.airflow.hooks import Reach, Site
from nightreel.airflow.money import ESTIMATE, summed
from nightreel.airflow.params import last_winner
from nightreel.airflow.plan import WINNER, RunPlan
from nightreel.airflow.storage import Bucket

if TYPE_CHECKING:
    from nightreel.bundle.schema import BundleMetadata

SITE = "nightreel_site"
ON_PURPOSE = "skipped_on_purpose"
"""Key under which a task says why it skipped itself. Airflow skips tasks too, when somebody ends the run."""


class SiteOperator(BaseOperator):
    """A step that takes the run's bundle to the site."""

    template_fields: Sequence[str] = ("plan",)
    operator_extra_links: Collection[BaseOperatorLink] = (links.ModelPage(), links.Report())

    def __init__(
        self, *, plan: Any, site_conn_id: str = SITE, aws_conn_id: str = "nightreel_aws", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.site_conn_id = site_conn_id
        self.aws_conn_id = aws_conn_id

    @property
    def archive(self) -> Bucket | None:
        """Where the run is kept besides; None where the operator named no bucket."""
        plan = RunPlan.from_json(self.plan)
        return Bucket(f"{plan.archive.rstrip('/')}/{plan.cluster}", self.aws_conn_id) if plan.archive else None

    @property
    def addresses(self) -> dict[str, str]:
        """Where the buttons on the task's page lead."""
        site = Site.of_connection(self.site_conn_id).server
        found = {links.ModelPage.name: f"{site}/model/"}
        if archive := self.archive:
            region = Reach(self.aws_conn_id, "", run="").region()
            found[links.Report.name] = archive.console(region)
        return found


class QualityGate(SiteOperator):
    """Refuse a model that is worse than a baseline or than the one that is served, or whose input looks wrong."""

    def execute(self, context: Context) -> str:
        """The gate's sentence. AirflowFailException when it says no: trying again would not change its mind."""
        from nightreel.bundle.publish import fetch_published
        from nightreel.bundle.reader import open_bundle
        from nightreel.recommend.gate import judge

        plan = RunPlan.from_json(self.plan)
        published = fetch_published(server=Site.of_connection(self.site_conn_id).server)
        candidate = open_bundle(plan.bundle).metadata
        verdict = judge(candidate, published, override=plan.override_gate)
        # The reason comes first: it is what somebody who opens the log of a red gate wants to know.
        self.log.log(20 if verdict.passed else 40, "%s", verdict.reason)
        self._keep(plan.folder)
        if not verdict.passed:
            raise AirflowFailException(verdict.reason)
        return verdict.reason

    def _keep(self, folder: Path) -> None:
        """Put bundle, report and cost into the bucket, where one is named; it is no reason to fail."""
        archive = self.archive
        if archive is None:
            return
        try:
            count = archive.upload(folder, [file for file in folder.iterdir() if file.suffix in _KEPT])
        except Exception:
            self.log.exception("the bundle could not be kept in %s", archive.address)
        else:
            self.log.info("%d file(s) are kept in %s", count, archive.address)


_KEPT = (".arrow", ".html", ".json")
"""What of a run's folder is kept in the bucket; the visitors' ratings are not."""


class PublishBundle(SiteOperator):
    """Send the bundle to the site and make it the one that is served."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(outlets=[MATRIX], **kwargs)
        self.published: str | None = None
        """The bundle's SHA-256, once the site serves it."""

    @property
    def addresses(self) -> dict[str, str]:
        """Where the buttons on the task's page lead: the report that went along is for the site's staff."""
        found = super().addresses
        if self.published:
            site = Site.of_connection(self.site_conn_id).server
            found[links.Report.name] = f"{site}/staff/models/{self.published}/report/"
        return found

    def execute(self, context: Context) -> str:
        """The published bundle's SHA-256; skipped for a dry run. Raises PublishError."""
        plan = RunPlan.from_json(self.plan)
        if not plan.publish:
            context["ti"].xcom_push(key=ON_PURPOSE, value="a dry run")
            raise AirflowSkipException(f"a dry run: the bundle stays at {plan.bundle}")
        from nightreel.bundle.publish import publish
        from nightreel.bundle.reader import open_bundle

        site = Site.of_connection(self.site_conn_id)
        done = publish(plan.bundle, server=site.server, token=site.token)
        self.published = done.sha256
        remember_winner(Path(plan.bundle))
        self.log.info("%s serves %s (%d movies); before: %s", site.server, done.sha256, done.movies, done.previous)
        context["outlet_events"][MATRIX].extra = {
            "run": context["dag_run"].run_id,
            "sha256": done.sha256,
            "movies": done.movies,
            "bytes": Path(plan.bundle).stat().st_size,
            "quality": quality(open_bundle(plan.bundle).metadata),
            "estimate": context["ti"].xcom_pull(task_ids="approve_cost", key=ESTIMATE),
            "cost": summed(plan.folder),
        }
        return done.sha256


def quality(metadata: "BundleMetadata") -> dict[str, Any]:
    """NDCG@10 of the model and of the best baseline, over all movies and in the long tail; empty without evaluation."""
    found: dict[str, Any] = {}
    for figure in ("ndcg", "tail_ndcg"):
        ours = [row[figure] for row in metadata.evaluation if row["taste"] is not None]
        baselines = [row[figure] for row in metadata.evaluation if row["taste"] is None]
        if ours and baselines:
            found[figure] = {"model": round(max(ours), 4), "best_baseline": round(max(baselines), 4)}
    return found


def remember_winner(bundle: Path) -> None:
    """Keep what a search found, beside the runs' folders, for the next nights to train by."""
    from nightreel.bundle.reader import open_bundle

    winner = last_winner(open_bundle(bundle).metadata)
    if winner:
        draft = bundle.with_name(WINNER)
        draft.write_text(json.dumps(winner))
        draft.replace(bundle.parent.parent / WINNER)


class Verdict(BaseOperator):
    """Make the run's colour tell the truth: fail when any task did not end as it should.

    A run is coloured by its last tasks alone, and teardowns do not count, so without this a failed job followed by a
    clean teardown would be green.
    """

    def __init__(self, *, may_skip: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.may_skip = tuple(may_skip)
        """Tasks that may skip themselves, and what is behind them, when they say why."""

    def execute(self, context: Context) -> None:
        """AirflowFailException naming every task that did not end as it should."""
        ti, dag = context["ti"], context["dag"]
        states = ti.get_task_states(dag_id=dag.dag_id, run_ids=[context["run_id"]])[context["run_id"]]
        expected = [task for task in dag.task_ids if task != self.task_id]
        allowed = set[str]()
        for task in self.may_skip:
            reason = ti.xcom_pull(task_ids=task, key=ON_PURPOSE) if states.get(task) == "skipped" else None
            if reason:
                self.log.info("%s was skipped: %s", task, reason)
                allowed |= {task, *dag.get_task(task).get_flat_relative_ids(upstream=False)}
        wrong = unexpected(states, tasks=expected, may_be_skipped=allowed)
        if wrong:
            raise AirflowFailException("not as it should be: " + ", ".join(f"{k} {v}" for k, v in wrong.items()))
        self.log.info("all %d tasks ended as they should", len(expected))


def unexpected(states: Mapping[str, str | None], *, tasks: Sequence[str], may_be_skipped: set[str]) -> dict[str, str]:
    """The tasks, with their states, that neither succeeded nor were skipped with leave."""
    fine = {task: {"success", "skipped"} if task in may_be_skipped else {"success"} for task in tasks}
    found = {task: str(states.get(task) or "not run") for task in tasks}
    return {task: state for task, state in found.items() if state not in fine[task]}
