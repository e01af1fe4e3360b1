"""Headless Chromium and one site for all browser tests."""

from __future__ import annotations

import shutil

import pytest

from nightreel.bundle.publish import publish
from tests.web.live_site import TOKEN, live_site
from tests.web.made_bundles import make_bundle

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: it drives the browser")

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="session")
def browser():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on PATH: `apt-get install chromium` brings one")
    with sync_api.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    with live_site(folder) as running:
        make_bundle(folder / "model.arrow")
        publish(folder / "model.arrow", server=running.url, token=TOKEN)
        yield running


@pytest.fixture
def complaints():
    """What went wrong in the browser or went elsewhere; a test that wants it so takes it out."""
    return []


@pytest.fixture
def visit(browser, site, complaints):
    """Open the page; at the end nothing may have gone elsewhere or failed, not even by the policy's refusal."""
    contexts = []

    def open_page(path="/", **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url) if site.url not in request.url else None)
        page.goto(site.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
