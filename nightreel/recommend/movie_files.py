"""Read what movies are called and where else they are listed, from every layout; odd rows are kept aside."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from nightreel.recommend.layouts import MOVIE_FIELDS, OWN, DatasetError, Layout, Table, rows_of
from nightreel.recommend.titles import Movie

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

Entry = tuple[str, Callable[[], tuple[int, Movie]]]
"""A row as it stands in the file, and how to read it (ValueError, IndexError when it is none)."""


@dataclass(frozen=True)
class MovieFile:
    """A file's movies by id, and its odd rows, each with what is wrong with it."""

    movies: dict[int, Movie] = field(default_factory=dict)
    rejected: list[tuple[str, str]] = field(default_factory=list)


def read_movies(layout: Layout) -> MovieFile:
    """Read a layout's movies; DatasetError when not one of the rows can be used.

    Two films of one name stay two, since only ids are compared; of two rows with one id the first counts.
    """
    if layout.titles is None:
        return MovieFile()
    found = MovieFile()
    for text, read in _entries(layout, layout.titles):
        try:
            movie_id, movie = read()
        except (ValueError, IndexError, csv.Error) as error:
            found.rejected.append((text, f"no movie of {layout.name}: {error}"))
            continue
        if movie_id in found.movies:
            found.rejected.append((text, f"movie {movie_id} is there already"))
        else:
            found.movies[movie_id] = movie
    if found.rejected and not found.movies:
        text, reason = found.rejected[0]
        raise DatasetError(f"{layout.titles.path} has no usable movie; the first row is {text[:80]!r}: {reason}")
    _add_links(found, layout)
    return found


def _entries(layout: Layout, table: Table) -> Iterator[Entry]:
    if layout.name == OWN:
        for row in rows_of(table):
            yield ",".join(row), partial(_own_movie, dict(zip(table.columns, row, strict=True)))
        return
    with table.open_text() as file:
        if table.separator == ",":
            rows = csv.reader(file)
            next(rows, None)
            for row in rows:
                yield ",".join(row), partial(_csv_movie, row)
        else:
            yield from _plain_entries(file, table)


def _plain_entries(lines: Iterator[str], table: Table) -> Iterator[Entry]:
    if table.header:
        names = [column.split(":")[0] for column in next(lines, "").rstrip("\r\n").split(table.separator)]
    for line in lines:
        text = line.rstrip("\r\n")
        if table.header:
            yield text, partial(_recbole_movie, dict(zip(names, text.split(table.separator), strict=False)))
        else:
            yield text, partial(_csv_movie, text.split("::")) if table.separator == "::" else partial(_100k_movie, text)


def _csv_movie(row: list[str]) -> tuple[int, Movie]:
    movie_id, title, genres = row
    return int(movie_id), Movie.from_text(title, genres=genres.split("|"))


def _100k_movie(line: str) -> tuple[int, Movie]:
    fields = line.split("|")
    flags = zip(GENRES_100K, fields[-len(GENRES_100K) :], strict=True)
    return int(fields[0]), Movie.from_text(fields[1], genres=[name for name, flag in flags if flag == "1"])


def _recbole_movie(row: Mapping[str, str]) -> tuple[int, Movie]:
    """Tab-separated with a typed header; the year has its own column, genres are parted by spaces."""
    missing = [name for name in ("item_id", "movie_title", "release_year", "class") if name not in row]
    if missing:
        raise ValueError(f"no {missing[0]}")
    year = int(row["release_year"]) if row["release_year"].isdigit() else None
    return int(row["item_id"]), Movie.from_text(row["movie_title"], genres=row["class"].split(" "), year=year)


def _own_movie(row: Mapping[str, str]) -> tuple[int, Movie]:
    movie_id, title, year, genres = (row.get(name, "").strip() for name in MOVIE_FIELDS)
    if not title:
        raise ValueError("no title")
    parts = [part.strip() for part in genres.replace(",", "|").split("|")]
    return int(movie_id), Movie.from_text(title, genres=parts, year=int(year) if year else None)


def _add_links(found: MovieFile, layout: Layout) -> None:
    if layout.links is None:
        return
    with Table(path=layout.links).open_text() as file:
        for row in csv.DictReader(file):
            try:
                movie_id = int(row["movieId"])
            except (ValueError, KeyError, TypeError):
                found.rejected.append((",".join(str(value) for value in row.values()), "links of no movie"))
                continue
            if movie_id in found.movies:
                imdb_id, tmdb_id = row.get("imdbId") or None, row.get("tmdbId") or None
                found.movies[movie_id] = replace(found.movies[movie_id], imdb_id=imdb_id, tmdb_id=tmdb_id)
