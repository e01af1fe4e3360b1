"""Probes, metrics, logs, the admin and the commands of whoever runs the site."""

from __future__ import annotations

import json
import logging
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from config.logs import JsonFormatter, TextFormatter
from recommender import health, publishing
from recommender.models import Activation, StoredBundle
from recommender.tokens import METRICS, UPLOAD, ApiToken
from tests.web.made_bundles import MOVIES

pytestmark = pytest.mark.django_db


def test_live_asks_nothing_of_the_database(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert client.get("/healthz").json() == {"status": "ok"}


def test_ready_before_the_first_model(client):
    assert client.get("/readyz").json() == {"status": "ready", "model": None}


def test_ready_names_the_model(client, model):
    assert client.get("/readyz").json()["model"] == model.sha256


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_come_by_any_name_over_plain_http(client, settings, path):
    settings.ALLOWED_HOSTS = ["movies.example"]
    settings.SECURE_SSL_REDIRECT = True
    assert client.get(path, headers={"host": "10.0.0.7"}).status_code == 200


def test_ready_says_when_the_database_does_not_answer(client, monkeypatch):
    def broken():
        raise OperationalError("no such luck")

    monkeypatch.setattr("recommender.health.store.current", broken)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert "does not answer" in response.json()["detail"]


def test_ready_says_when_migrations_are_missing(client, monkeypatch):
    monkeypatch.setattr(health, "_known_as_migrated", False)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'recommender'")
    assert "migrate" in client.get("/readyz").json()["detail"]


def test_ready_says_when_the_model_cannot_be_opened(client, model, monkeypatch):
    monkeypatch.setattr("recommender.model_store.store._opened", None)
    model.stored.path.unlink()
    assert client.get("/readyz").status_code == 503


def metrics_of(client):
    _, token = ApiToken.objects.issue(name="prometheus", scopes=[METRICS], lifetime=None)
    response = client.get("/metrics", headers={"authorization": f"Bearer {token}"})
    assert response.status_code == 200
    lines = response.content.decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_metrics_count_requests_by_view(client, model):
    key = 'nightreel_requests_total{method="GET",status="200",view="api-v1:model"}'
    before = float(metrics_of(client).get(key, 0))
    client.get("/api/v1/model")
    assert float(metrics_of(client)[key]) == before + 1


def test_metrics_do_not_grow_with_addresses(client):
    for number in range(3):
        client.get(f"/nothing/{number}")
    assert not any("/nothing/" in name for name in metrics_of(client))


def test_metrics_name_the_model(client, model):
    found = metrics_of(client)
    assert found[f'nightreel_model_info{{run_id="first",sha256="{model.sha256}"}}'] == "1.0"
    assert float(found["nightreel_model_movies"]) == len(MOVIES)


def test_metrics_count_activations_that_rolled_back(client, model, make, receive, monkeypatch):
    key = 'nightreel_activations_total{outcome="rolled back"}'
    before = float(metrics_of(client).get(key, 0))
    bad = receive(make(run_id="bad"))
    monkeypatch.setattr("recommender.smoke.recommend", lambda *args: [])
    with pytest.raises(publishing.ActivationError):
        publishing.activate(bad)
    assert float(metrics_of(client)[key]) == before + 1


def test_request_line_says_how_it_went_and_not_what_was_loved(client, model, caplog):
    caplog.set_level(logging.INFO, "nightreel.request")
    response = client.get("/api/v1/recommendations?seed=100:5", headers={"cookie": "a=b"})
    record = caplog.records[-1]
    assert record.getMessage() == "GET /api/v1/recommendations 200"
    line = json.loads(JsonFormatter().format(record))
    assert (line["view"], line["id"]) == ("api-v1:recommendations", response["Request-Id"])
    assert "100:5" not in str(line)


def test_log_line_cannot_be_broken_in_two(client, caplog):
    caplog.set_level(logging.INFO, "nightreel.request")
    client.get("/nothing%0Aforged%1b[31m")
    for formatter in (JsonFormatter(), TextFormatter()):
        line = formatter.format(caplog.records[-1])
        assert "\n" not in line
        assert "\x1b" not in line


@pytest.fixture
def admin(client):
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.mark.parametrize("page", ["movie", "storedbundle", "activation", "apitoken"])
def test_admin_lists(admin, model, page):
    ApiToken.objects.issue(name="airflow", scopes=[UPLOAD], lifetime=None)
    response = admin.get(f"/admin/recommender/{page}/")
    assert response.status_code == 200
    assert b"unsafe" not in response["Content-Security-Policy"].encode()


def test_admin_finds_a_movie(admin, model):
    assert b"The Matrix" in admin.get("/admin/recommender/movie/?q=matrix").content


def test_admin_never_shows_a_tokens_hash(admin):
    row, _ = ApiToken.objects.issue(name="airflow", scopes=[UPLOAD], lifetime=None)
    assert row.sha256 not in admin.get(f"/admin/recommender/apitoken/{row.pk}/change/").content.decode()


@pytest.mark.parametrize("page", ["movie", "storedbundle", "activation", "apitoken"])
def test_admin_adds_nothing_by_hand(admin, page):
    assert admin.get(f"/admin/recommender/{page}/add/").status_code == 403


def test_admin_activates_a_bundle(admin, model, make, receive):
    second = receive(make(run_id="second"))
    sent = {"action": "activate", "_selected_action": [second.pk]}
    assert b"serves now" in admin.post("/admin/recommender/storedbundle/", sent, follow=True).content
    assert Activation.objects.current().bundle == second


def test_admin_revokes_a_token(admin):
    row, _ = ApiToken.objects.issue(name="airflow", scopes=[UPLOAD], lifetime=None)
    admin.post("/admin/recommender/apitoken/", {"action": "revoke", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert row.state == "revoked"


def command(name, *words):
    out = StringIO()
    call_command(name, *words, stdout=out)
    return out.getvalue()


def test_add_bundle_takes_in_activates_and_brings_the_report(make, tmp_path):
    path = tmp_path / "night.arrow"
    path.write_bytes(make().body)
    path.with_suffix(".report.html").write_text("<h1>report</h1>")
    assert "It serves now; before: none." in command("add_bundle", str(path))
    stored = StoredBundle.objects.get()
    assert stored.path.with_suffix(".html").read_text() == "<h1>report</h1>"


def test_add_bundle_says_why_it_did_not_take_a_file(tmp_path):
    path = tmp_path / "night.arrow"
    path.write_bytes(b"no bundle")
    with pytest.raises(CommandError, match="not a whole Arrow file"):
        command("add_bundle", str(path))


def test_roll_back_goes_back(model, make, publish):
    publish(make(run_id="second"))
    assert "run first serves now" in command("roll_back")
    with pytest.raises(CommandError, match="nothing to go back to"):
        command("roll_back")
