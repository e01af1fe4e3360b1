from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from nightreel.airflow import collect
from nightreel.airflow.assets import RATINGS
from nightreel.airflow.collect import CollectRatings
from nightreel.airflow.publishing import ON_PURPOSE
from nightreel.bundle import publish as bundle_publish
from nightreel.recommend import remote
from nightreel.recommend.ratings import find_layout
from nightreel.recommend.visitors import ExportRefusedError, NoExportError, Snapshot, VisitorRating
from tests.airflow.test_money import plan

SNAPSHOT = Snapshot(ratings=[VisitorRating("v", 1, 5.0, "2026-01-01T00:00:00Z")], dropped=0)


class Run:
    """One execution of the step, in a world of which every part may be another one."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.base = tmp_path / "base"
        self.base.mkdir()
        (self.base / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,5,1\n")
        (self.base / "movies.csv").write_text("movieId,title,genres\n1,Heat (1995),Crime\n")
        self.plan = plan(
            ratings=str(self.base),
            bundle=str(tmp_path / "runs" / "this" / "similarity.arrow"),
            visitors=True,
            as_of="2026-11-01T03:00:00+00:00",
        )
        self.snapshot: Any = SNAPSHOT
        self.served: Any = None
        self.ti = MagicMock()
        self.said = SimpleNamespace(extra={})
        monkeypatch.setattr(collect.Site, "of_connection", lambda _: MagicMock(server="https://films.example"))
        monkeypatch.setattr(collect, "fetch_snapshot", self._fetch)
        monkeypatch.setattr(bundle_publish, "fetch_published", lambda **_: self.served)

    def _fetch(self, **_: Any) -> Snapshot:
        if isinstance(self.snapshot, Exception):
            raise self.snapshot
        return self.snapshot

    def execute(self) -> dict[str, Any]:
        context: Any = {"ti": self.ti, "outlet_events": {RATINGS: self.said}, "dag_run": MagicMock(run_id="r1")}
        return CollectRatings(task_id="collect", plan=self.plan).execute(context)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(tmp_path, monkeypatch)


def test_visitors_ratings_lie_beside_the_base_data(run: Run) -> None:
    found = run.execute()
    assert (found["folder"], found["visitor_ratings"]) == (str(run.base), 1)
    assert len(Path(found["visitors"]).read_text().splitlines()) == 2


def test_base_data_in_s3_is_brought_here(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(collect, "Bucket", lambda address, aws_conn_id: MagicMock(client=aws_conn_id))
    monkeypatch.setattr(
        remote, "fetch_objects", lambda client, place, *, cache: asked.append((client, place, cache)) or run.base
    )
    run.plan["ratings"] = "s3://films/ml"
    assert run.execute()["folder"] == str(run.base)
    assert asked == [("nightreel_aws", "s3://films/ml", Path(run.plan["bundle"]).parent.parent)]


def test_the_asset_tells_what_was_learnt_from(run: Run) -> None:
    run.execute()
    assert (run.said.extra["run"], run.said.extra["visitor_ratings"]) == ("r1", 1)


def test_a_visitor_who_withdrew_is_gone(run: Run) -> None:
    left_behind = Path(run.execute()["visitors"])
    run.snapshot = Snapshot(ratings=[], dropped=0)
    assert run.execute()["visitors"] is None
    assert not left_behind.exists()


def test_a_site_without_export_is_done_without(run: Run) -> None:
    run.snapshot = NoExportError("not there")
    assert run.execute()["visitors"] is None


def test_a_refused_token_is_not_tried_again(run: Run) -> None:
    run.snapshot = ExportRefusedError("old token")
    with pytest.raises(AirflowFailException, match="old token"):
        run.execute()


def test_nothing_new_is_skipped_and_says_why(run: Run) -> None:
    run.plan["skip_without_new_ratings"] = True
    run.snapshot = NoExportError("not there")
    run.served = MagicMock(dataset={"fingerprint": find_layout(run.base).fingerprint})
    with pytest.raises(AirflowSkipException, match="nothing to do"):
        run.execute()
    assert run.ti.xcom_push.call_args.kwargs["key"] == ON_PURPOSE


def test_one_rating_more_is_something_new(run: Run) -> None:
    run.plan["skip_without_new_ratings"] = True
    run.served = MagicMock(dataset={"fingerprint": find_layout(run.base).fingerprint})
    assert run.execute()["visitor_ratings"] == 1
