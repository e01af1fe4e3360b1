from __future__ import annotations

import pytest

from recommender.answers import Because, Recommendation, Seed
from recommender.cards import PLAIN_TONE, card, tone
from recommender.models import Movie


def recommendation(*shares: float, rating: float = 5, popularity: float = 0.0) -> Recommendation:
    because = tuple(
        Because(seed=Seed(movie_id=row, rating=rating), movie=Movie(movie_id=row, title=f"M{row}"), share=share)
        for row, share in enumerate(shares)
    )
    return Recommendation(movie=Movie(title="X"), score=1.0, because=because, popularity_share=popularity)


def test_card_puts_the_strongest_reason_first():
    parts = card(recommendation(0.2, 0.5, -0.1, popularity=0.2)).parts
    assert [part.source for part in parts] == ["seed-2", "seed-1", "everybody", "seed-3"]


def test_card_fills_the_bar_without_gaps():
    parts = card(recommendation(0.2, 0.5, -0.1, popularity=0.2)).parts
    assert [(part.start, part.width) for part in parts] == [(0, 50), (50, 20), (70, 20), (90, 10)]


@pytest.mark.parametrize(
    ("rating", "verb"), [(5, "loved"), (4, "liked"), (3, "found so-so"), (2, "disliked"), (1, "hated")]
)
def test_card_names_the_rating(rating, verb):
    assert card(recommendation(1.0, rating=rating)).parts[0].lead == f"because you {verb}"


def test_card_says_in_spite_of():
    part = card(recommendation(-1.0, rating=1)).parts[0]
    assert (part.lead, part.title, part.tail, part.percent) == ("in spite of", "M0", ", which you hated", "−100%")


def test_card_leaves_out_popularity_that_says_nothing():
    assert [part.source for part in card(recommendation(1.0)).parts] == ["seed-1"]


def test_card_says_less_than_one_percent():
    assert card(recommendation(0.001)).parts[0].percent == "<1%"


@pytest.mark.parametrize(
    ("genres", "name"),
    [(["Comedy", "Animation"], "dawn"), (["Drama"], "dusk"), (["Drama", "Horror"], "noir"), ([], PLAIN_TONE)],
)
def test_tone_follows_the_most_telling_genre(genres, name):
    assert tone(genres) == name
