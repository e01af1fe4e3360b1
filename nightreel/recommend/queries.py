"""Answer many visitors at once: JSON lines in, JSON lines out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nightreel.bundle.reader import Bundle
from nightreel.recommend.taste_model import HIGHEST_RATING, TasteModel, rating_pull


class QueryError(ValueError):
    """A line that is no query: which one, and what was expected."""


def read_queries(lines: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """Read `{"query": n, "movies": [ids], "ratings": [1–5, optional]}` per line; QueryError names a bad one."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            query = json.loads(line)
            movies = query["movies"]
            if not isinstance(movies, list) or not all(type(movie) is int for movie in movies):
                raise ValueError("movies must be a list of whole numbers")
            ratings = [float(rating) for rating in query.get("ratings") or [HIGHEST_RATING] * len(movies)]
            if len(ratings) != len(movies):
                raise ValueError(f"{len(movies)} movies but {len(ratings)} ratings")
            rating_pull(ratings)  # refuses what is no rating, here where the line is known
            yield {"query": query["query"], "movies": movies, "ratings": ratings}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            expected = '{"query": n, "movies": [ids], "ratings": [1 to 5, optional]}'
            raise QueryError(f"line {number} is no query ({error!r}); expected {expected}") from error


def answer(bundle: Bundle, queries: Iterable[Mapping[str, Any]], *, top: int, taste: float) -> Iterator[dict[str, Any]]:
    """Answer each query with `{"query": n, "movies": [ids, best first], "unknown": [ids]}`.

    Movies that the bundle does not know are named and left out; with none left the answer is what is popular. A movie
    that is named twice counts once, with its last rating.
    """
    model = TasteModel.from_bundle(bundle)
    for query in queries:
        rated = dict(zip(query["movies"], query["ratings"], strict=True))
        rows = {movie: bundle.row_of(movie) for movie in rated}
        known = [(row, rated[movie]) for movie, row in rows.items() if row is not None]
        scores = model.score(seeds=[row for row, _ in known], ratings=[stars for _, stars in known], taste=taste)
        result: dict[str, Any] = {"query": query["query"], "movies": bundle.movie_ids[scores.top(top)].tolist()}
        if unknown := [movie for movie, row in rows.items() if row is None]:
            result["unknown"] = unknown
        yield result
