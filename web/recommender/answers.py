"""The answer to a visitor's question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nightreel.recommend.diversity import Selection, select_diverse
from nightreel.recommend.taste_model import Reason, Scores
from recommender.catalogue import Film
from recommender.model_store import ServedModel
from recommender.questions import (
    DEFAULT_COUNT,
    FEWEST_SEEDS,
    MOST_COUNT,
    MOST_SEEDS,
    Question,
    QuestionError,
    Seed,
)

__all__ = [
    "DEFAULT_COUNT",
    "FEWEST_SEEDS",
    "MOST_COUNT",
    "MOST_SEEDS",
    "Answer",
    "Because",
    "Question",
    "QuestionError",
    "Recommendation",
    "Seed",
    "answer",
    "recommend",
]


@dataclass(frozen=True, kw_only=True)
class Because:
    """What one seed said about one recommended movie.

    `share` is its part of everything that spoke for (> 0) or against (< 0) the movie; the absolute shares of all
    seeds and of the popularity add up to 1.
    """

    seed: Seed
    movie: Film
    share: float


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """A movie, its score and where the score comes from; a draw has nothing to say but the popularity."""

    movie: Film
    score: float
    because: tuple[Because, ...]
    popularity_share: float


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Recommendations, best first, how many movies passed the filters, and the question that repeats it.

    Of all hidden movies `link` names only those that would have had a say, so that it stays short and tells no more
    about the visitor than it must.
    """

    recommendations: list[Recommendation]
    passed: int
    link: Question


def recommend(model: ServedModel, question: Question) -> list[Recommendation]:
    """Answer a question, best first; QuestionError for a seed that the model does not know, or none at all."""
    return answer(model, question).recommendations


def answer(model: ServedModel, question: Question) -> Answer:
    """Score every movie anew, drop what the filters drop, and choose the best that differ; QuestionError as above."""
    if not question.answerable:
        raise QuestionError(f"No seed is named: name {FEWEST_SEEDS} to {MOST_SEEDS} movies, as in seed=1:5.")
    seed_rows = [_row(model, seed) for seed in question.seeds]
    scores = _scores(model, question, seed_rows)
    allowed = model.catalogue.allowed(question.filters)
    allowed[seed_rows] = False
    rows = model.bundle.rows_of(question.filters.hidden).tolist()
    hidden = [
        (movie_id, row)
        for movie_id, row in zip(question.filters.hidden, rows, strict=True)
        if row >= 0 and allowed[row]
    ]
    allowed[[row for _, row in hidden]] = False
    chosen = select_diverse(
        scores.values,
        allowed=allowed,
        embedding=model.bundle.embedding,
        series=model.catalogue.series,
        count=question.count,
    )
    decisive = tuple(movie_id for movie_id, row in hidden if scores.values[row] >= chosen.floor)
    return Answer(
        recommendations=_recommendations(model, question, scores, chosen, seed_rows),
        passed=int(allowed.sum()),
        link=question.hiding(decisive),
    )


def _scores(model: ServedModel, question: Question, seed_rows: list[int]) -> Scores:
    if question.draw is not None:
        return model.taste_model.score_stranger(draw=question.draw, taste=question.taste)
    ratings = [seed.rating for seed in question.seeds]
    return model.taste_model.score(seeds=seed_rows, ratings=ratings, taste=question.taste)


def _recommendations(
    model: ServedModel, question: Question, scores: Scores, chosen: Selection, seed_rows: list[int]
) -> list[Recommendation]:
    seeds = [(seed, model.catalogue.film(row)) for seed, row in zip(question.seeds, seed_rows, strict=True)]
    found = []
    for row, reason in zip(chosen.rows, scores.reasons(chosen.rows), strict=True):
        popularity, shares = _normalised(reason)
        because = zip(seeds, shares, strict=True)
        found.append(
            Recommendation(
                movie=model.catalogue.film(row),
                score=float(scores.values[row]),
                because=tuple(Because(seed=seed, movie=movie, share=share) for (seed, movie), share in because),
                popularity_share=popularity,
            )
        )
    return found


def similar(model: ServedModel, movie_id: int, *, count: int) -> list[tuple[Film, float]]:
    """Return the movies most like one and how like (up to 1), best first; none when the model does not know it."""
    row = model.bundle.row_of(movie_id)
    if row is None:
        return []
    alike = model.taste_model.likeness(row)
    alike[row] = -np.inf
    rows = np.argsort(-alike, kind="stable")[:count].tolist()
    return [(model.catalogue.film(other), float(alike[other])) for other in rows if alike[other] > 0]


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
