from __future__ import annotations

import re

import pytest

from tests.web.made_bundles import IDS

pytestmark = pytest.mark.django_db
EXAMPLE = f"/?seed={IDS['Toy Story']}:5&seed={IDS['The Lion King']}:5&seed={IDS['Aladdin']}:5&taste=0.75"


def text(response):
    """What a visitor reads, without the tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def fields(response):
    """What a browser without JavaScript would send back: the form's values as they came."""
    sent = {}
    for tag in re.findall(r"<input[^>]*>", response.content.decode()):
        attributes = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if "name" in attributes and (attributes.get("type") not in ("radio", "checkbox") or " checked" in tag):
            sent[attributes["name"]] = attributes.get("value", "")
    return sent


def test_page_without_a_model_says_how_to_get_one(client):
    response = client.get("/")
    assert response.status_code == 200
    assert "No model is published yet" in text(response)
    assert "nightly_retraining" in text(response)


def test_page_is_strict_about_where_things_come_from(client, model):
    response = client.get(EXAMPLE)
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert "unsafe" not in response["Content-Security-Policy"]
    page = re.sub('<link rel="canonical"[^>]*>', "", response.content.decode())
    assert not re.search(r"<[^>]+\s(style|on\w+)=|<style|<script(?![^>]+src=)|(src|href)=\"(https?:)?//", page)


def test_page_offers_an_example_whose_movies_exist(client, model):
    assert EXAMPLE.replace("&", "&amp;") in client.get("/").content.decode()


def test_page_offers_no_example_whose_movies_do_not(client, make, publish):
    publish(make(title=[f"Movie {number}" for number in range(38)]))
    assert "example" not in text(client.get("/"))


def test_page_shows_ten_cards_with_a_reason_per_seed(client, model):
    response = client.get(EXAMPLE)
    assert response["Nightreel-Model"] == model.sha256
    page = text(response)
    assert response.content.decode().count("<article>") == 10
    for title in ("Toy Story", "The Lion King", "Aladdin"):
        assert page.count(f"because you loved {title}") == 10
    assert "popular with everybody" in page


def test_page_says_in_spite_of_what_was_hated(client, model):
    seeds = f"seed={IDS['The Matrix']}:5&seed={IDS['Alien']}:5&seed={IDS['Solaris']}:1"
    assert "in spite of Solaris , which you hated" in text(client.get(f"/?{seeds}&taste=1"))


def test_page_keeps_a_shared_link_in_the_form(client, model):
    sent = fields(client.get(f"/?seed={IDS['Amélie']}:2&seed={IDS['Alien']}:4&taste=0.25"))
    assert (sent["title1"], sent["rating1"], sent["movie1"]) == ("Amélie (2001)", "2", str(IDS["Amélie"]))
    assert (sent["title2"], sent["rating2"], sent["title3"], sent["taste"]) == ("Alien (1979)", "4", "", "0.25")


def test_page_takes_five_seeds(client, model):
    seeds = "&".join(f"seed={movie_id}:5" for movie_id in (100, 101, 102, 103, 104))
    assert "title5" in fields(client.get(f"/?{seeds}"))


def test_page_of_a_link_that_names_an_unknown_movie_shows_the_rest(client, model):
    response = client.get(f"/?seed=999999:5&seed={IDS['Aladdin']}:5")
    assert "film 999999, which the model of today does not know" in text(response)
    assert "because you loved Aladdin" in text(response)


def test_page_of_a_broken_link_says_so(client, model):
    response = client.get("/?seed=1:9")
    assert response.status_code == 400
    assert "This link does not work" in text(response)


def test_page_escapes_what_was_typed(client, model):
    assert b"<script>alert" not in client.get("/", {"title1": "<script>alert(1)</script>"}).content


def test_form_turns_titles_into_a_link(client, model):
    response = client.get(
        "/", {"title1": "toy story", "rating1": "5", "title2": "matrix", "rating2": "1", "taste": "1"}
    )
    assert response.status_code == 302
    assert response["Location"] == f"/?seed={IDS['Toy Story']}:5&seed={IDS['The Matrix']}:1&taste=1"


def test_form_offers_what_a_title_can_mean(client, model):
    typed = {"title1": "star wars", "rating1": "4", "title2": "nothing of the kind", "rating2": "2", "taste": "0.3"}
    response = client.get("/", typed)
    assert response.status_code == 200
    assert "Which one do you mean?" in text(response)
    assert "No film called “nothing of the kind” is known here" in text(response)
    kept = fields(response)
    assert {name: kept[name] for name in typed} == typed


def test_form_takes_the_pick_and_goes_on(client, model):
    first = client.get("/", {"title1": "star wars", "rating1": "4", "title2": "up", "rating2": "3"})
    second_pick = str(IDS["Star Wars: Episode V - The Empire Strikes Back"])
    assert second_pick in first.content.decode()
    response = client.get("/", fields(first) | {"movie1": second_pick})
    assert response["Location"] == f"/?seed={second_pick}:4&seed={IDS['Up']}:3&taste=0.75"


def test_form_forgets_a_pick_when_the_text_changed(client, model):
    sent = fields(client.get(f"/?seed={IDS['Aladdin']}:5")) | {"title1": "matrix"}
    assert f"seed={IDS['The Matrix']}:5" in client.get("/", sent)["Location"]


def test_form_tells_two_movies_of_one_name_apart(client, model):
    sent = fields(client.get(f"/?seed={IDS['Emma'] - 1}:5"))
    assert f"seed={IDS['Emma'] - 1}:5" in client.get("/", sent)["Location"]


def test_form_refuses_a_movie_named_twice(client, model):
    response = client.get("/", {"title1": "Aladdin", "title2": "Aladdin (1992)"})
    assert "Aladdin (1992) is named above already" in text(response)


def test_form_without_a_title_asks_for_one(client, model):
    assert "Name at least one film" in text(client.get("/", {"title1": "", "title2": " "}))


@pytest.mark.parametrize("value", ["", "6", "-1", "5x", "²"])
def test_form_with_a_strange_rating_falls_back(client, model, value):
    assert ":5&" in client.get("/", {"title1": "Aladdin", "rating1": value, "taste": value})["Location"]


def test_unknown_page_is_a_page(client):
    response = client.get("/nothing")
    assert response.status_code == 404
    assert "Back to the movies" in text(response)
