from __future__ import annotations

import pytest

from nightreel.recommend.titles import display_title, split_title


@pytest.mark.parametrize(
    ("text", "title", "year"),
    [
        ("Matrix, The (1999)", "The Matrix", 1999),
        ("Seven Samurai (The Magnificent Seven) (Shichinin no samurai) (1954)", "Seven Samurai", 1954),
        ("Amelie (Fabuleux destin d'Amélie Poulain, Le) (2001)", "Amelie", 2001),
        ("Avventura, L' (Adventure, The) (1960)", "L'Avventura", 1960),
        ("Man of No Importance, A (1994)", "A Man of No Importance", 1994),
        ("Corrina, Corrina (1994)", "Corrina, Corrina", 1994),
        ("(500) Days of Summer (2009)", "(500) Days of Summer", 2009),
        (
            "Birdman: Or (The Unexpected Virtue of Ignorance) (2014)",
            "Birdman: Or (The Unexpected Virtue of Ignorance)",
            2014,
        ),
        ("Assembly (Ji jie hao) (2007) ", "Assembly", 2007),
        ("Death Note: Desu nôto (2006–2007)", "Death Note: Desu nôto", 2006),
        ("1984 (1984)", "1984", 1984),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", 1968),
        ("Babylon 5", "Babylon 5", None),
        ("Postino, Il", "Il Postino", None),
        ("(1999)", "(1999)", 1999),
    ],
)
def test_display_title(text, title, year):
    assert display_title(text) == (title, year)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Heat\u00a0Wave (1995)", "Heat Wave"),
        ("He\u200eat\n (1995)", "Heat"),
        ("\x07", "Untitled"),
        ("x" * 900, "x" * 500),
    ],
)
def test_display_title_is_one_printable_line(text, shown):
    assert display_title(text)[0] == shown


@pytest.mark.parametrize(
    ("text", "alternates"),
    [
        (
            "Seven Samurai (The Magnificent Seven) (Shichinin no samurai) (1954)",
            ("Shichinin no samurai", "The Magnificent Seven"),
        ),
        ("Seven (a.k.a. Se7en) (1995)", ("Se7en",)),
        ("Amelie (Fabuleux destin d'Amélie Poulain, Le) (2001)", ("Le Fabuleux destin d'Amélie Poulain",)),
        ("Birdman: Or (The Unexpected Virtue of Ignorance) (2014)", ()),
        ("Heat (Heat) (1995)", ()),
        ("(1999)", ()),
    ],
)
def test_split_title_keeps_alternates_apart(text, alternates):
    assert split_title(text).alternates == alternates
