from __future__ import annotations

import hashlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site_settings
from django.test import Client

from recommender import publishing
from recommender.model_store import ServedModel, store
from recommender.models import StoredBundle
from tests.web.made_bundles import MadeBundle, make_bundle

TOKEN = "a-token-for-tests-only"
site_settings.SECRET_KEY = "only-for-tests"  # the site itself starts with none in its settings


@pytest.fixture(autouse=True)
def _site(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site with an empty data folder, a token, and no model opened by an earlier test."""
    settings.NIGHTREEL_DATA_FOLDER = tmp_path / "site"
    settings.NIGHTREEL_TOKEN_SHA256 = hashlib.sha256(TOKEN.encode()).hexdigest()
    monkeypatch.setattr(store, "_opened", None)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., MadeBundle]:
    return lambda **changes: make_bundle(tmp_path / "made.arrow", **changes)


@pytest.fixture
def receive(db: None) -> Callable[[MadeBundle], StoredBundle]:
    def store_bundle(made: MadeBundle) -> StoredBundle:
        stored, _ = publishing.receive(BytesIO(made.body).read, sha256=made.sha256, length=len(made.body))
        return stored

    return store_bundle


@pytest.fixture
def publish(receive: Callable[[MadeBundle], StoredBundle]) -> Callable[[MadeBundle], ServedModel]:
    def store_and_activate(made: MadeBundle) -> ServedModel:
        publishing.activate(receive(made))
        model = store.current()
        assert model is not None
        return model

    return store_and_activate


@pytest.fixture
def model(make: Callable[..., MadeBundle], publish: Callable[[MadeBundle], ServedModel]) -> ServedModel:
    """The made-up model, serving."""
    return publish(make())


@pytest.fixture
def put(client: Client, db: None) -> Callable[..., Any]:
    """Upload a bundle over HTTP; keyword arguments replace what a good client would send."""

    def upload(made: MadeBundle, *, name: str | None = None, body: bytes | None = None, **headers: str) -> Any:
        good = {"authorization": f"Bearer {TOKEN}", "content-digest": made.content_digest}
        sent = good | {key.replace("_", "-"): value for key, value in headers.items()}
        return client.put(
            f"/api/bundles/{name or made.sha256}",
            data=made.body if body is None else body,
            content_type="application/vnd.apache.arrow.file",
            headers={key: value for key, value in sent.items() if value},
        )

    return upload
