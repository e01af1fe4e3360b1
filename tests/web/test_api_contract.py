"""What holds for the API as a whole: its document, caching by model, other origins, the export."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from urllib.parse import parse_qsl

import pytest
from django.http import QueryDict
from django.test import Client
from django.utils import timezone
from pydantic import TypeAdapter

from recommender import api_schemas, exports, publishing
from recommender.models import Activation
from recommender.questions import Question
from recommender.tokens import EXPORT, ApiToken
from tests.web.conftest import TOKEN
from tests.web.made_bundles import CHILDREN, IDS, MOVIES, NEIGHBOURS

pytestmark = pytest.mark.django_db
CACHED = [
    "/api/v1/movies?q=matrix",
    "/api/v1/recommendations?seed=100:5",
    "/api/v1/movies/100/similar",
    "/api/v1/model",
]
SHAPES = dict(
    zip(
        CACHED,
        [api_schemas.FoundOut, api_schemas.RecommendationsOut, api_schemas.SimilarOut, api_schemas.ModelOut],
        strict=True,
    )
)


@pytest.mark.parametrize("path", CACHED)
def test_answer_has_the_shape_of_the_document(client, model, path):
    TypeAdapter(SHAPES[path]).validate_json(client.get(path).content, strict=False)


@pytest.mark.parametrize("path", CACHED)
def test_answer_is_not_sent_again_for_the_same_model(client, model, path):
    first = client.get(path)
    assert first["ETag"].startswith(f'W/"{model.sha256[:16]}')
    again = client.get(path, headers={"if-none-match": f'"other", {first["ETag"]}'})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])


@pytest.mark.parametrize("path", CACHED)
def test_answer_is_sent_anew_for_another_model(client, model, make, publish, path):
    tag = client.get(path)["ETag"]
    publish(make(run_id="second"))
    assert client.get(path, headers={"if-none-match": tag}).status_code == 200


def test_etag_changes_when_a_model_comes_back(client, model, make, publish):
    path = "/api/v1/model"
    tag = client.get(path)["ETag"]
    publish(make(run_id="second"))
    publishing.roll_back()
    answer = client.get(path, headers={"if-none-match": tag})
    assert (answer.status_code, answer.json()["sha256"]) == (200, model.sha256)


@pytest.mark.parametrize("path", CACHED)
def test_addresses_without_a_version_go_on(client, model, path):
    assert client.get(path.replace("/v1", "")).json() == client.get(path).json()


def test_head_is_get_without_the_body(client, model):
    got, head = client.get(CACHED[0]), client.head(CACHED[0])
    assert (head.status_code, head.content) == (200, b"")
    assert head["Content-Length"] == str(len(got.content))


def test_similar_are_the_bundles_neighbours(client, model):
    content = client.get(f"/api/v1/movies/{IDS['Toy Story']}/similar").json()
    assert [movie["title"] for movie in content["similar"]] == [title for title, _ in CHILDREN[1 : 1 + NEIGHBOURS]]
    assert content["movie"]["title"] == "Toy Story"
    assert content["similar"][0]["similarity"] == pytest.approx(0.9)


def test_similar_takes_a_count(client, model):
    assert len(client.get("/api/v1/movies/100/similar?n=2").json()["similar"]) == 2


@pytest.mark.parametrize("movie_id", ["999999", "-1", "x", "١٠٠", "1e2", "9" * 30])
def test_similar_of_an_unknown_movie_is_404(client, model, movie_id):
    response = client.get(f"/api/v1/movies/{movie_id}/similar")
    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"


def test_document_is_whole():
    document = Client().get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert {operation["operationId"] for operation in operations} >= {"recommender_api_recommendations"}
    for operation in operations:
        assert operation["summary"]
        assert operation["description"]
        refusals = [answer for status, answer in operation["responses"].items() if int(status) >= 400]
        assert all(list(answer["content"]) == ["application/problem+json"] for answer in refusals)
    text = json.dumps(document)
    for name in ("MovieOut", "RecommendationsOut", "RatingsOut", "ProblemOut"):
        assert f'"{name}"' in text
    recommend = document["paths"]["/api/v1/recommendations"]["get"]
    parameters = {parameter["name"]: parameter for parameter in recommend["parameters"]}
    assert parameters["seed"]["examples"]["example 1"]["value"] == ["1:5", "364:4"]


FULL = "genre=Drama&genre=Sci-Fi&without=Children&decade=1950&decade=1990&fame=-1&hide=110,114&n=7"


@pytest.mark.parametrize(
    "query",
    ["seed=100:5&taste=0.25", f"seed=100:5&seed=114:2.5&taste=1&{FULL}", f"surprise=7&{FULL}", "surprise=7&n=50"],
)
def test_recommendations_are_those_of_the_page(client, model, query):
    content = client.get(f"/api/v1/recommendations?{query}").json()
    page = client.get(f"/?{query}").content.decode()
    shown = [int(movie_id) for movie_id in re.findall(r'data-film="(\d+)"', page)]
    assert [movie["movie_id"] for movie in content["recommendations"]] == shown != []
    assert content["passed"] >= len(shown)


def test_document_has_every_parameter_of_a_link():
    document = Client().get("/api/v1/openapi.json").json()
    operation = document["paths"]["/api/v1/recommendations"]["get"]
    described = {entry["name"]: entry["description"] for entry in operation["parameters"] if entry["in"] == "query"}
    seeded, drawn = (f"{start}&taste=1&{FULL}" for start in ("seed=100:5", "surprise=7"))
    written = [Question.parse(QueryDict(query)).query_string() for query in (seeded, drawn)]
    assert set(described) == {name for query in written for name, _ in parse_qsl(query)}
    assert all(described.values())


def test_model_names_what_the_filters_may_name(client, model):
    content = client.get("/api/v1/model").json()
    assert content["genres"] == ["Animation", "Children", "Drama", "Sci-Fi"]
    assert content["decades"][0] == 1940
    for query in (f"genre={content['genres'][0]}", f"decade={content['decades'][0]}"):
        assert client.get(f"/api/v1/recommendations?seed=102:5&{query}").json()["passed"] > 0


def test_page_of_the_api_names_every_operation(client):
    page = unescape(client.get("/api/").content.decode())
    document = client.get("/api/v1/openapi.json").json()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"] in page
            assert path in page


def test_api_needs_no_csrf_token(make):
    made = make()
    strict = Client(enforce_csrf_checks=True)
    headers = {"authorization": f"Bearer {TOKEN}", "content-digest": made.content_digest}
    path = f"/api/v1/bundles/{made.sha256}"
    assert strict.put(path, made.body, content_type="application/octet-stream", headers=headers).status_code == 201
    assert strict.post(f"{path}/activate", headers=headers).status_code == 200


def test_other_origins_are_kept_out_by_default(client, model):
    response = client.get(CACHED[0], headers={"origin": "https://elsewhere.example"})
    assert not any(name.lower().startswith("access-control") for name in response.headers)


def test_named_origins_may_read(client, model, settings):
    settings.NIGHTREEL_CORS_ORIGINS = ["https://friend.example"]
    friend = client.get(CACHED[0], headers={"origin": "https://friend.example"})
    stranger = client.get(CACHED[0], headers={"origin": "https://friend.example.evil"})
    assert friend["Access-Control-Allow-Origin"] == "https://friend.example"
    assert "Access-Control-Allow-Origin" not in stranger
    assert "Origin" in friend["Vary"]
    assert "Origin" in stranger["Vary"]


def test_bundles_lists_what_came(client, model, make, receive):
    receive(make(run_id="second"))
    listed = client.get("/api/v1/bundles", headers={"authorization": f"Bearer {TOKEN}"}).json()["bundles"]
    assert [(bundle["run_id"], bundle["serves"], bundle["kept"]) for bundle in listed] == [
        ("second", False, True),
        ("first", True, True),
    ]
    assert listed[0]["movies"] == len(MOVIES)


MORNING = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = [exports.Rating(f"v{visitor}", movie, 4.0, MORNING) for visitor in range(3) for movie in (1, 2)]


@pytest.fixture
def export(client, monkeypatch):
    """Ask for the export with a good token, from six ratings that were given in the morning."""
    _, token = ApiToken.objects.issue(name="night", scopes=[EXPORT], lifetime=None)
    monkeypatch.setattr(exports, "consented_ratings", lambda moment: [row for row in ROWS if row.given_at <= moment])

    def ask(**query):
        return client.get("/api/v1/ratings", query, headers={"authorization": f"Bearer {token}"})

    return ask


def test_export_gives_every_rating_once_page_by_page(export):
    got, after, pages = [], "", 0
    while after is not None:
        content = export(as_of="2026-01-02T00:00:00Z", limit=4, after=after).json()
        got += [(row["visitor_id"], row["movie_id"]) for row in content["ratings"]]
        after, pages = content["next"], pages + 1
    assert got == [(row.visitor_id, row.movie_id) for row in ROWS]
    assert pages == 2


def test_export_has_no_next_after_a_last_full_page(export):
    assert export(limit=6).json()["next"] is None


def test_export_is_of_its_moment(export):
    assert export(as_of="2025-12-31T00:00:00Z").json()["ratings"] == []
    content = export(as_of="2026-01-01T01:00:00+01:00").json()
    assert len(content["ratings"]) == 6
    TypeAdapter(api_schemas.RatingsOut).validate_python(content)


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"as_of": "yesterday"}, "time zone"),
        ({"as_of": "0001-01-01T00:00:00+23:59"}, "time zone"),
        ({"as_of": "2026-01-01T00:00:00"}, "time zone"),
        ({"as_of": "2026-13-01T00:00:00Z"}, "time zone"),
        ({"as_of": (timezone.now() + timedelta(days=1)).isoformat()}, "future"),
        ({"limit": "0"}, "10000"),
        ({"limit": "10001"}, "10000"),
        ({"limit": "many"}, "whole number"),
        ({"after": "x"}, "next"),
        ({"after": "WzEsMl0="}, "next"),
        ({"after": "e30="}, "next"),
    ],
)
def test_export_refuses_bad_input(export, query, word):
    response = export(**query)
    assert response.status_code == 400
    assert word in response.json()["detail"]


def test_export_gives_nothing_before_anybody_agreed(client):
    _, token = ApiToken.objects.issue(name="night", scopes=[EXPORT], lifetime=None)
    content = client.get("/api/v1/ratings", headers={"authorization": f"Bearer {token}"}).json()
    assert (content["ratings"], content["next"]) == ([], None)


def test_activation_number_is_that_of_the_database(model):
    assert model.activation == Activation.objects.current().pk
