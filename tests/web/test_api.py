from __future__ import annotations

import math

import pytest

from nightreel.recommend.taste_model import TasteModel
from recommender.model_store import store
from tests.web.conftest import TOKEN
from tests.web.made_bundles import CHILDREN, IDS, MOVIES, MadeBundle

pytestmark = pytest.mark.django_db
BEARER = {"authorization": f"Bearer {TOKEN}"}


def problem(response, status):
    """The sentence of a refusal, whose form is checked on the way."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    content = response.json()
    assert content["status"] == status
    assert content["title"]
    return content["detail"]


@pytest.mark.parametrize("path", ["/api/v1/model", "/api/v1/movies?q=matrix", "/api/v1/recommendations?seed=1:5"])
def test_api_without_a_model_says_how_to_get_one(client, path):
    assert "nightreel publish" in problem(client.get(path), 404)


def test_unknown_address_is_a_problem(client):
    assert "/api/v1/nothing" in problem(client.get("/api/v1/nothing"), 404)


def test_wrong_method_names_the_right_one(client):
    response = client.post("/api/v1/model")
    assert "GET" in problem(response, 405)
    assert response["Allow"] == "GET"


def test_model_says_what_the_bundle_says(client, model):
    response = client.get("/api/v1/model")
    content = response.json()
    assert response["Nightreel-Model"] == content["sha256"] == model.sha256
    assert (content["run_id"], content["movies"], content["dataset"]["name"]) == ("first", len(MOVIES), "made up")
    assert content["metadata"]["taste"]["points"][0]["beta"] == 1.0
    assert content["evaluation"] == [{"model": "most popular", "ndcg": 0.1}]


def test_movies_have_title_year_and_genres(client, model):
    response = client.get("/api/v1/movies", {"q": "matrix"})
    assert response["Nightreel-Model"] == model.sha256
    expected = {"movie_id": IDS["The Matrix"], "title": "The Matrix", "year": 1999, "genres": ["Sci-Fi"]}
    assert response.json() == {"model": model.sha256, "movies": [expected]}


def ask(client, *seeds, **query):
    return client.get("/api/v1/recommendations", {"seed": list(seeds), **query})


def likes(*titles):
    return [f"{IDS[title]}:5" for title in titles]


def test_recommendations_are_more_of_the_kind(client, model):
    content = ask(client, *likes("Toy Story", "The Lion King", "Aladdin"), taste="adventurous").json()
    rest = {title for title, _ in CHILDREN} - {"Toy Story", "The Lion King", "Aladdin"}
    assert {movie["title"] for movie in content["recommendations"]} <= rest
    assert len(content["recommendations"]) == 10
    assert (content["model"], content["taste"]) == (model.sha256, 1.0)
    assert content["seeds"][0] == {"movie_id": IDS["Toy Story"], "rating": 5.0}


def test_recommendations_flee_what_was_hated(client, model):
    content = ask(client, f"{IDS['Toy Story']}:1", taste="1", n="50").json()
    shown = [movie["title"] for movie in content["recommendations"]]
    assert {title for title, _ in CHILDREN if title != "Toy Story"} == set(shown[-(len(CHILDREN) - 1) :])


def test_recommendations_share_out_the_whole_score(client, model):
    content = ask(client, *likes("Toy Story", "The Matrix"), taste="0.4").json()
    for movie in content["recommendations"]:
        parts = [movie["popularity_share"], *(reason["share"] for reason in movie["because"])]
        assert math.isclose(sum(map(abs, parts)), 1, rel_tol=1e-9)


def test_recommendations_shares_are_the_models_own(client, model):
    content = ask(client, *likes("Toy Story", "The Matrix"), taste="0.4").json()
    rows = [model.bundle.row_of(IDS[title]) for title in ("Toy Story", "The Matrix")]
    scores = TasteModel.from_bundle(model.bundle).score(seeds=rows, ratings=[5, 5], taste=0.4)
    first = content["recommendations"][0]
    reason = scores.reason(model.bundle.row_of(first["movie_id"]))
    assert math.isclose(first["because"][0]["share"] / first["popularity_share"], reason.seeds[0] / reason.prior)
    assert first["because"][0]["title"] == "Toy Story"


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("", "No seed"),
        ("seed=1", "ID:RATING"),
        ("seed=abc:5", "ID:RATING"),
        ("seed=100:0", "rating from 1"),
        ("seed=100:5.5", "rating from 1"),
        ("seed=100:nan", "ID:RATING"),
        ("seed=-1:5", "ID:RATING"),
        ("seed=99999999999999999999:5", "ID:RATING"),
        ("seed=999999:5", "no movie 999999"),
        ("seed=100:5&seed=100:4", "named twice"),
        ("seed=100:5&seed=101:5&seed=102:5&seed=103:5&seed=104:5&seed=105:5", "too many"),
        ("seed=100:5&taste=wild", "adventurous"),
        ("seed=100:5&taste=nan", "taste"),
        ("seed=100:5&taste=1.1", "taste"),
        ("seed=100:5&n=0", "n='0'"),
        ("seed=100:5&n=51", "1 to 50"),
        ("seed=100:5&n=x", "n='x'"),
    ],
)
def test_recommendations_refuse_bad_input(client, model, query, word):
    assert word in problem(client.get(f"/api/v1/recommendations?{query}"), 400)


def test_bundle_put_is_201_then_200(put, make):
    made = make()
    answers = [put(made), put(made)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json() == answers[1].json() == {"sha256": made.sha256, "run_id": "first", "movies": len(MOVIES)}


def test_bundle_put_alone_changes_nothing_that_is_served(put, make, model, client):
    assert put(make(run_id="second")).status_code == 201
    assert client.get("/api/v1/model").json()["sha256"] == model.sha256


@pytest.mark.parametrize(
    "authorization", ["", "Bearer wrong", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "Bearer ü"]
)
def test_bundle_put_without_the_token_is_401(put, make, model, authorization):
    response = put(make(run_id="second"), authorization=authorization)
    assert "Authorization" in problem(response, 401)
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_bundle_put_on_a_site_without_any_token_is_401(put, make, settings):
    settings.NIGHTREEL_TOKEN_SHA256 = ""
    problem(put(make()), 401)
    problem(put(make(), authorization="Bearer "), 401)


@pytest.fixture
def old_model_serves(model, client, settings):
    """Check that the model of before serves, and that its file is the only one."""

    def check():
        assert client.get("/api/v1/model").json()["sha256"] == model.sha256
        files = [file.name for file in (settings.NIGHTREEL_DATA_FOLDER / "bundles").iterdir()]
        assert files == [f"{model.sha256}.arrow"]
        assert ask(client, *likes("Toy Story")).json()["model"] == model.sha256

    return check


REFUSALS = {
    "name of another form": (400, "64", lambda made: {"name": made.sha256.upper()}),
    "no digest": (400, "Content-Digest", lambda made: {"content_digest": ""}),
    "digest of something else": (400, "says", lambda made: {"content_digest": MadeBundle(b"else").content_digest}),
    "digest that is no base64": (400, "base64", lambda made: {"content_digest": "sha-256=:a:"}),
    "body of something else": (400, "SHA-256", lambda made: {"body": made.body[:-1] + b"!"}),
    "no length": (411, "Content-Length", lambda made: {"content_length": "-"}),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_bundle_put_refuses_and_leaves_nothing(put, make, old_model_serves, case):
    status, word, change = REFUSALS[case]
    made = make(run_id="second")
    assert word in problem(put(made, **change(made)), status)
    old_model_serves()


def test_bundle_put_refuses_what_is_too_large(put, make, old_model_serves, settings):
    settings.NIGHTREEL_MAX_BUNDLE_BYTES = 1000
    assert "takes 1000" in problem(put(make(run_id="second")), 413)
    old_model_serves()


def test_bundle_put_refuses_a_nan(put, make, old_model_serves):
    assert "prior" in problem(put(make(run_id="second").with_nan()), 422)
    old_model_serves()


def test_bundle_put_refuses_a_neighbour_out_of_range(put, make, old_model_serves):
    assert "neighbour_ids" in problem(put(make(run_id="second").with_neighbour_out_of_range()), 422)
    old_model_serves()


@pytest.mark.parametrize("body", [b"not Arrow at all", b"ARROW1\0\0" + b"\xff" * 64 + b"ARROW1"])
def test_bundle_put_refuses_what_is_no_bundle(put, old_model_serves, body):
    assert "the body is not a whole Arrow file" in problem(put(MadeBundle(body)), 422)
    old_model_serves()


def activate(client, sha256, headers=BEARER):
    return client.post(f"/api/v1/bundles/{sha256}/activate", headers=headers)


def test_activate_names_the_model_before(put, make, client):
    first, second = make(), make(run_id="second")
    put(first)
    put(second)
    assert activate(client, first.sha256).json() == {"sha256": first.sha256, "previous": None}
    answers = [activate(client, second.sha256).json() for _ in range(2)]
    assert answers == [{"sha256": second.sha256, "previous": first.sha256}] * 2
    assert client.get("/api/v1/model").json()["run_id"] == "second"


def test_activate_without_the_token_is_401(client, model):
    problem(activate(client, model.sha256, headers={}), 401)


def test_activate_of_an_unknown_bundle_is_404(client, model):
    assert "PUT" in problem(activate(client, "0" * 64), 404)


def test_activate_of_a_model_that_cannot_answer_is_422(put, make, model, client):
    made = make(run_id="second", embedding=[[1e30, 1.0, 1.0]] * len(MOVIES))
    assert put(made).status_code == 201
    assert "goes on" in problem(activate(client, made.sha256), 422)
    assert client.get("/api/v1/model").json()["sha256"] == model.sha256


def test_a_model_whose_file_is_gone_is_503(client, model, monkeypatch):
    monkeypatch.setattr(store, "_opened", None)
    model.stored.path.unlink()
    assert model.sha256 in problem(ask(client, *likes("Toy Story")), 503)
