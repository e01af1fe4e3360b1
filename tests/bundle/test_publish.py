from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from nightreel.bundle.errors import PublishError
from nightreel.bundle.publish import publish
from nightreel.bundle.reader import sha256_of
from nightreel.bundle.schema import BundleError


class Site(ThreadingHTTPServer):
    """A stand-in for the site that keeps what it was asked and answers as it was told."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.stored: dict[str, bytes] = {}
        self.active: str | None = None
        self.report: bytes | None = None
        self.requests: list[tuple[str, str]] = []
        self.refusal: tuple[str, int, bytes] | None = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Site

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def take(self):
        self.server.requests.append((self.command, self.path))
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        refusal = self.server.refusal
        if refusal and refusal[0] == self.command:
            self.answer(*refusal[1:])
            return None
        assert self.headers["Authorization"] == "Bearer secret"
        return body

    def do_PUT(self):
        body = self.take()
        if body is None:
            return
        name = self.path.rsplit("/", 1)[1]
        if name == "report":
            self.server.report = body
            return self.answer(204, b"")
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        assert self.headers["Content-Digest"] == f"sha-256=:{digest}:"
        status = 200 if name in self.server.stored else 201
        self.server.stored[name] = body
        self.answer(status, json.dumps({"sha256": name, "run_id": "r1", "movies": 6}).encode())

    def do_POST(self):
        if self.take() is None:
            return
        name = self.path.split("/")[-2]
        previous, self.server.active = self.server.active, name
        self.answer(200, json.dumps({"sha256": name, "previous": previous}).encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def site():
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_publish_uploads_and_activates(site, write):
    path = write()
    publication = publish(path, server=site.url + "/", token="secret")
    assert publication.uploaded
    assert publication.previous is None
    assert (publication.run_id, publication.movies) == ("r1", 6)
    assert site.active == publication.sha256 == sha256_of(path)
    assert site.stored[publication.sha256] == path.read_bytes()


def test_publish_sends_the_report_that_lies_beside_the_bundle(site, write):
    path = write()
    path.with_suffix(".report.html").write_text("<h1>Last night</h1>")
    publish(path, server=site.url, token="secret")
    assert site.report == b"<h1>Last night</h1>"


def test_publish_sends_no_report_when_there_is_none(site, write):
    publish(write(), server=site.url, token="secret")
    assert site.report is None


def test_publish_again_is_harmless(site, write):
    path = write()
    publish(path, server=site.url, token="secret")
    again = publish(path, server=site.url, token="secret")
    assert not again.uploaded
    assert again.previous == again.sha256


def test_publish_sends_nothing_that_is_no_bundle(site, tmp_path):
    broken = tmp_path / "model.arrow"
    broken.write_bytes(b"ARROW1")
    with pytest.raises(BundleError):
        publish(broken, server=site.url, token="secret")
    assert site.requests == []


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (
            ("PUT", 401, b'{"title": "Unauthorized", "detail": "the token is wrong"}'),
            r"PUT .*\(401\): the token is wrong",
        ),
        (("PUT", 502, b"<h1>bad gateway</h1>"), "502: <h1>bad gateway"),
        (("POST", 422, b'{"title": "smoke query failed"}'), "POST .* 422: smoke query failed"),
        (("PUT", 200, b"<h1>hello</h1>"), "something other than JSON"),
    ],
)
def test_publish_says_what_the_site_answered(site, write, refusal, sentence):
    site.refusal = refusal
    with pytest.raises(PublishError, match=sentence):
        publish(write(), server=site.url, token="secret")
    assert site.active is None


def test_publish_says_that_nobody_listens(write):
    with Site() as closed:
        url = closed.url
    with pytest.raises(PublishError, match="did not answer PUT"):
        publish(write(), server=url, token="secret")
