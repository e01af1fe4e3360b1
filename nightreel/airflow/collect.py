"""The ratings that a night learns from: the base data, and what the site's visitors have rated."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from nightreel.airflow.assets import RATINGS
from nightreel.airflow.hooks import Site
from nightreel.airflow.plan import RunPlan
from nightreel.airflow.publishing import ON_PURPOSE, SITE
from nightreel.airflow.storage import Bucket
from nightreel.recommend.visitors import (
    ExportRefusedError,
    NoExportError,
    Snapshot,
    fetch_snapshot,
    forget_others,
    write_visitors,
)

if TYPE_CHECKING:
    from nightreel.bundle.schema import BundleMetadata

VISITORS = "visitors.csv"


class CollectRatings(BaseOperator):
    """Bring the base data here, and beside it the full snapshot of what visitors had rated when the run was due.

    Skipped, and everything behind it with it, when nothing is new and the operator wants no such nights.
    """

    template_fields: Sequence[str] = ("plan",)
    within_lifetime = True

    def __init__(
        self, *, plan: Any, site_conn_id: str = SITE, aws_conn_id: str = "nightreel_aws", **kwargs: Any
    ) -> None:
        super().__init__(outlets=[RATINGS], **kwargs)
        self.plan = plan
        self.site_conn_id = site_conn_id
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """What the job is given: `folder`, `visitors` (a file, or None), and counts.

        Raises ExportError or PublishError when the site is away, which a retry may mend.
        """
        from nightreel.recommend.layouts import find_layout

        plan = RunPlan.from_json(self.plan)
        folder = self._base(plan)
        layout = find_layout(folder)
        self.log.info("base data: %s (%s)", folder, layout.name)
        snapshot = self._snapshot(plan)
        target = plan.folder / VISITORS
        digest = write_visitors(snapshot, target)
        forget_others(plan.folder.parent, keep=target)
        served = self._served(plan)
        if plan.skip_without_new_ratings and _knows(served, layout.fingerprint, digest):
            reason = "nothing to do: the site's model was trained on these very ratings"
            context["ti"].xcom_push(key=ON_PURPOSE, value=reason)
            raise AirflowSkipException(reason)
        found: dict[str, Any] = {
            "folder": str(folder),
            "visitors": str(target) if digest else None,
            "visitor_count": snapshot.visitors,
            "visitor_ratings": len(snapshot.ratings),
        }
        context["outlet_events"][RATINGS].extra = {
            "run": context["dag_run"].run_id,
            "as_of": plan.as_of,
            **{key: found[key] for key in ("folder", "visitor_count", "visitor_ratings")},
        }
        return found

    def _base(self, plan: RunPlan) -> Path:
        from nightreel.recommend.remote import fetch_objects, is_remote

        if not is_remote(plan.ratings):
            return Path(plan.ratings)
        client = Bucket(plan.ratings, self.aws_conn_id).client
        place = fetch_objects(client, plan.ratings, cache=plan.folder.parent)
        self.log.info("%s is in %s", plan.ratings, place)
        return place

    def _snapshot(self, plan: RunPlan) -> Snapshot:
        nothing = Snapshot(ratings=[], dropped=0)
        if not plan.visitors:
            self.log.info("visitors' ratings are left out, as the form says")
            return nothing
        site = Site.of_connection(self.site_conn_id)
        try:
            found = fetch_snapshot(
                server=site.server,
                token=site.export_token,
                as_of=datetime.fromisoformat(plan.as_of),
                most=plan.ratings_per_visitor,
            )
        except NoExportError as error:
            self.log.warning("%s; the run learns from the base data alone", error)
            return nothing
        except ExportRefusedError as error:
            raise AirflowFailException(str(error)) from error
        self.log.info(
            "%d rating(s) of %d visitor(s) as of %s; %d left out above %d per visitor",
            len(found.ratings), found.visitors, plan.as_of, found.dropped, plan.ratings_per_visitor,
        )  # fmt: skip
        return found

    def _served(self, plan: RunPlan) -> "BundleMetadata | None":
        """What the site serves, where that matters."""
        if not plan.skip_without_new_ratings:
            return None
        from nightreel.bundle.publish import fetch_published

        return fetch_published(server=Site.of_connection(self.site_conn_id).server)


def _knows(served: "BundleMetadata | None", fingerprint: str, visitors: str | None) -> bool:
    """Whether the served model was trained on these very ratings."""
    if served is None:
        return False
    dataset: Mapping[str, Any] = served.dataset
    return dataset.get("fingerprint") == fingerprint and dataset.get("visitors") == visitors
