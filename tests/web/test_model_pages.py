from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from recommender import publishing
from recommender.model_store import store
from recommender.models import Activation, Movie, StoredBundle
from recommender.quality_plot import nightly_lines, number, quality_rows
from tests.web.conftest import TOKEN
from tests.web.made_bundles import MOVIES

pytestmark = pytest.mark.django_db
REPORT = b"<!doctype html><style>h1 { color: red }</style><h1>Last night</h1><script>alert(1)</script>"


def text(response):
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


@pytest.fixture
def staff(client):
    client.force_login(User.objects.create_user("ann", is_staff=True))
    return client


@pytest.fixture
def nights(make, receive):
    """Three models, each activated in its turn; the last one serves."""
    stored = [receive(make(run_id=f"night {number}")) for number in range(3)]
    for bundle in stored:
        publishing.activate(bundle)
    return stored


def serving():
    return Activation.objects.current().bundle.run_id


def test_card_says_where_the_model_comes_from_and_how_good_it_is(client, model):
    page = text(client.get("/model/"))
    for word in (f"{len(MOVIES)} films", "made up", "run first", "most popular", "0.100", "licence", model.sha256):
        assert word in page


def test_card_shows_nested_metadata_as_lists(client, model):
    said = {"stars": {"0.5": 1370}, "searched": [{"rank": 64}], "<b>": ["<i>"]}
    StoredBundle.objects.update(metadata=model.stored.metadata | {"parameters": said})
    page = client.get("/model/").content.decode()
    assert "<dt>0.5</dt><dd>1,370</dd>" in page
    assert "rank 64" in page
    assert "<dt>&lt;b&gt;</dt><dd>&lt;i&gt;</dd>" in page
    assert "{" not in page


def test_pages_that_name_no_icon_have_one(client):
    page = client.get("/favicon.ico", follow=True)
    assert (page.status_code, page["Content-Type"]) == (200, "image/svg+xml")


def test_card_without_a_model(client):
    assert "No model is published yet" in text(client.get("/model/"))


def test_card_has_no_button(client, nights):
    assert b"<button" not in client.get("/model/").content


@pytest.mark.parametrize("path", ["/model/", "/api/"])
def test_pages_load_nothing_from_elsewhere(client, model, path):
    response = client.get(path)
    assert "unsafe" not in response["Content-Security-Policy"]
    page = response.content.decode()
    assert not re.search(r"<[^>]+\s(style|on\w+)=|<style|<script(?![^>]+src=)|(src|href)=\"(https?:)?//", page)


@pytest.mark.parametrize("path", ["/staff/models/", f"/staff/models/{'0' * 64}/report/"])
@pytest.mark.parametrize("login", [None, "visitor"])
def test_staff_pages_are_for_staff(client, path, login):
    if login:
        client.force_login(User.objects.create_user(login))
    assert client.get(path)["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("path", ["/staff/models/activate/", "/staff/models/back/"])
def test_nobody_else_can_change_what_serves(client, nights, path):
    client.post(path, {"sha256": nights[0].sha256})
    assert serving() == "night 2"


def test_staff_sees_the_history_and_a_plot(staff, nights):
    page = staff.get("/staff/models/")
    assert all(f"night {number}" in text(page) for number in range(3))
    assert "over the last 3 activations" in page.content.decode()


def test_staff_activates_another_model(staff, nights):
    page = staff.post("/staff/models/activate/", {"sha256": nights[0].sha256}, follow=True)
    assert "Run night 0 serves now" in text(page)
    assert serving() == "night 0"


def test_staff_goes_back_and_back_again(staff, nights):
    for expected in ("night 1", "night 0"):
        shown = re.search(r'back/">.*?name="sha256" value="(\w+)"', staff.get("/staff/models/").content.decode(), re.S)
        staff.post("/staff/models/back/", {"sha256": shown[1]})
        assert serving() == expected
    assert "no earlier model" in text(staff.get("/staff/models/"))


def test_going_back_from_an_old_page_changes_nothing(staff, nights):
    page = staff.post("/staff/models/back/", {"sha256": nights[0].sha256}, follow=True)
    assert "Another model serves by now" in text(page)
    assert serving() == "night 2"


def test_staff_form_needs_its_csrf_token(nights):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.create_user("ann", is_staff=True))
    assert strict.post("/staff/models/back/", {"sha256": nights[1].sha256}).status_code == 403
    assert serving() == "night 2"


def test_activation_that_fails_for_a_visitor_rolls_back_by_itself(staff, nights, make, receive, monkeypatch):
    before = {movie.movie_id: movie.rating_count for movie in Movie.objects.all()}
    bad = receive(make(run_id="bad", rating_count=[7] * len(MOVIES)))
    monkeypatch.setattr("recommender.smoke.recommend", lambda *args: 1 / 0)
    page = staff.post("/staff/models/activate/", {"sha256": bad.sha256}, follow=True)
    assert "goes on" in text(page)
    assert "ZeroDivisionError" in StoredBundle.objects.get(pk=bad.pk).refused
    assert serving() == "night 2"
    assert store.current().stored.run_id == "night 2"
    assert {movie.movie_id: movie.rating_count for movie in Movie.objects.all()} == before


def test_activation_that_works_at_last_forgets_the_refusal(nights, make, receive, monkeypatch):
    late = receive(make(run_id="late"))
    with monkeypatch.context() as broken:
        broken.setattr("recommender.smoke.recommend", lambda *args: [])
        with pytest.raises(publishing.ActivationError, match="with nothing"):
            publishing.activate(late)
    publishing.activate(late)
    assert StoredBundle.objects.get(pk=late.pk).refused == ""


def test_report_comes_by_the_api_and_is_shown_locked_away(staff, model):
    path = f"/api/v1/bundles/{model.sha256}/report"
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert staff.put(path, REPORT, content_type="text/html", headers=headers).status_code == 204
    assert f"/staff/models/{model.sha256}/report/" in staff.get("/staff/models/").content.decode()
    response = staff.get(f"/staff/models/{model.sha256}/report/")
    policy = response["Content-Security-Policy"]
    assert response.content == REPORT
    assert policy.startswith("sandbox; default-src 'none'")
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert "style-src 'sha256-" in policy


def test_report_that_is_not_there_is_404(staff, model):
    assert staff.get(f"/staff/models/{model.sha256}/report/").status_code == 404
    assert "report</a>" not in staff.get("/staff/models/").content.decode()


def test_report_needs_the_upload_token(client, model):
    path = f"/api/v1/bundles/{model.sha256}/report"
    assert client.put(path, REPORT, content_type="text/html").status_code == 401


def test_report_of_an_unknown_bundle_is_404(client, model):
    headers = {"authorization": f"Bearer {TOKEN}"}
    path = f"/api/v1/bundles/{'0' * 64}/report"
    assert client.put(path, REPORT, content_type="text/html", headers=headers).status_code == 404


def test_texts_that_no_database_can_be_asked_for_name_no_bundle(staff, model):
    assert staff.get("/staff/models/%00/report/").status_code == 404
    assert staff.post("/staff/models/activate/", {"sha256": "\0"}).status_code == 404
    assert "Nothing was changed" in text(staff.post("/staff/models/back/", {"sha256": "\0"}, follow=True))


def test_report_is_bounded(client, model, monkeypatch):
    monkeypatch.setattr("recommender.reports.MOST_BYTES", 10)
    headers = {"authorization": f"Bearer {TOKEN}"}
    path = f"/api/v1/bundles/{model.sha256}/report"
    assert client.put(path, REPORT, content_type="text/html", headers=headers).status_code == 413


def test_waiting_uploads_are_bounded(make, receive, monkeypatch):
    monkeypatch.setattr(publishing, "MOST_WAITING", 2)
    stored = [receive(make(run_id=f"waiting {number}")) for number in range(4)]
    assert [bundle.path.exists() for bundle in stored] == [False, False, True, True]


def test_upload_leaves_the_disk_some_room(put, make, monkeypatch):
    monkeypatch.setattr(publishing, "ROOM_LEFT", 10**18)
    response = put(make())
    assert response.status_code == 507
    assert "bytes left" in response.json()["detail"]


@pytest.mark.parametrize("value", [None, "0.4", True, float("nan"), float("inf"), -1, [], 10**400])
def test_number_takes_nothing_strange(value):
    assert number(value) is None


def test_quality_rows_are_relative_to_the_longest():
    rows = quality_rows([{"model": "Nightreel, familiar", "ndcg": 0.4, "tail_ndcg": 0.1}, {"model": "x", "ndcg": 0.2}])
    assert [(row.ours, [bar.width for bar in row.bars]) for row in rows] == [(True, [100.0, 25.0]), (False, [50.0])]


def test_nightly_lines_leave_out_what_was_not_measured():
    ours = [{"model": "Nightreel, familiar", "ndcg": 0.4}]
    lines = nightly_lines([ours, [], [*ours, {"model": "most popular", "ndcg": 0.2}]])
    assert [(line.name, len(line.points)) for line in lines] == [("Nightreel", 2), ("best baseline", 1)]
    assert lines[0].points[0][1] < lines[1].points[0][1]
