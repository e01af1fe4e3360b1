"""A film's page, the type-ahead, and what comes from TMDB."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from recommender import tmdb
from recommender.details import KEPT_FOR, FilmDetails
from recommender.models import Movie
from tests.web.made_bundles import IDS, MOVIES
from tests.web.test_views import text

pytestmark = pytest.mark.django_db
MATRIX, STRADA = IDS["The Matrix"], IDS["La Strada"]
JPEG = b"\xff\xd8\xff\xe0 a picture"
KEY = "k" * 32


def test_film_page_shows_its_neighbours_and_links(client, make, publish):
    count = len(MOVIES)
    publish(make(imdb_id=["0133093"] * count, tmdb_id=["603"] * count))
    response = client.get(f"/films/{MATRIX}")
    page = response.content.decode()
    assert "Blade Runner" in text(response)
    assert "https://www.imdb.com/title/tt0133093/" in page
    assert "https://www.themoviedb.org/movie/603" in page
    assert "860 people gave it 3.5 of 5 stars" in text(response)


def test_a_text_that_no_database_can_be_asked_for_names_no_poster(client):
    assert client.get("/posters/%00.jpg").status_code == 404


def test_film_page_links_nowhere_when_an_id_is_none(client, make, publish):
    publish(make(imdb_id=['"><script>'] * len(MOVIES), tmdb_id=["../x"] * len(MOVIES)))
    page = client.get(f"/films/{MATRIX}").content.decode()
    assert "imdb.com" not in page
    assert "themoviedb" not in page


def test_film_page_says_when_nobody_rated_it(client, make, publish):
    publish(make(rating_count=[0] * len(MOVIES)))
    assert "Nobody has rated this film yet." in text(client.get(f"/films/{MATRIX}"))


def test_film_page_says_when_few_did(client, make, publish):
    publish(make(rating_count=[1] * len(MOVIES)))
    page = text(client.get(f"/films/{MATRIX}"))
    assert "One person gave it" in page
    assert "grain of salt" in page


def test_film_page_of_a_film_that_the_model_does_not_know(client, model):
    Movie.objects.create(dataset="made up", movie_id=7, title="Forgotten", search_key="forgotten", rating_count=0)
    assert "the model of today has nothing to go by" in text(client.get("/films/7"))


def test_form_says_when_nobody_liked_a_film_yet(client, model):
    names = {"search_key": "forgotten", "names": "|forgotten|"}
    Movie.objects.create(dataset="made up", movie_id=7, title="Forgotten", rating_count=0, **names)
    assert "Nobody has liked Forgotten yet" in text(client.get("/", {"title1": "forgotten"}))


@pytest.mark.parametrize("movie_id", ["999999", "9" * 30])
def test_film_page_of_no_film(client, model, movie_id):
    assert client.get(f"/films/{movie_id}").status_code == 404


def suggested(client, query):
    return client.get("/suggest", {"q": query}).json()["films"]


def test_suggest_finds_by_another_name(client, model):
    found = suggested(client, "the road")
    assert [(film["id"], film["note"]) for film in found] == [(STRADA, "The Road")]
    assert [film["label"] for film in suggested(client, "fabuleux destin amelie")] == ["Amélie (2001)"]
    assert [film["label"] for film in suggested(client, "fabuleux destim")] == ["Amélie (2001)"]


def test_suggest_tells_same_names_apart(client, model):
    first, second = suggested(client, "emma")
    assert first["label"] == second["label"]
    assert first["note"] != second["note"]


def test_suggest_before_the_first_model(client):
    assert client.get("/suggest", {"q": "x"}).status_code == 503


class Tmdb(BaseHTTPRequestHandler):
    """Knows film 603, has trouble at first, and refuses any other key."""

    asked: list[str]

    def do_GET(self):
        self.server.asked.append(self.path)
        status, body = self.answer()
        self.send_response(status)
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body)

    def answer(self):
        if self.path == "/images/matrix.jpg":
            return 200, JPEG
        if self.path == "/images/evil.jpg":
            return 200, b"<svg onload=alert(1)>"
        if KEY not in self.path:
            return 401, b"{}"
        if self.server.busy:
            self.server.busy -= 1
            return 429, b""
        films = {603: ("matrix", "Wake up, Neo."), 604: ("evil", "<script>alert(1)</script>")}
        poster, overview = films.get(int(self.path.split("?")[0].rsplit("/")[-1]), (None, None))
        if poster is None:
            return 404, b"{}"
        return 200, json.dumps({"overview": overview, "poster_path": f"/{poster}.jpg"}).encode()

    def log_message(self, *args):
        pass


@pytest.fixture
def films_database(settings, monkeypatch):
    settings.NIGHTREEL_TMDB_KEY = KEY
    with ThreadingHTTPServer(("127.0.0.1", 0), Tmdb) as server:
        server.asked, server.busy = [], 1
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        defaults = tmdb.Tmdb.__init__.__kwdefaults__
        monkeypatch.setitem(defaults, "api", f"{url}/3")
        monkeypatch.setitem(defaults, "images", f"{url}/images")
        yield server
        server.shutdown()
        thread.join()


def fetch(**options):
    output = StringIO()
    call_command("fetch_posters", stdout=output, pause=0, **options)
    return output.getvalue()


@pytest.fixture
def with_tmdb_ids(make, publish):
    ids = {MATRIX: "603", STRADA: "604", IDS["Up"]: "605"}
    return publish(make(tmdb_id=[ids.get(100 + row) for row in range(len(MOVIES))]))


def test_posters_are_fetched_once_and_shown(client, films_database, with_tmdb_ids):
    assert "Fetched 3 films, 1 with a poster" in fetch()
    page = client.get(f"/films/{MATRIX}")
    assert "Wake up, Neo." in text(page)
    assert "not endorsed or certified by TMDB" in text(page)
    poster = page.content.decode().split('<img src="')[1].split('"')[0]
    answer = client.get(poster)
    assert (b"".join(answer.streaming_content), answer["Content-Type"]) == (JPEG, "image/jpeg")
    assert "immutable" in answer["Cache-Control"]
    assert suggested(client, "matrix")[0]["poster"] == poster
    results = client.get(f"/?seed={IDS['Alien']}:5&taste=1")
    assert poster in results.content.decode()
    assert "not endorsed" in text(results)
    films_database.asked.clear()
    assert "Fetched 0 films" in fetch()
    assert films_database.asked == []


def test_what_is_no_picture_is_not_kept_and_text_is_escaped(client, films_database, with_tmdb_ids):
    fetch()
    assert not FilmDetails.objects.get(pk="604").has_poster
    assert client.get("/posters/604.jpg").status_code == 404
    page = client.get(f"/films/{STRADA}").content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_what_is_old_is_fetched_again(films_database, with_tmdb_ids):
    fetch()
    FilmDetails.objects.filter(pk="603").update(fetched=timezone.now() - KEPT_FOR - timedelta(days=1))
    assert "Fetched 1 films, 1 with a poster" in fetch()


def test_fetching_stops_at_the_limit_most_rated_first(films_database, with_tmdb_ids):
    fetch(limit=1)
    assert list(FilmDetails.objects.values_list("pk", flat=True)) == ["605"]


def test_fetching_without_a_key_says_how_to_get_one(settings, with_tmdb_ids):
    with pytest.raises(CommandError, match="NIGHTREEL_SITE_TMDB_KEY is not set"):
        fetch()


def test_fetching_with_a_wrong_key_says_so_and_not_the_key(settings, films_database, with_tmdb_ids):
    settings.NIGHTREEL_TMDB_KEY = "wrong"
    with pytest.raises(CommandError, match=r"TMDB refuses the key: check NIGHTREEL_SITE_TMDB_KEY\. 0 of 3") as refusal:
        fetch()
    assert "wrong" not in str(refusal.value)


def test_pages_ask_nobody_for_details(client, model, django_assert_max_num_queries):
    client.get(f"/films/{MATRIX}")
    with django_assert_max_num_queries(3):
        client.get(f"/films/{MATRIX}")
