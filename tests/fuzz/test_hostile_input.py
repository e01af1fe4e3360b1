"""Hostile bundles, queries and headers: no crash, no 500, and the model of before goes on.

Every request goes through the whole site in this process, and an exception that would be a 500 fails the test with
what caused it. `make fuzz` sends FUZZ_EXAMPLES of them, `make test` a small fixed part.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from io import BytesIO

import pytest
from django.test import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from recommender import publishing
from recommender.model_store import store
from tests.fuzz import hostile
from tests.web.conftest import TOKEN
from tests.web.made_bundles import MadeBundle, make_bundle

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "450"))
BEARER = {"authorization": f"Bearer {TOKEN}"}
FUZZED = settings(
    max_examples=EXAMPLES // 3,
    deadline=None,
    database=None,
    derandomize=EXAMPLES <= 1000,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)
ASKED = [
    "/",
    "/?seed=100:5",
    "/model/",
    "/api/v1/model",
    "/api/v1/recommendations?seed=100:5",
    "/api/v1/movies?q=matrix",
]
pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600 + EXAMPLES // 10)]


@pytest.fixture(autouse=True)
def _quiet():
    """A hundred thousand log lines would be most of the work."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def quick_disk(monkeypatch):
    """Files need not survive a power cut here."""
    monkeypatch.setattr(publishing.os, "fsync", lambda handle: None)


@pytest.fixture
def sent(capsys):
    """Counts what was sent by how it was answered, and prints it at the end."""
    counted: Counter[str] = Counter()
    yield counted
    with capsys.disabled():
        answers = ", ".join(f"{status}: {count:,}" for status, count in sorted(counted.items()))
        print(f"\n  {counted.total():,} sent, answered with {answers}")  # noqa: T201


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("good") / "model.arrow").body


def still_serves(model):
    """Say whether the model of before answers."""
    answer = Client().get("/api/v1/recommendations?seed=100:5")
    return answer.status_code == 200 and answer.json()["model"] == model.sha256


def test_hostile_bundles(model, quick_disk, sent, good):
    client = Client()

    @FUZZED
    @given(hostile.bundles(good))
    def send(body):
        made = MadeBundle(body)
        headers = BEARER | {"content-digest": made.content_digest}
        path = f"/api/v1/bundles/{made.sha256}"
        answer = client.put(path, body, content_type="application/octet-stream", headers=headers)
        sent[str(answer.status_code)] += 1
        assert answer.status_code in {200, 201, 411, 422}, answer.content  # 411: the test client names no length of 0
        if answer.status_code < 300 and made.sha256[0] in "0123":  # a quarter: it costs as much as all the rest
            serve_and_go_back(path, made.sha256)
        assert store.current().sha256 == model.sha256

    def serve_and_go_back(path, sha256):
        """What was found valid has to be answerable too, or be refused by the smoke query."""
        answer = client.post(f"{path}/activate", headers=BEARER)
        sent[f"activation {answer.status_code}"] += 1
        assert answer.status_code in {200, 422}, answer.content
        if answer.status_code == 200:
            assert store.current().sha256 == sha256
            assert all(client.get(asked).status_code < 500 for asked in ASKED)
        publishing.activate(model.stored)

    send()
    assert still_serves(model)
    # What Hypothesis draws depends on the modules beside the test: of this part a half to three quarters are refused.
    assert sent["422"] > (sent["200"] + sent["201"]) / 2


def test_hostile_queries(model, sent):
    client = Client()

    @FUZZED
    @given(hostile.PATHS, hostile.QUERY)
    def send(path, query):
        answer = client.generic("GET", path, QUERY_STRING=query)
        sent[str(answer.status_code)] += 1
        assert answer.status_code < 500, answer.content

    send()
    assert still_serves(model)


def test_hostile_headers_methods_and_bodies(model, sent):
    client = Client()

    @FUZZED
    @given(hostile.METHODS, hostile.PATHS, hostile.HEADERS, st.binary(max_size=60))
    def send(method, path, headers, body):
        client.cookies.clear()
        answer = client.generic(
            method,
            path,
            body,
            content_type=headers.get("content-type", "text/plain"),
            headers=headers,
            **{"wsgi.input": BytesIO(body)},  # as a server gives it: a length that is a lie ends it early
        )
        sent[str(answer.status_code)] += 1
        assert answer.status_code < 500, answer.content

    send()
    assert still_serves(model)
