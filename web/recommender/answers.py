"""A visitor's question, read from a query string, and its answer."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.http import QueryDict

from nightreel.recommend.taste_model import DEFAULT_TASTE, Reason, parse_taste
from recommender.model_store import ServedModel
from recommender.models import Movie

FEWEST_SEEDS, MOST_SEEDS = 1, 5
DEFAULT_COUNT, MOST_COUNT = 10, 50
SEED = re.compile(r"(?P<movie_id>\d{1,18}):(?P<rating>[1-5](?:\.\d{1,3})?)", re.ASCII)


class QuestionError(ValueError):
    """The query string asks for something that cannot be answered; the sentence says what can."""


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A movie that the visitor knows, by its id, and their rating in stars (1 hated … 5 loved)."""

    movie_id: int
    rating: float

    @classmethod
    def parse(cls, text: str) -> Seed:
        """Read ID:RATING; QuestionError otherwise."""
        found = SEED.fullmatch(text)
        if found is None or float(found["rating"]) > 5:
            raise QuestionError(
                f"seed={text!r} is not ID:RATING with a rating from 1 (hated) to 5 (loved), as in seed=1:5."
            )
        return cls(movie_id=int(found["movie_id"]), rating=float(found["rating"]))

    def __str__(self) -> str:
        return f"{self.movie_id}:{self.rating:g}"


@dataclass(frozen=True, kw_only=True)
class Question:
    """Up to five seeds, the place on the slider (0 familiar … 1 adventurous) and how many movies to name."""

    seeds: tuple[Seed, ...]
    taste: float = DEFAULT_TASTE
    count: int = DEFAULT_COUNT

    @classmethod
    def parse(cls, query: QueryDict) -> Question:
        """Read seed=ID:RATING (repeated), taste and n; QuestionError names the first that is wrong."""
        seeds = tuple(map(Seed.parse, query.getlist("seed")))
        if len(seeds) > MOST_SEEDS:
            raise QuestionError(f"{len(seeds)} seeds are too many: name {FEWEST_SEEDS} to {MOST_SEEDS} movies.")
        if len({seed.movie_id for seed in seeds}) < len(seeds):
            raise QuestionError("A movie is named twice: name each seed once.")
        return cls(seeds=seeds, taste=_taste(query), count=_count(query))

    def query_string(self) -> str:
        """Return the link's query: the whole state of the page."""
        query = QueryDict(mutable=True)
        query.setlist("seed", [str(seed) for seed in self.seeds])
        query["taste"] = f"{self.taste:g}"
        if self.count != DEFAULT_COUNT:
            query["n"] = str(self.count)
        return query.urlencode(safe=":")


def _taste(query: QueryDict) -> float:
    text = query.get("taste", "")
    try:
        return parse_taste(text) if text else DEFAULT_TASTE
    except ValueError as error:
        raise QuestionError(f"{error}.") from error


def _count(query: QueryDict) -> int:
    text = query.get("n") or str(DEFAULT_COUNT)
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII) or not 1 <= int(text) <= MOST_COUNT:
        raise QuestionError(f"n={text!r} is not a whole number from 1 to {MOST_COUNT}.")
    return int(text)


@dataclass(frozen=True, kw_only=True)
class Because:
    """What one seed said about one recommended movie.

    `share` is its part of everything that spoke for (> 0) or against (< 0) the movie; the absolute shares of all
    seeds and of the popularity add up to 1.
    """

    seed: Seed
    movie: Movie
    share: float


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """A movie, its score and where the score comes from."""

    movie: Movie
    score: float
    because: tuple[Because, ...]
    popularity_share: float


def recommend(model: ServedModel, question: Question) -> list[Recommendation]:
    """Answer a question, best first; QuestionError for a seed that the model does not know, or none at all."""
    if len(question.seeds) < FEWEST_SEEDS:
        raise QuestionError(f"No seed is named: name {FEWEST_SEEDS} to {MOST_SEEDS} movies, as in seed=1:5.")
    rows = [_row(model, seed) for seed in question.seeds]
    ratings = [seed.rating for seed in question.seeds]
    scores = model.taste_model.score(seeds=rows, ratings=ratings, taste=question.taste)
    best = scores.top(question.count)
    ids = model.bundle.movie_ids[best + rows].tolist()
    movies = Movie.objects.by_movie_id(model.dataset, ids)
    answer = []
    for row, movie_id in zip(best, ids, strict=False):
        popularity, shares = _normalised(scores.reason(row))
        because = zip(question.seeds, shares, strict=True)
        answer.append(
            Recommendation(
                movie=movies[movie_id],
                score=float(scores.values[row]),
                because=tuple(Because(seed=seed, movie=movies[seed.movie_id], share=share) for seed, share in because),
                popularity_share=popularity,
            )
        )
    return answer


def _row(model: ServedModel, seed: Seed) -> int:
    row = model.bundle.row_of(seed.movie_id)
    if row is None:
        raise QuestionError(
            f"seed={seed}: the model knows no movie {seed.movie_id}; /api/movies?q= finds those it does."
        )
    return row


def _normalised(reason: Reason) -> tuple[float, Sequence[float]]:
    """Return the prior's and the seeds' parts over the sum of their absolute values."""
    whole = math.fsum(map(abs, (reason.prior, *reason.seeds))) or 1.0
    return reason.prior / whole, [share / whole for share in reason.seeds]
