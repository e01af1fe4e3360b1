"""Movies as people call them: "Matrix, The (1999)" is The Matrix, of 1999."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from nightreel.bundle.checks import LONGEST_TITLE, MOST_TITLES

ARTICLES = [
    "The",
    "A",
    "An",
    "Le",
    "La",
    "Les",
    "Un",
    "Une",
    "L'",
    "Il",
    "Lo",
    "Gli",
    "Una",
    "El",
    "Los",
    "Las",
    "Das",
    "Der",
    "Die",
    "Ein",
    "Eine",
    "Den",
    "Det",
]
"""Words that MovieLens moves behind a comma; those that end other titles as well (I, De, Da) are left out."""

GENRE_NAMES = {"Children's": "Children"}
NO_GENRES = {"(no genres listed)", "unknown", ""}

_YEAR = re.compile(r"\s*\((\d{4})(?:[-–](?:\d{4})?)?\)$")
_ALTERNATE = re.compile(r"(?<!^)\s+\(([^()]*)\)$")
_ALSO = re.compile(r"^a\.?k\.?a\.?:? ", re.IGNORECASE)
_ARTICLE = re.compile(rf"^(.+), ({'|'.join(ARTICLES)})$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Movie:
    """A movie as the site shows it; `alternates` are what else it is called."""

    title: str
    year: int | None = None
    genres: tuple[str, ...] = ()
    imdb_id: str | None = None
    tmdb_id: str | None = None
    alternates: tuple[str, ...] = ()

    @classmethod
    def from_text(cls, text: str, *, genres: Sequence[str] = (), year: int | None = None) -> Self:
        """Read a title as a data set writes it; a year that is given goes before one in the title."""
        found = split_title(text)
        return cls(
            title=found.title,
            year=year if year is not None else found.year,
            genres=tuple(GENRE_NAMES.get(name, name) for name in genres if name not in NO_GENRES),
            alternates=found.alternates,
        )


@dataclass(frozen=True)
class Title:
    """A title taken apart."""

    title: str
    year: int | None
    alternates: tuple[str, ...]


def split_title(text: str) -> Title:
    """Split a MovieLens title into its display form, the year and the other titles in brackets behind it.

    The last pair of brackets holds the original title, so the others come in reverse: "Seven Samurai (The Magnificent
    Seven) (Shichinin no samurai) (1954)" is Seven Samurai of 1954, also called Shichinin no samurai and The Magnificent
    Seven. An article behind a comma goes to the front.
    """
    text = _printable(text)
    title, year = text, None
    if found := _YEAR.search(title):
        title, year = title[: found.start()], int(found[1])
    bare, others = title, list[str]()
    while found := _ALTERNATE.search(bare):
        others.append(found[1])
        bare = bare[: found.start()]
    # "Birdman: Or (The Unexpected Virtue of Ignorance)": there the brackets are the title.
    if re.search(r"(:|\bor)$", bare, re.IGNORECASE):
        bare, others = title, []
    shown = _with_article_first(bare).strip() or text or "Untitled"
    alternates = (_with_article_first(_ALSO.sub("", other)).strip() for other in others)
    known = tuple(dict.fromkeys(other for other in alternates if other and other != shown))
    return Title(shown, year, known[:MOST_TITLES])


def display_title(text: str) -> tuple[str, int | None]:
    """Return the display form of a MovieLens title and its year, None when it has none."""
    found = split_title(text)
    return found.title, found.year


def _with_article_first(title: str) -> str:
    if not (found := _ARTICLE.match(title)):
        return title
    space = "" if found[2].endswith("'") else " "
    return f"{found[2]}{space}{found[1]}"


def _printable(text: str) -> str:
    """The text on one line, as long as a bundle takes it, without characters that only steer a screen."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())[:LONGEST_TITLE].strip()
