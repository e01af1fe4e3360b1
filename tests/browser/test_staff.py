"""What staff sees: axe finds nothing there either, a report opens locked away, and going back is one click."""

from __future__ import annotations

import os
import subprocess
import sys

import httpx
import pytest

from tests.web.live_site import ROOT, TOKEN

pytestmark = pytest.mark.browser
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: it drives the browser")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()

NAME, PASSWORD = "ann", "a-long-word-of-hers"
PAGES = [
    "/staff/models/",
    "/admin/",
    *(f"/admin/recommender/{kind}/" for kind in ("movie", "storedbundle", "activation", "apitoken")),
    "/admin/recommender/movie/1/change/",
    "/admin/password_change/",
]
REPORT = """<!doctype html><html lang="en"><head><title>Report</title><style>h1 { color: rgb(1, 2, 3) }</style></head>
<body><h1>Last night</h1><script>document.title = "it ran"</script></body></html>"""


@pytest.fixture(scope="module")
def staffed(site):
    """The site with somebody of the staff and a report beside its model."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NIGHTREEL_SITE")}
    environment |= {
        "NIGHTREEL_SITE_DATA": str(site.data),
        "NIGHTREEL_SITE_SECRET_KEY": "only-for-tests",
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
    }
    make = ["createsuperuser", "--noinput", "--username", NAME, "--email", "ann@example.org"]
    subprocess.run([sys.executable, str(ROOT / "web/manage.py"), *make], env=environment, check=True)
    sha256 = httpx.get(f"{site.url}/api/v1/model").json()["sha256"]
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "text/html"}
    httpx.put(f"{site.url}/api/v1/bundles/{sha256}/report", content=REPORT, headers=headers).raise_for_status()
    return site


@pytest.fixture
def log_in(visit, staffed):
    def open_page(path, **options):
        page = visit(path, **options)
        page.get_by_label("Username").fill(NAME)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"**{path}")
        return page

    return open_page


def violations(page):
    return [f"{found['id']}: {found['nodes'][0]['html']}" for found in axe.run(page).response["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_at_the_login(visit, scheme):
    assert violations(visit("/admin/login/?next=/staff/models/", color_scheme=scheme)) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_for_staff(log_in, staffed, scheme):
    page = log_in("/staff/models/", color_scheme=scheme)
    found = {}
    for path in PAGES:
        page.goto(staffed.url + path)
        found[path] = violations(page)
    assert not any(found.values()), found


def test_the_report_opens_from_the_models_page_and_runs_nothing(log_in, complaints):
    page = log_in("/staff/models/")
    page.get_by_role("link", name="report of run").click()
    page.wait_for_url("**/report/")
    heading = page.get_by_role("heading", name="Last night")
    sync_api.expect(heading).to_be_visible()
    assert heading.evaluate("element => getComputedStyle(element).color") == "rgb(1, 2, 3)"
    assert page.title() == "Report"
    assert [complaint.split(" in ")[0] for complaint in complaints] == ["Blocked script execution"]
    complaints.clear()
