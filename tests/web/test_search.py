from __future__ import annotations

import pytest

from recommender.search import fold, search, unambiguous
from tests.web.made_bundles import IDS


@pytest.fixture
def titles(model):
    def find(text, **options):
        return [movie.title for movie in search(text, dataset=model.dataset, known=model.knows, **options)]

    return find


@pytest.mark.parametrize(
    ("title", "key"),
    [
        ("The Matrix", "matrix"),
        ("Amélie", "amelie"),
        ("E.T. the Extra-Terrestrial", "et the extra terrestrial"),
        ("Schindler’s List", "schindlers list"),
        ("Lilo & Stitch", "lilo and stitch"),
        ("Øya", "oya"),
        ("The", "the"),
        ("  ", ""),
    ],
)
def test_fold_forgives(title, key):
    assert fold(title) == key


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("matrix", "The Matrix"),
        ("THE MATRIX", "The Matrix"),
        ("amelie", "Amélie"),
        ("oya", "Øya"),
        ("lion ki", "The Lion King"),
        ("king lion", "The Lion King"),
        ("et", "E.T. the Extra-Terrestrial"),
        ("schindlers", "Schindler's List"),
        ("wall-e", "WALL·E"),
        ("wall e", "WALL·E"),
        ("a space odyssey", "2001: A Space Odyssey"),
    ],
)
def test_search_finds(titles, text, first):
    assert titles(text)[0] == first


@pytest.mark.parametrize("text", ["alladin", "aladin", "Alladin (1992)"])
def test_search_forgives_a_slip(titles, text):
    assert titles(text)[0] == "Aladdin"


def test_search_ranks_the_exact_title_before_a_more_rated_longer_one(titles):
    assert titles("blade runner") == ["Blade Runner", "Blade Runner 2049"]


def test_search_ranks_equal_matches_by_rating_count(titles):
    assert titles("star wars") == [
        "Star Wars: Episode IV - A New Hope",
        "Star Wars: Episode V - The Empire Strikes Back",
    ]


@pytest.mark.parametrize("text", ["aladdin (1992)", "aladdin 1992"])
def test_search_narrows_by_year(titles, text):
    assert titles(text) == ["Aladdin"]


def test_search_takes_a_number_for_a_title_before_a_year(titles):
    assert titles("blade runner 2049") == ["Blade Runner 2049"]


@pytest.mark.parametrize("text", ["", "   ", "...", "qqqqqqqqq", "%", "_" * 5, "x" * 5000, "\x00"])
def test_search_without_an_answer(titles, text):
    assert titles(text) == []


def test_search_is_bounded(titles):
    assert len(titles("a", limit=3)) == 3


def test_search_leaves_out_movies_that_the_model_does_not_know(model):
    found = search("toy story", dataset=model.dataset, known=lambda movie_id: movie_id != IDS["Toy Story"])
    assert [movie.title for movie in found] == ["Toy Story 2"]


def test_search_leaves_out_other_datasets(model):
    assert search("matrix", dataset="another", known=lambda _: True) == []


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("toy story", "Toy Story"),
        ("Toy Story (1995)", "Toy Story"),
        ("gilda", "Gilda"),
        ("star wars", None),
        ("emma", None),
    ],
)
def test_unambiguous(model, text, title):
    found = search(text, dataset=model.dataset, known=model.knows)
    movie = unambiguous(text, found)
    assert (movie and movie.title) == title
