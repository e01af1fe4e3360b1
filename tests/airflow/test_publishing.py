from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from nightreel.airflow import publishing
from nightreel.airflow.plan import WINNER, remembered_winner
from nightreel.airflow.publishing import quality, unexpected
from nightreel.bundle import publish as bundle_publish
from nightreel.bundle import reader

TASKS = ["plan", "train", "publish"]
FINE = dict.fromkeys(TASKS, "success")


def wrong(**changes: str | None) -> dict[str, str]:
    return unexpected({**FINE, **changes}, tasks=TASKS, may_be_skipped={"publish"})


def test_quality_is_the_models_beside_the_best_baselines() -> None:
    rows = [
        {"taste": 0.0, "ndcg": 0.45, "tail_ndcg": 0.2},
        {"taste": 0.5, "ndcg": 0.4, "tail_ndcg": 0.22},
        {"taste": None, "ndcg": 0.44, "tail_ndcg": 0.1},
        {"taste": None, "ndcg": 0.3, "tail_ndcg": 0.21},
    ]
    found = quality(MagicMock(evaluation=rows))
    assert found["ndcg"] == {"model": 0.45, "best_baseline": 0.44}
    assert found["tail_ndcg"] == {"model": 0.22, "best_baseline": 0.21}


def test_all_succeeded_is_as_it_should_be() -> None:
    assert wrong() == {}


def test_a_step_skipped_with_leave_is_as_it_should_be() -> None:
    assert wrong(publish="skipped") == {}


@pytest.mark.parametrize("state", ["failed", "upstream_failed", "skipped", "removed", None])
def test_any_other_state_is_named(state: str | None) -> None:
    assert wrong(train=state) == {"train": state or "not run"}


def test_a_task_that_is_not_listed_did_not_run() -> None:
    assert unexpected({}, tasks=["plan"], may_be_skipped=set()) == {"plan": "not run"}


def bundle_with(monkeypatch: pytest.MonkeyPatch, *, rank: int, **details: Any) -> None:
    found = SimpleNamespace(metadata=SimpleNamespace(parameters={"rank": rank}, details=details))
    monkeypatch.setattr(reader, "open_bundle", lambda path: found)


def test_what_a_search_found_is_kept_for_the_next_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    bundle_with(monkeypatch, rank=48, search=[{"rank": 48}])
    publishing.remember_winner(tmp_path / "run" / "similarity.arrow")
    assert remembered_winner(tmp_path) == {"rank": 48}


def test_a_night_without_a_search_leaves_the_last_winner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / WINNER).write_text('{"rank": 48}')
    bundle_with(monkeypatch, rank=64)
    publishing.remember_winner(tmp_path / "run" / "similarity.arrow")
    assert remembered_winner(tmp_path) == {"rank": 48}


def test_the_report_of_a_published_model_is_on_the_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing.Site, "of_connection", lambda _: MagicMock(server="https://films.example"))
    monkeypatch.setattr(bundle_publish, "publish", lambda *_, **__: MagicMock(sha256="abc"))
    monkeypatch.setattr(
        publishing.RunPlan, "from_json", lambda _: MagicMock(archive=None, bundle=__file__, folder=tmp_path)
    )
    monkeypatch.setattr(publishing, "quality", MagicMock())
    bundle_with(monkeypatch, rank=64)
    step = publishing.PublishBundle(task_id="publish", plan={})
    assert step.addresses == {"Model page": "https://films.example/model/"}
    step.execute(MagicMock())
    assert step.addresses["Report"] == "https://films.example/staff/models/abc/report/"
