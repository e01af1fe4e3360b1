"""What only real server processes show: two workers, short bodies on a socket, static files."""

from __future__ import annotations

import socket

import httpx
import pytest

from nightreel.bundle.errors import PublishError
from nightreel.bundle.publish import publish
from tests.web.live_site import TOKEN, live_site
from tests.web.made_bundles import make_bundle

MOST_REQUESTS = 400


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with live_site(tmp_path_factory.mktemp("live")) as running:
        yield running


@pytest.fixture
def bundle(tmp_path):
    """Write a bundle and return its path and digest; each test gets one of its own."""
    path = tmp_path / "model.arrow"
    return path, make_bundle(path, run_id=tmp_path.name).sha256


def models_of_both_workers(site):
    """Ask over new connections until both workers have answered, and return the model ids they gave."""
    before = site.access_log.read_text().count("\n")
    models = set()
    for _ in range(MOST_REQUESTS):
        models.add(httpx.get(f"{site.url}/api/v1/recommendations?seed=100:5").json()["model"])
        lines = site.access_log.read_text().splitlines()[before:]
        if len({line.split()[0] for line in lines}) == 2:
            return models
    raise AssertionError(f"only one worker answered {MOST_REQUESTS} requests")


def test_activation_is_seen_by_every_worker(site, tmp_path):
    path = tmp_path / "model.arrow"
    for night in ("first", "second"):
        digest = make_bundle(path, run_id=night).sha256
        publish(path, server=site.url, token=TOKEN)
        assert models_of_both_workers(site) == {digest}


def test_publish_twice_is_harmless(site, bundle):
    path, digest = bundle
    first, second = (publish(path, server=site.url, token=TOKEN) for _ in range(2))
    assert (first.sha256, first.uploaded) == (digest, True)
    assert (second.sha256, second.uploaded, second.previous) == (digest, False, first.previous)


def test_publish_with_the_wrong_token_says_so(site, bundle):
    with pytest.raises(PublishError, match="401"):
        publish(bundle[0], server=site.url, token="wrong")


def raw(site, head, body):
    """Send these very bytes, close our half, and return the whole answer."""
    lines = [f"Host: 127.0.0.1:{site.port}", f"Authorization: Bearer {TOKEN}", *head]
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as connection:
        connection.sendall("\r\n".join([f"PUT /api/v1/bundles/{'0' * 64} HTTP/1.1", *lines, "", ""]).encode() + body)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    return answer.decode()


def test_a_body_cut_short_is_400_and_leaves_nothing(site):
    before = sorted(site.data.rglob("*.arrow"))
    digest = f"Content-Digest: sha-256=:{'A' * 43}=:"
    answer = raw(site, [digest, "Content-Length: 100000"], b"x" * 5000)
    assert answer.startswith("HTTP/1.1 400")
    assert "cut short: 5000 of 100000 bytes" in answer
    assert sorted(path for path in (site.data / "bundles").glob("*")) == before


def test_a_chunked_body_is_411(site):
    answer = raw(site, ["Transfer-Encoding: chunked"], b"5\r\nhello\r\n0\r\n\r\n")
    assert answer.startswith("HTTP/1.1 411")


def test_a_refused_upload_still_gets_its_answer(site, bundle):
    response = httpx.put(f"{site.url}/api/v1/bundles/{bundle[1]}", content=b"x" * 8_000_000)
    assert response.status_code == 401


@pytest.mark.parametrize("name", ["site.css", "combobox.js", "icon.svg"])
def test_static_files_are_served_without_collecting_them(site, name):
    assert httpx.get(f"{site.url}/static/recommender/{name}").is_success


def test_errors_do_not_show_the_inside(site):
    response = httpx.get(f"{site.url}/nothing")
    assert response.status_code == 404
    assert "config.urls" not in response.text
