"""Usable by everyone: axe finds nothing, the keyboard is enough, and so is a narrow, dark or calm screen."""

from __future__ import annotations

import pytest

from tests.web.made_bundles import IDS

pytestmark = pytest.mark.browser
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: it drives the browser")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()

TOY, LION, MATRIX, STRADA = (IDS[title] for title in ("Toy Story", "The Lion King", "The Matrix", "La Strada"))
RESULTS = f"/?seed={TOY}:5&seed={LION}:4&seed={MATRIX}:1&taste=0.5"
PAGES = {
    "start": "/",
    "results": RESULTS,
    "filters": f"{RESULTS}&genre=Drama&without=Sci-Fi&decade=1950&fame=-1",
    "nothing passes": f"/?seed={TOY}:5&genre=Sci-Fi&decade=1990&fame=-2",
    "a surprise": "/?surprise=7&taste=0.5",
    "a title that means several": "/?title1=star+wars&rating1=4&title2=nothing+of+the+kind",
    "film": f"/films/{STRADA}",
    "list": "/list",
    "privacy": "/privacy",
    "model": "/model/",
    "API": "/api/",
}
UNFOLD = "() => document.querySelectorAll('details').forEach((details) => { details.open = true; })"
REMEMBERED = """() => {
  const entry = (label, stars) => ({ label, at: 1, ...(stars ? { stars } : {}) });
  const set = { ratings: { 100: entry("Toy Story (1995)", 4) }, seen: { 105: entry("WALL·E (2008)") }, hidden: {} };
  localStorage.setItem("nightreel", JSON.stringify({ version: 1, sets: { "made up": set } }));
}"""


def violations(page):
    return [f"{found['id']}: {found['nodes'][0]['html']}" for found in axe.run(page).response["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit, site, scheme):
    page = visit(color_scheme=scheme, reduced_motion="reduce")
    page.evaluate(REMEMBERED)
    for name, path in PAGES.items():
        page.goto(site.url + path)
        page.evaluate(UNFOLD)
        assert violations(page) == [], name


def test_axe_finds_nothing_in_an_open_list(visit):
    page = visit(reduced_motion="reduce")
    page.locator("#title1").press_sequentially("star")
    sync_api.expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    assert violations(page) == []


def tab_to(page, locator, *, most=80):
    """Press Tab until the element has the focus, as somebody without a mouse would."""
    for _ in range(most):
        if locator.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{locator} cannot be reached with {most} tabs")


def test_the_whole_journey_by_keyboard(visit, site):
    page = visit()
    page.keyboard.press("Tab")
    sync_api.expect(page.get_by_role("link", name="Skip to the films")).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, page.locator("#title1"))
    page.keyboard.type("toy st")
    sync_api.expect(page.locator("#title1-list [role=option]").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#title1")).to_have_value("Toy Story (1995)")
    tab_to(page, page.locator("[name=rating1][value='5']"))
    page.keyboard.press("ArrowLeft")
    tab_to(page, page.get_by_role("button", name="Find ten films"))
    page.keyboard.press("Enter")
    sync_api.expect(page.locator(".card")).to_have_count(10)
    assert f"seed={TOY}:4" in page.url

    tab_to(page, page.locator("#taste"))
    page.keyboard.press("End")
    page.wait_for_url("**taste=1*")
    tab_to(page, page.locator("[data-filters] summary"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("group", name="None of these genres").get_by_label("Drama"))
    page.keyboard.press("Space")
    page.wait_for_url("**without=Drama*")
    tab_to(page, page.get_by_role("link", name="Ten more"))
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#film-11 a")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    sync_api.expect(page.get_by_text(": seen.").first).to_be_visible()
    sync_api.expect(page.locator("#film-11 a")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/films/*")
    tab_to(page, page.get_by_role("radio", name="1 of 5: hated it"))
    page.keyboard.press("Space")
    tab_to(page, page.get_by_role("link", name="your list", exact=True))
    page.keyboard.press("Enter")
    page.wait_for_url("**/list")
    sync_api.expect(page.get_by_role("heading", name="My ratings")).to_be_visible()
    erase = page.get_by_role("button", name="Erase everything")
    tab_to(page, erase)
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Tab")
    sync_api.expect(page.get_by_role("button", name="Yes, erase")).to_be_focused()
    page.keyboard.press("Enter")
    sync_api.expect(erase).to_be_focused()
    sync_api.expect(page.get_by_text("Nothing yet.")).to_be_visible()


def test_the_whole_journey_without_javascript(visit, site):
    page = visit(java_script_enabled=False)
    page.locator("#title1").fill("la strada")
    page.locator("[data-filters] summary").click()
    page.get_by_role("group", name="From these decades").get_by_label("1950s").check()
    page.get_by_role("button", name="Find ten films").click()
    assert page.url == f"{site.url}/?seed={STRADA}:5&taste=0.75&decade=1950"
    years = page.locator(".card .year").all_inner_texts()
    assert years
    assert all(year.strip().startswith("195") for year in years)
    page.get_by_role("link", name="Drop the filters").click()
    page.get_by_role("link", name="Ten more").click()
    sync_api.expect(page.locator(".card")).to_have_count(20)
    page.locator(".card a").first.click()
    sync_api.expect(page.get_by_role("heading", name="Liked by the same people")).to_be_visible()
    page.get_by_role("link", name="Start from this film").click()
    sync_api.expect(page.locator(".card")).to_have_count(10)
    page.get_by_role("button", name="Surprise me").click()
    sync_api.expect(page.get_by_role("heading", name="A stranger’s evening")).to_be_visible()
    page.get_by_role("link", name="Your list").click()
    sync_api.expect(page.get_by_text("nothing can be remembered")).to_be_visible()
    sync_api.expect(page.get_by_role("button", name="Yes, use my ratings")).to_be_hidden()


def test_every_page_fits_320_pixels(visit, site):
    page = visit(viewport={"width": 320, "height": 640})
    page.evaluate(REMEMBERED)
    for name, path in PAGES.items():
        page.goto(site.url + path)
        page.evaluate(UNFOLD)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, name


def test_dark_mode_is_dark_and_light_mode_light(visit, site):
    brightness = """() => {
      const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).map(Number);
      return (r + g + b) / 3;
    }"""
    assert visit(color_scheme="dark").evaluate(brightness) < 40
    assert visit(color_scheme="light").evaluate(brightness) > 215


def test_nothing_moves_for_those_who_want_none(visit):
    animation = "() => getComputedStyle(document.querySelector('.card')).animationName"
    assert visit(RESULTS, reduced_motion="reduce").evaluate(animation) == "none"
    assert visit(RESULTS, reduced_motion="no-preference").evaluate(animation) == "rise"
