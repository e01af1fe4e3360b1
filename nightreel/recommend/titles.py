"""Movies as people call them: "Matrix, The (1999)" is The Matrix, of 1999."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TextIO

from nightreel.bundle.checks import LONGEST_TITLE, MOST_TITLES
from nightreel.recommend.ratings import DatasetError, Layout

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
GENRES_100K = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]
"""The order of the nineteen flags in u.item."""

_YEAR = re.compile(r"\s*\((\d{4})(?:[-–](?:\d{4})?)?\)$")
_ALTERNATE = re.compile(r"(?<!^)\s+\(([^()]*)\)$")
_KNOWN_AS = re.compile(r"^(a\.?k\.?a\.?:?)\s+", re.IGNORECASE)
_ARTICLE = re.compile(rf"^(.+), ({'|'.join(ARTICLES)})$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Movie:
    """A movie as the site shows it."""

    title: str
    year: int | None = None
    genres: tuple[str, ...] = ()
    imdb_id: str | None = None
    tmdb_id: str | None = None
    alternates: tuple[str, ...] = ()


def display_title(text: str) -> tuple[str, int | None]:
    """Split a MovieLens title into its display form and the year, None when it has none.

    Alternates in brackets behind the title are left out, an article behind a comma goes to the front:
    "Seven Samurai (The Magnificent Seven) (Shichinin no samurai) (1954)" is Seven Samurai.
    """
    title, _, year = split_title(text)
    return title, year


def split_title(text: str) -> tuple[str, tuple[str, ...], int | None]:
    """Split a MovieLens title into its display form, its other names and the year.

    The last pair of brackets holds the original name, so the other names come in reverse: of "Seven Samurai (The
    Magnificent Seven) (Shichinin no samurai) (1954)" they are Shichinin no samurai and The Magnificent Seven.
    """
    text = _printable(text)
    title, year = text, None
    if found := _YEAR.search(title):
        title, year = title[: found.start()], int(found[1])
    bare, alternates = title, list[str]()
    while found := _ALTERNATE.search(bare):
        bare = bare[: found.start()]
        alternates.append(found[1])
    # "Birdman: Or (The Unexpected Virtue of Ignorance)": there the brackets are the title.
    if re.search(r"(:|\bor)$", bare, re.IGNORECASE):
        alternates = []
    else:
        title = bare
    shown = _article_first(title).strip() or text or "Untitled"
    others = (_article_first(_KNOWN_AS.sub("", name)).strip() for name in alternates)
    return shown, tuple(dict.fromkeys(name for name in others if name and name != shown))[:MOST_TITLES], year


def _article_first(title: str) -> str:
    if found := _ARTICLE.match(title):
        space = "" if found[2].endswith("'") else " "
        return f"{found[2]}{space}{found[1]}"
    return title


def _printable(text: str) -> str:
    """The text on one line, as long as a bundle takes it, without characters that only steer a screen."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())[:LONGEST_TITLE].strip()


def read_movies(layout: Layout) -> dict[int, Movie]:
    """Read a layout's movies by id; DatasetError names the line that cannot be read."""
    read = {"MovieLens CSV": _csv_movies, "MovieLens 100K": _100k_movies}.get(layout.name, _recbole_movies)
    movies: dict[int, Movie] = {}
    with layout.movies.open(encoding=layout.encoding, newline="") as file:
        lines = read(file)
        try:
            for movie_id, movie in lines:
                movies[movie_id] = movie
        except (ValueError, IndexError) as error:
            where = f"{layout.movies} near entry {len(movies) + 1}"
            raise DatasetError(f"{where} is not {layout.name}: {error}") from error
    return _with_links(movies, layout)


def _genres(names: list[str]) -> tuple[str, ...]:
    return tuple(GENRE_NAMES.get(name, name) for name in names if name not in NO_GENRES)


def _csv_movies(file: TextIO) -> Iterator[tuple[int, Movie]]:
    rows = csv.reader(file)
    next(rows, None)
    for row in rows:
        title, alternates, year = split_title(row[1])
        yield int(row[0]), Movie(title=title, year=year, genres=_genres(row[2].split("|")), alternates=alternates)


def _100k_movies(file: TextIO) -> Iterator[tuple[int, Movie]]:
    for line in file:
        fields = line.rstrip("\r\n").split("|")
        title, alternates, year = split_title(fields[1])
        flags = fields[-len(GENRES_100K) :]
        genres = _genres([name for name, flag in zip(GENRES_100K, flags, strict=True) if flag == "1"])
        yield int(fields[0]), Movie(title=title, year=year, genres=genres, alternates=alternates)


def _recbole_movies(file: TextIO) -> Iterator[tuple[int, Movie]]:
    """Tab-separated with a typed header; the year has its own column, genres are parted by spaces."""
    names = [column.split(":")[0] for column in file.readline().rstrip("\r\n").split("\t")]
    id_at, title_at, year_at, genres_at = map(names.index, ("item_id", "movie_title", "release_year", "class"))
    for line in file:
        fields = line.rstrip("\r\n").split("\t")
        title, alternates, _ = split_title(fields[title_at])
        year = int(fields[year_at]) if fields[year_at].isdigit() else None
        yield (
            int(fields[id_at]),
            Movie(title=title, year=year, genres=_genres(fields[genres_at].split(" ")), alternates=alternates),
        )


def _with_links(movies: dict[int, Movie], layout: Layout) -> dict[int, Movie]:
    if layout.links is None:
        return movies
    with layout.links.open(encoding=layout.encoding, newline="") as file:
        for row in csv.DictReader(file):
            movie_id = int(row["movieId"])
            if movie_id in movies:
                imdb_id, tmdb_id = row["imdbId"] or None, row["tmdbId"] or None
                movies[movie_id] = replace(movies[movie_id], imdb_id=imdb_id, tmdb_id=tmdb_id)
    return movies
