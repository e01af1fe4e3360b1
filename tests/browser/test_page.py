"""A visitor in headless Chromium: three films picked by keyboard, ten recommendations, and all without script too."""

from __future__ import annotations

import pytest

from tests.web.made_bundles import IDS

pytestmark = pytest.mark.browser
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: it drives the browser")


def expect_ten_with_reasons(page, *titles):
    cards = page.locator(".card")
    sync_api.expect(cards).to_have_count(10)
    for title in titles:
        sync_api.expect(page.locator(".reasons li", has_text=title)).to_have_count(10)


def test_three_movies_picked_by_keyboard(visit, site):
    page = visit()
    for number, (typed, label) in enumerate(
        [("toy st", "Toy Story (1995)"), ("lion", "The Lion King (1994)"), ("alladin", "Aladdin (1992)")], start=1
    ):
        field = page.get_by_role("combobox").nth(number - 1)
        field.press_sequentially(typed)
        options = page.locator(f"#title{number}-list [role=option]")
        sync_api.expect(options.first).to_be_visible()
        sync_api.expect(field).to_have_attribute("aria-expanded", "true")
        field.press("ArrowDown")
        sync_api.expect(field).to_have_attribute("aria-activedescendant", f"title{number}-list-0")
        sync_api.expect(options.first).to_have_attribute("aria-selected", "true")
        field.press("Enter")
        sync_api.expect(field).to_have_value(label)
        sync_api.expect(field).to_have_attribute("aria-expanded", "false")
    page.get_by_role("radio", name="4 of 5: liked it").nth(2).press("Space")
    page.get_by_role("combobox").nth(2).press("Enter")
    expect_ten_with_reasons(page, "Toy Story", "The Lion King", "Aladdin")
    seeds = "&".join(
        f"seed={IDS[title]}:{stars}" for title, stars in [("Toy Story", 5), ("The Lion King", 5), ("Aladdin", 4)]
    )
    assert page.url == f"{site.url}/?{seeds}&taste=0.75"


def test_escape_closes_the_list_and_keeps_the_text(visit):
    page = visit()
    field = page.get_by_role("combobox").first
    field.press_sequentially("star")
    sync_api.expect(page.get_by_role("option").first).to_be_visible()
    field.press("Escape")
    sync_api.expect(page.get_by_role("option")).to_have_count(0)
    sync_api.expect(field).to_have_value("star")


def test_three_movies_without_javascript(visit):
    page = visit(java_script_enabled=False)
    for number, typed in enumerate(["toy story", "star wars", "amelie"], start=1):
        page.locator(f"#title{number}").fill(typed)
    page.locator("[name=rating3][value='1']").check(force=True)
    page.get_by_role("button", name="Find ten films").click()
    sync_api.expect(page.get_by_text("Which one do you mean?")).to_be_visible()
    page.get_by_role("radio", name="The Empire Strikes Back").check()
    page.get_by_role("button", name="Find ten films").click()
    expect_ten_with_reasons(page, "Toy Story", "The Empire Strikes Back", "Amélie")


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_page_fits_the_width(visit, site, width):
    page = visit(viewport={"width": width, "height": 800})
    page.get_by_role("link", name="Try an example").click()
    expect_ten_with_reasons(page, "Toy Story")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
