"""What the browser remembers: it hides exactly, can be taken back, carried away, erased, and lent to the training."""

from __future__ import annotations

import json
import re
import sqlite3

import pytest

from tests.web.made_bundles import IDS

pytestmark = pytest.mark.browser
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: it drives the browser")

TOY = IDS["Toy Story"]
RESULTS = f"/?seed={TOY}:5&taste=0.5"


def titles(page):
    return page.locator(".card h3").all_inner_texts()


def test_the_slider_gives_what_the_server_gives(visit, site):
    page = visit(f"{RESULTS}&seed={IDS['The Matrix']}:4&seed={IDS['La Strada']}:5")
    before = titles(page)
    page.locator("#taste").fill("0")
    page.wait_for_url("**taste=0")
    sync_api.expect(page.locator("[data-query$='taste=0']")).to_be_visible()
    live = titles(page)
    page.reload()
    assert titles(page) == live != before


def test_seen_hides_and_undo_brings_back(visit):
    page = visit(RESULTS)
    first, second, *_ = before = titles(page)
    page.locator("#film-1").get_by_role("button", name="Seen").click()
    sync_api.expect(page.locator("#film-1 h3")).to_have_text(second)
    after = titles(page)
    assert len(after) == 10
    assert first not in after
    page.reload()
    sync_api.expect(page.locator("#film-1 h3")).to_have_text(second)
    page.get_by_label("Hide what I have seen").uncheck()
    sync_api.expect(page.locator("#film-1 h3")).to_have_text(first)
    assert titles(page) == before
    page.get_by_label("Hide what I have seen").check()
    sync_api.expect(page.locator("#film-1 h3")).to_have_text(second)  # what is clicked must be the new first one
    page.locator("#film-1").get_by_role("button", name="Not for me").click()
    sync_api.expect(page.locator("#film-1 h3")).not_to_have_text(second)
    page.get_by_role("button", name="Undo").click()
    sync_api.expect(page.locator("#film-1 h3")).to_have_text(second)


def test_the_link_repeats_the_page_elsewhere(visit, site):
    page = visit(RESULTS)
    first = titles(page)[0]
    page.locator("#film-1").get_by_role("button", name="Not for me").click()
    sync_api.expect(page.locator("#film-1 h3")).not_to_have_text(first)
    shown, link = titles(page), page.locator("[data-link]").get_attribute("href")
    assert "hide=" in link
    assert "hide=" not in page.url
    assert titles(visit(link)) == shown


def test_ratings_given_in_the_form_come_back(visit, site):
    page = visit()
    page.locator("#title1").press_sequentially("toy story")
    page.get_by_role("option").first.click()
    page.get_by_role("radio", name="2 of 5: disliked it").first.check(force=True)
    page.get_by_role("button", name="Find ten films").click()
    sync_api.expect(page.locator(".card")).to_have_count(10)
    page.goto(site.url)
    page.get_by_role("link", name="Start from the film you rated last").click()
    sync_api.expect(page).to_have_url(f"{site.url}/?seed={TOY}:2&taste=0.75")


def test_films_of_somebodys_link_become_ones_own_only_when_rated(visit, site):
    page = visit(RESULTS)
    page.locator("[name=taste]").fill("0.1")
    sync_api.expect(page.locator("[data-status]")).to_have_text(re.compile("up to date"))
    page.goto(f"{site.url}/list")
    sync_api.expect(page.get_by_text("Nothing yet.")).to_be_visible()
    page.goto(site.url + RESULTS)
    page.get_by_role("radio", name="2 of 5: disliked it").first.check(force=True)
    sync_api.expect(page.locator("[data-status]")).to_have_text(re.compile("up to date"))
    page.goto(f"{site.url}/list")
    sync_api.expect(page.locator("[data-part=ratings] .rows li")).to_have_count(1)


def test_the_list_is_exported_erased_and_imported(visit, site, tmp_path):
    page = visit(f"/films/{TOY}")
    page.get_by_role("button", name="Seen", exact=True).first.click()
    page.get_by_role("radio", name="4 of 5: liked it").check(force=True)
    page.goto(f"{site.url}/list")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export as a file").click()
    file = tmp_path / "list.json"
    download.value.save_as(file)
    assert json.loads(file.read_text())["sets"]["made up"]["ratings"][str(TOY)]["stars"] == 4
    page.get_by_role("button", name="Erase everything").click()
    page.get_by_role("button", name="Yes, erase").click()
    sync_api.expect(page.get_by_text("Nothing yet.")).to_be_visible()
    assert page.evaluate("localStorage.length") == 0
    page.locator("[data-import]").set_input_files(file)
    sync_api.expect(page.locator("[data-part=ratings] .rows li")).to_have_count(1)
    sync_api.expect(page.locator("[data-part=seen] .rows li")).to_have_count(1)


def stored_ratings(site):
    with sqlite3.connect(site.data / "db.sqlite3") as database:
        query = "select movie_id, stars from recommender_consentedrating where replaced is null order by movie_id"
        return database.execute(query).fetchall()


def test_consent_is_given_kept_up_and_withdrawn(visit, site):
    page = visit(f"/films/{TOY}")
    page.get_by_role("radio", name="4 of 5: liked it").check(force=True)
    assert stored_ratings(site) == []
    page.goto(f"{site.url}/list")
    page.get_by_role("button", name="Yes, use my ratings").click()
    sync_api.expect(page.get_by_text("1 rating joins the nightly training.").last).to_be_visible()
    assert stored_ratings(site) == [(TOY, 4)]
    page.goto(f"{site.url}/films/{IDS['Alien']}")
    with page.expect_response("**/remember/ratings") as answer:
        page.get_by_role("radio", name="1 of 5: hated it").check(force=True)
    assert answer.value.ok
    assert stored_ratings(site) == [(TOY, 4), (IDS["Alien"], 1)]
    page.goto(f"{site.url}/list")
    page.get_by_role("button", name="Stop, and delete my ratings there").click()
    sync_api.expect(page.get_by_text("It is deleted").last).to_be_visible()
    assert stored_ratings(site) == []
    sync_api.expect(page.locator("[data-part=ratings] .rows li")).to_have_count(2)
