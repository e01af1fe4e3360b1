"""The loop closed: what a visitor rates on the site, the next night learns from, until the visitor withdraws."""

from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from nightreel.airflow.assets import RATINGS
from nightreel.bundle.reader import open_bundle, sha256_of
from nightreel.cli.demo import Stack
from tests.night.night import Night, Outcome

pytestmark = [pytest.mark.night, pytest.mark.sandbox, pytest.mark.spark, pytest.mark.browser, pytest.mark.timeout(3600)]
GOOD = Outcome(colour="success", left=0, spark_runs=1)
STARS = ("5 of 5: loved it", "4 of 5: liked it", "1 of 5: hated it")


@dataclass(frozen=True)
class Learnt:
    """What a night has learnt from, by the bundle that the site serves after it."""

    counts: dict[int, int]
    """Ratings by movie."""
    ratings: int
    users: int
    said: int
    """How many ratings of visitors the run's Asset tells of."""


def learn(stack: Stack, night: Night) -> Learnt:
    assert night.outcome() == GOOD, night.why()
    file = night.folder / "similarity.arrow"
    assert stack.site.served_model() == sha256_of(file)
    bundle = open_bundle(file)
    return Learnt(
        counts=dict(zip(bundle.movie_ids.tolist(), bundle.rating_counts.tolist(), strict=True)),
        ratings=bundle.metadata.dataset["ratings"],
        users=bundle.metadata.dataset["users"],
        said=night.said_with(RATINGS.name)["visitor_ratings"],
    )


def rate(page: Page, address: str, words: str) -> None:
    page.goto(address)
    star = page.get_by_role("radio", name=words)
    star.check(force=True)
    expect(star).to_be_checked()


def test_ratings_of_a_visitor_are_learnt_and_withdrawn_ones_forgotten(
    stack: Stack, begin: type[Night], browser: Browser
) -> None:
    before = learn(stack, begin.begin(stack, seed=41))
    rated = sorted(before.counts, key=lambda movie: -before.counts[movie])[: len(STARS)]
    page = browser.new_context().new_page()
    page.set_default_timeout(120_000)
    for movie, words in zip(rated, STARS, strict=True):
        rate(page, f"{stack.site.url}/films/{movie}", words)
    page.goto(f"{stack.site.url}/list")
    page.get_by_role("button", name="Yes, use my ratings").click()
    expect(page.get_by_text("3 ratings join the nightly training.").last).to_be_visible(timeout=120_000)

    after = learn(stack, begin.begin(stack, seed=41))
    assert after.counts == before.counts | {movie: before.counts[movie] + 1 for movie in rated}
    assert (after.ratings, after.users) == (before.ratings + 3, before.users + 1)
    assert (before.said, after.said) == (0, 3)

    page.goto(f"{stack.site.url}/list")
    page.get_by_role("button", name="Stop, and delete my ratings there").click()
    expect(page.get_by_text("It is deleted").last).to_be_visible(timeout=120_000)
    assert learn(stack, begin.begin(stack, seed=41)) == before
