"""The rows that a bundle brings into the table of movies."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nightreel.bundle.reader import Bundle
from recommender.models import Movie
from recommender.search import fold, fold_names

KEY = ["dataset", "movie_id"]
CHANGING = [
    "title",
    "year",
    "genres",
    "search_key",
    "rating_count",
    "alternate_titles",
    "names",
    "imdb_id",
    "tmdb_id",
]
"""What a new model may say differently of a movie that is known already."""
EXTERNAL_ID = re.compile(r"\d{1,12}", re.ASCII)


def movie_rows(bundle: Bundle, dataset: str) -> Iterator[Movie]:
    """Give a row per movie of the bundle, not yet saved."""
    columns = zip(
        bundle.movie_ids.tolist(),
        bundle.titles,
        bundle.years,
        bundle.genres,
        bundle.rating_counts.tolist(),
        bundle.alternate_titles,
        bundle.imdb_ids,
        bundle.tmdb_ids,
        strict=True,
    )
    for movie_id, title, year, genres, rating_count, others, imdb_id, tmdb_id in columns:
        yield Movie(
            dataset=dataset,
            movie_id=movie_id,
            title=title,
            year=year,
            genres=genres,
            search_key=fold(title),
            rating_count=rating_count,
            alternate_titles=others,
            names=fold_names([title, *others]),
            imdb_id=external_id(imdb_id),
            tmdb_id=external_id(tmdb_id),
        )


def external_id(text: str | None) -> str:
    """Return an id of IMDb or TMDB when it is one, else "": it becomes a part of addresses."""
    return text if text and EXTERNAL_ID.fullmatch(text) else ""
