"""Consented ratings: snapshots repeat themselves, withdrawal takes all, and nobody can have much."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from recommender import limits, remembering, visitors
from recommender.limits import Limit, caller
from recommender.tokens import EXPORT, ApiToken
from recommender.visitors import FIRST_VISITOR_ID, Allowance, ConsentedRating, Contributor
from tests.web.made_bundles import IDS

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TOY, ALIEN = IDS["Toy Story"], IDS["Alien"]


def as_of(moment):
    return [(row.visitor_id, row.movie_id, row.stars) for row in ConsentedRating.objects.as_of(moment)]


@pytest.fixture
def somebody():
    contributor, _ = Contributor.objects.admit()
    contributor.rate("made up", {1: 5, 2: 3}, at=NOON)
    return contributor


def test_ids_lie_beyond_those_of_any_data_set(somebody):
    assert somebody.visitor_id > FIRST_VISITOR_ID > 2**31


def test_a_snapshot_has_what_was_rated_by_then(somebody):
    assert as_of(NOON - HOUR) == []
    assert as_of(NOON) == as_of(NOON + HOUR) == [(somebody.visitor_id, 1, 5), (somebody.visitor_id, 2, 3)]


def test_a_snapshot_does_not_change_when_the_rating_does(somebody):
    somebody.rate("made up", {1: 1, 3: 4}, at=NOON + HOUR)
    assert as_of(NOON) == [(somebody.visitor_id, 1, 5), (somebody.visitor_id, 2, 3)]
    assert as_of(NOON + HOUR) == [(somebody.visitor_id, 1, 1), (somebody.visitor_id, 3, 4)]


def test_sending_the_same_again_changes_nothing(somebody):
    somebody.rate("made up", {1: 5, 2: 3}, at=NOON + HOUR)
    assert ConsentedRating.objects.count() == 2


def test_ratings_of_other_data_sets_stay(somebody):
    somebody.rate("another", {1: 2}, at=NOON + HOUR)
    assert [stars for _, _, stars in as_of(NOON + HOUR)] == [2, 5, 3]


def test_who_withdraws_is_gone_from_every_snapshot(somebody):
    somebody.delete()
    assert as_of(NOON) == as_of(NOON + HOUR) == []
    assert ConsentedRating.objects.count() == 0


def test_replaced_ratings_are_forgotten_after_a_while(somebody):
    somebody.rate("made up", {}, at=NOON + HOUR)
    somebody.rate("made up", {5: 5}, at=NOON + HOUR + visitors.HISTORY + HOUR)
    assert list(ConsentedRating.objects.values_list("movie_id", flat=True)) == [5]


def test_what_anybody_took_back_is_forgotten_by_the_nightly_export(client, somebody):
    somebody.rate("made up", {1: 5}, at=NOON + HOUR)
    limits.WRITES.spend("192.0.2.1")
    Allowance.objects.update(until=NOON)
    _, token = ApiToken.objects.issue(name="night", scopes=[EXPORT], lifetime=None)
    answer = client.get("/api/v1/ratings", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    assert list(ConsentedRating.objects.values_list("movie_id", flat=True)) == [1]
    assert not Allowance.objects.exists()


def test_changing_ones_mind_for_ever_fills_no_disk(somebody, monkeypatch):
    monkeypatch.setattr(visitors, "MOST_ROWS", 10)
    for minute in range(20):
        ratings = {movie_id: 1 + minute % 5 for movie_id in range(4)}
        somebody.rate("made up", ratings, at=NOON + HOUR + timedelta(minutes=minute))
    assert ConsentedRating.objects.count() <= 10
    assert ConsentedRating.objects.current().count() == 4


# What the browser talks to


@pytest.fixture
def browser(model):
    """A client that is held to CSRF protection, with the cookie of the list's page."""
    client = Client(enforce_csrf_checks=True)
    client.get("/list")
    return client


def send(browser, method, path, *, token=None, body=None, csrf=True):
    headers = {"x-csrftoken": browser.cookies["csrftoken"].value} if csrf else {}
    if token:
        headers["authorization"] = f"Bearer {token}"
    data = body if isinstance(body, bytes) else json.dumps(body or {})
    return browser.generic(method, path, data, content_type="application/json", headers=headers)


def consent(browser):
    return send(browser, "POST", "/remember/consent").json()["token"]


def ratings(browser, token, given, dataset="made up"):
    return send(browser, "PUT", "/remember/ratings", token=token, body={"dataset": dataset, "ratings": given})


def test_consent_rate_and_withdraw(browser):
    token = consent(browser)
    assert ratings(browser, token, {str(TOY): 5, str(ALIEN): 1, "999999": 3}).json() == {"kept": 2, "unknown": 1}
    assert [stars for _, _, stars in as_of(datetime.now(UTC))] == [5, 1]
    assert send(browser, "DELETE", "/remember/consent", token=token).status_code == 204
    assert not Contributor.objects.exists()
    assert ratings(browser, token, {}).status_code == 401


def test_the_token_itself_is_not_kept(browser):
    token = consent(browser)
    assert token not in str(list(Contributor.objects.values()))


@pytest.mark.parametrize(("method", "path"), [("POST", "consent"), ("DELETE", "consent"), ("PUT", "ratings")])
def test_another_site_cannot_act_for_a_visitor(browser, method, path):
    response = send(browser, method, f"/remember/{path}", token="x", csrf=False)
    assert response.status_code == 403
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"[" * 20_000,
        b"[]",
        {"dataset": "made up"},
        {"dataset": 1, "ratings": {}},
        {"dataset": "\ud800", "ratings": {}},
        {"dataset": "\0", "ratings": {}},
        {"dataset": "made up", "ratings": {"1": 6}},
        {"dataset": "made up", "ratings": {"1": 2.5}},
        {"dataset": "made up", "ratings": {"1": True}},
        {"dataset": "made up", "ratings": {"x": 5}},
        {"dataset": "made up", "ratings": {"9" * 19: 5}},
        {"dataset": "made up", "ratings": {str(n): 5 for n in range(501)}},
    ],
)
def test_strange_ratings_are_refused(browser, body):
    assert send(browser, "PUT", "/remember/ratings", token=consent(browser), body=body).status_code == 400


def test_a_long_body_is_refused_unread(browser):
    body = b"x" * (remembering.LONGEST_BODY + 1)
    assert send(browser, "PUT", "/remember/ratings", token=consent(browser), body=body).status_code == 413


@pytest.mark.parametrize(("method", "path"), [("GET", "consent"), ("POST", "ratings")])
def test_other_methods_are_refused(browser, method, path):
    assert send(browser, method, f"/remember/{path}").status_code == 405


def test_consents_from_one_address_are_limited(browser):
    for _ in range(limits.ADMISSIONS.most):
        consent(browser)
    response = send(browser, "POST", "/remember/consent")
    assert response.status_code == 429
    assert response["Retry-After"]


def test_consents_of_everybody_are_limited(browser, monkeypatch):
    monkeypatch.setattr(remembering, "MOST_CONTRIBUTORS", 1)
    consent(browser)
    assert send(browser, "POST", "/remember/consent").status_code == 429


def test_ratings_are_sent_so_often_and_no_more(browser, monkeypatch):
    token = consent(browser)
    monkeypatch.setattr(limits, "WRITES", Limit(name="ratings", most=2, window=HOUR))
    assert [ratings(browser, token, {}).status_code for _ in range(3)] == [200, 200, 429]


def test_guessing_tokens_is_limited(browser, monkeypatch):
    monkeypatch.setattr(limits, "GUESSES", Limit(name="token", most=2, window=HOUR))
    assert [ratings(browser, f"guess{n}", {}).status_code for n in range(3)] == [401, 401, 429]


def test_a_limit_forgets_and_keeps_no_address(monkeypatch):
    moment = [NOON]
    monkeypatch.setattr(limits.timezone, "now", lambda: moment[0])
    limit = Limit(name="test", most=1, window=HOUR)
    assert limit.spend("192.0.2.1")
    assert not limit.spend("192.0.2.1")
    assert limit.spend("192.0.2.2")
    assert "192.0.2" not in str(list(Allowance.objects.values()))
    moment[0] = NOON + HOUR
    assert limit.spend("192.0.2.1")
    assert Allowance.objects.count() == 1


@pytest.mark.parametrize(
    ("trusted", "forwarded", "expected"),
    [
        (0, "203.0.113.9", "127.0.0.1"),
        (1, "198.51.100.7, 203.0.113.9", "203.0.113.9"),
        (2, "198.51.100.7, 203.0.113.9", "198.51.100.7"),
        (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (1, "nonsense", "unknown"),
        (3, "203.0.113.9", "127.0.0.1"),
    ],
)
def test_caller_trusts_as_many_proxies_as_told(rf, settings, trusted, forwarded, expected):
    settings.NIGHTREEL_TRUSTED_PROXIES = trusted
    assert caller(rf.get("/", headers={"x-forwarded-for": forwarded})) == expected
