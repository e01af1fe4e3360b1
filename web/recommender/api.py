"""The JSON API, version 1: movies, similar ones, recommendations and the model. Its document: /api/v1/openapi.json."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import Path, Query
from ninja.errors import HttpError, ValidationError
from pydantic import WithJsonSchema

from recommender import api_publishing, api_ratings, api_schemas
from recommender.answers import DEFAULT_COUNT, MOST_COUNT, Question, QuestionError, Recommendation, answer
from recommender.api_docs import MODEL_HEADER, DocumentedApi, documented, page_view
from recommender.api_publishing import discard_body
from recommender.catalogue import Film
from recommender.model_store import ModelUnavailable, ServedModel, store
from recommender.models import Activation, Movie
from recommender.problems import Problem
from recommender.search import search

__all__ = ["MODEL_HEADER", "api", "api_page", "urls"]

NO_MODEL = "No model is published yet: run the nightly retraining, or `nightreel publish FILE --server URL`."
VERSION = "1.0.0"

api = DocumentedApi(
    title="Nightreel",
    version=VERSION,
    urls_namespace="api-v1",
    docs_url=None,  # the usual pages need scripts from elsewhere and styles that our policy refuses
    description="Name one to five films that somebody knows, and get the ones to watch next, with the reasons. "
    "Answers depend on the model alone: they carry its id, and an ETag that changes with it.",
)
api.add_router("bundles", api_publishing.router)
api.add_router("ratings", api_ratings.router)

MovieId = Annotated[str, WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 10**18 - 1, "examples": [1]})]


@api.exception_handler(Problem)
def _on_problem(request: HttpRequest, problem: Problem) -> HttpResponse:
    discard_body(request)
    return problem.response()


@api.exception_handler(QuestionError)
def _on_bad_question(request: HttpRequest, error: QuestionError) -> HttpResponse:
    return Problem(400, str(error)).response()


@api.exception_handler(ModelUnavailable)
def _on_unavailable(request: HttpRequest, error: ModelUnavailable) -> HttpResponse:
    return Problem(503, str(error)).response()


@api.exception_handler(ValidationError)
def _on_invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    first = error.errors[0]
    return Problem(400, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}.").response()


@api.exception_handler(HttpError)
def _on_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return Problem(error.status_code, f"{error.message}.").response()


def served_model() -> ServedModel:
    """Return the model that serves; a 404 problem before the first."""
    model = store.current()
    if model is None:
        raise Problem(404, NO_MODEL)
    return model


def entity_tag(model: ServedModel) -> str:
    """Return the ETag of every answer of a model: its id, since when it serves, and the version of the API.

    Weak, because a proxy may compress the answer.
    """
    identity = f"{model.sha256} {model.activation} {VERSION}"
    return f'W/"{model.sha256[:16]}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"'


def answered(request: HttpRequest, model: ServedModel, make: Callable[[], Mapping[str, Any]]) -> HttpResponse:
    """Return the answer that a model makes, or 304 without making it when the client has it already.

    Caches may keep it and must ask again each time, since nobody knows when the next model comes.
    """
    tag = entity_tag(model)
    headers = {"ETag": tag, MODEL_HEADER: model.sha256, "Cache-Control": "no-cache"}
    known = [part.strip().removeprefix("W/") for part in request.headers.get("If-None-Match", "").split(",")]
    if tag.removeprefix("W/") in known or known == ["*"]:
        return HttpResponse(status=304, headers=headers)
    return JsonResponse(dict(make()), headers=headers)


def movie_content(movie: Film | Movie) -> dict[str, Any]:
    """Return a movie as the API shows it."""
    return {"movie_id": movie.movie_id, "title": movie.title, "year": movie.year, "genres": movie.genres}


@api.get(
    "/movies",
    response=api_schemas.FoundOut,
    summary="Search films by title",
    openapi_extra=documented(400, 404, 503, cached=True),
)
def movies(request: HttpRequest, query: Query[api_schemas.SearchQuery]) -> HttpResponse:
    """Films of the serving model for what was typed, best match first."""
    model = served_model()

    def found() -> dict[str, Any]:
        matches = search(query.q, dataset=model.dataset, known=model.knows)
        return {"model": model.sha256, "movies": [movie_content(movie) for movie in matches]}

    return answered(request, model, found)


@api.get(
    "/movies/{movie_id}/similar",
    response=api_schemas.SimilarOut,
    summary="Films liked by the same people",
    openapi_extra=documented(400, 404, 503, cached=True),
)
def similar(request: HttpRequest, movie_id: Path[MovieId], query: Query[api_schemas.CountQuery]) -> HttpResponse:
    """The most similar films of one film, by the correlation of predicted preferences."""
    model = served_model()
    count = _count(query.n)
    row = model.bundle.row_of(int(movie_id)) if re.fullmatch(r"[0-9]{1,18}", movie_id) else None
    if row is None:
        raise Problem(404, f"The model knows no movie {movie_id}; /api/v1/movies?q= finds those it does.")

    def neighbours() -> dict[str, Any]:
        rows = model.bundle.neighbour_ids[row, :count].tolist()
        scores = model.bundle.neighbour_scores[row, :count].tolist()
        near = [
            {**movie_content(model.catalogue.film(near)), "similarity": max(-1.0, min(score, 1.0))}
            for near, score in zip(rows, scores, strict=True)
        ]
        return {"model": model.sha256, "movie": movie_content(model.catalogue.film(row)), "similar": near}

    return answered(request, model, neighbours)


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{0,4}", text, re.ASCII) or not 1 <= int(text or DEFAULT_COUNT) <= MOST_COUNT:
        raise Problem(400, f"n={text!r} is not a whole number from 1 to {MOST_COUNT}.")
    return int(text or DEFAULT_COUNT)


@api.get(
    "/recommendations",
    response=api_schemas.RecommendationsOut,
    summary="What to watch next",
    openapi_extra=documented(400, 404, 503, cached=True),
)
def recommendations(request: HttpRequest, query: Query[api_schemas.RecommendQuery]) -> HttpResponse:
    """Films for somebody who knows the seeds, best first, each with the parts of its score.

    Filters come first: every film that passes is scored, and the best of those are the answer, as on the page. The
    shares of the seeds and of the popularity add up to 1 in absolute value.
    """
    question = Question.parse(request.GET)
    model = served_model()

    def content() -> dict[str, Any]:
        found = answer(model, question)
        return {
            "model": model.sha256,
            "taste": question.taste,
            "seeds": [{"movie_id": seed.movie_id, "rating": seed.rating} for seed in question.seeds],
            "surprise": question.draw,
            "passed": found.passed,
            "recommendations": [_recommendation_content(entry) for entry in found.recommendations],
        }

    return answered(request, model, content)


def _recommendation_content(entry: Recommendation) -> dict[str, Any]:
    because = [
        {
            "movie_id": reason.movie.movie_id,
            "title": reason.movie.title,
            "rating": reason.seed.rating,
            "share": reason.share,
        }
        for reason in entry.because
    ]
    reasons = {"score": entry.score, "because": because, "popularity_share": entry.popularity_share}
    return movie_content(entry.movie) | reasons


@api.get(
    "/model",
    response=api_schemas.ModelOut,
    summary="The model that serves",
    openapi_extra=documented(404, 503, cached=True),
)
def model(request: HttpRequest) -> HttpResponse:
    """Its id, when it came, and everything that its bundle says about itself."""
    serving = served_model()

    def content() -> dict[str, Any]:
        stored, activation = serving.stored, Activation.objects.get(pk=serving.activation)
        return {
            "sha256": stored.sha256,
            "run_id": stored.run_id,
            "created": stored.metadata["created"],
            "activated": activation.at.isoformat(),
            "movies": stored.movies,
            "genres": serving.catalogue.genres,
            "decades": serving.catalogue.decades,
            "dataset": stored.metadata["dataset"],
            "evaluation": stored.metadata["evaluation"],
            "metadata": stored.metadata,
        }

    return answered(request, serving, content)


api_page = page_view(api)
urls = api.urls  # once: ninja counts how often it is asked
