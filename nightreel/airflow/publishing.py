"""The steps behind the cluster: judge the new bundle, publish it, and say how the run went."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from nightreel.airflow.hooks import Site
from nightreel.airflow.params import last_winner
from nightreel.airflow.plan import WINNER, RunPlan
from nightreel.bundle.publish import fetch_published, publish
from nightreel.bundle.reader import open_bundle
from nightreel.recommend.gate import judge

SITE = "nightreel_site"


class SiteOperator(BaseOperator):
    """A step that takes the run's bundle to the site."""

    template_fields: Sequence[str] = ("plan",)

    def __init__(self, *, plan: Any, site_conn_id: str = SITE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.site_conn_id = site_conn_id


class QualityGate(SiteOperator):
    """Refuse a model that is worse than a baseline or than the one that is served, or whose input looks wrong."""

    def execute(self, context: Context) -> str:
        """The gate's sentence. AirflowFailException when it says no: trying again would not change its mind."""
        plan = RunPlan.from_json(self.plan)
        published = fetch_published(server=Site.of_connection(self.site_conn_id).server)
        verdict = judge(open_bundle(plan.bundle).metadata, published, override=plan.override_gate)
        if not verdict.passed:
            raise AirflowFailException(verdict.reason)
        self.log.info("%s", verdict.reason)
        return verdict.reason


class PublishBundle(SiteOperator):
    """Send the bundle to the site and make it the one that is served."""

    def execute(self, context: Context) -> str:
        """The published bundle's SHA-256; skipped for a dry run. Raises PublishError."""
        plan = RunPlan.from_json(self.plan)
        if not plan.publish:
            raise AirflowSkipException(f"a dry run: the bundle stays at {plan.bundle}")
        site = Site.of_connection(self.site_conn_id)
        done = publish(plan.bundle, server=site.server, token=site.token)
        remember_winner(Path(plan.bundle))
        self.log.info("%s serves %s (%d movies); before: %s", site.server, done.sha256, done.movies, done.previous)
        return done.sha256


def remember_winner(bundle: Path) -> None:
    """Keep what a search found, beside the runs' folders, for the next nights to train by."""
    winner = last_winner(open_bundle(bundle).metadata.parameters)
    if winner:
        draft = bundle.with_name(WINNER)
        draft.write_text(json.dumps(winner))
        draft.replace(bundle.parent.parent / WINNER)


class Verdict(BaseOperator):
    """Make the run's colour tell the truth: fail when any task did not end as it should.

    A run is coloured by its last tasks alone, and teardowns do not count, so without this a failed job followed by a
    clean teardown would be green.
    """

    def __init__(self, *, may_be_skipped: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.may_be_skipped = set(may_be_skipped)

    def execute(self, context: Context) -> None:
        """AirflowFailException naming every task that did not end as it should."""
        ti, dag = context["ti"], context["dag"]
        states = ti.get_task_states(dag_id=dag.dag_id, run_ids=[context["run_id"]])[context["run_id"]]
        expected = [task for task in dag.task_ids if task != self.task_id]
        wrong = unexpected(states, tasks=expected, may_be_skipped=self.may_be_skipped)
        if wrong:
            raise AirflowFailException("not as it should be: " + ", ".join(f"{k} {v}" for k, v in wrong.items()))
        self.log.info("all %d tasks ended as they should", len(expected))


def unexpected(states: Mapping[str, str | None], *, tasks: Sequence[str], may_be_skipped: set[str]) -> dict[str, str]:
    """The tasks, with their states, that neither succeeded nor were skipped with leave."""
    fine = {task: {"success", "skipped"} if task in may_be_skipped else {"success"} for task in tasks}
    found = {task: str(states.get(task) or "not run") for task in tasks}
    return {task: state for task, state in found.items() if state not in fine[task]}
