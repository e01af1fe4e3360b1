from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from recommender.tokens import EXPORT, METRICS, SCOPES, UPLOAD, ApiToken
from tests.web.conftest import TOKEN

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
DOORS = {
    UPLOAD: lambda client, **headers: client.get("/api/v1/bundles", headers=headers),
    EXPORT: lambda client, **headers: client.get("/api/v1/ratings", headers=headers),
    METRICS: lambda client, **headers: client.get("/metrics", headers=headers),
}


def issued(*scopes, lifetime=DAY, name="one"):
    return ApiToken.objects.issue(name=name, scopes=list(scopes), lifetime=lifetime)


def bearer(token):
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize("scope", SCOPES)
def test_token_opens_the_door_of_its_scope(client, scope):
    _, token = issued(scope)
    assert DOORS[scope](client, **bearer(token)).status_code == 200


@pytest.mark.parametrize(("held", "door"), [(a, b) for a in SCOPES for b in SCOPES if a != b])
def test_token_opens_no_other_door(client, held, door):
    _, token = issued(held)
    response = DOORS[door](client, **bearer(token))
    assert response.status_code == 403
    assert response.json()["detail"] == f"The token lacks the scope {door}: it has {held}."


@pytest.mark.parametrize("door", SCOPES)
def test_no_token_opens_nothing(client, door):
    response = DOORS[door](client)
    assert response.status_code == 401
    assert f'scope="{door}"' in response["WWW-Authenticate"]


def test_the_environments_upload_token_exports_nothing(client):
    assert DOORS[UPLOAD](client, **bearer(TOKEN)).status_code == 200
    assert DOORS[EXPORT](client, **bearer(TOKEN)).status_code == 403


def test_the_token_itself_is_kept_nowhere():
    row, token = issued(UPLOAD)
    kept = ApiToken.objects.filter(pk=row.pk).values().get()
    assert token not in str(kept)
    assert len(token) > 40


@pytest.mark.parametrize("change", [{"expires": timezone.now() - DAY}, {"revoked": timezone.now()}])
def test_token_that_ended_opens_nothing(client, change):
    row, token = issued(EXPORT)
    ApiToken.objects.filter(pk=row.pk).update(**change)
    assert "expired or revoked" in DOORS[EXPORT](client, **bearer(token)).json()["detail"]


def test_rotation_leaves_the_old_token_its_grace_alone(client):
    old_row, old = issued(EXPORT, lifetime=None)
    _, new = ApiToken.objects.rotate(name="one", grace=timedelta(hours=1), lifetime=DAY)
    assert [DOORS[EXPORT](client, **bearer(token)).status_code for token in (old, new)] == [200, 200]
    old_row.refresh_from_db()
    assert old_row.expires - timezone.now() <= timedelta(hours=1)


def test_rotation_never_lengthens_the_old_tokens_life():
    row, _ = issued(EXPORT, lifetime=timedelta(minutes=1))
    ApiToken.objects.rotate(name="one", grace=DAY, lifetime=DAY)
    ends = row.expires
    row.refresh_from_db()
    assert row.expires == ends


def test_use_is_noted(client):
    row, token = issued(EXPORT)
    DOORS[EXPORT](client, **bearer(token))
    row.refresh_from_db()
    assert row.last_used is not None


def command(*words):
    out, err = StringIO(), StringIO()
    call_command("token", *words, stdout=out, stderr=err)
    return out.getvalue().strip(), err.getvalue()


def test_command_makes_a_token_that_works(client):
    token, told = command("create", "airflow", "--scope", "upload", "--scope", "export")
    assert DOORS[EXPORT](client, **bearer(token)).status_code == 200
    assert "airflow (export, upload)" in told


def test_command_refuses_a_name_that_is_taken():
    command("create", "airflow", "--scope", "upload")
    with pytest.raises(CommandError, match="rotate it"):
        command("create", "airflow", "--scope", "upload")


def test_command_rotates_and_revokes(client):
    old, _ = command("create", "airflow", "--scope", "export")
    new, _ = command("rotate", "airflow", "--grace-hours", "0")
    assert [DOORS[EXPORT](client, **bearer(token)).status_code for token in (old, new)] == [401, 200]
    command("revoke", "airflow")
    assert DOORS[EXPORT](client, **bearer(new)).status_code == 401
    assert "revoked" in command("list")[0]


def test_command_knows_no_token_of_another_name():
    with pytest.raises(CommandError, match="no valid token named 'nobody'"):
        command("rotate", "nobody")
