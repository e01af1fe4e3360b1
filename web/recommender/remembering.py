"""Consent, and the ratings that come with it: sent by the visitor's own browser, changed and withdrawn by its token."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone

from recommender import limits
from recommender.models import Movie
from recommender.problems import Problem
from recommender.visitors import MOST_CONTRIBUTORS, MOST_RATINGS, Contributor

LONGEST_BODY = 32 * 1024
LONGEST_TOKEN = 200
LONGEST_DATASET = 250

View = Callable[[HttpRequest], HttpResponse]


def _answers_in_json(view: View) -> View:
    """Turn every refusal into a problem. CSRF protection stays on: a page elsewhere must not consent for anybody."""

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        try:
            return view(request)
        except Problem as problem:
            return problem.response()

    return answer


@_answers_in_json
def consent(request: HttpRequest) -> HttpResponse:
    """POST: admit a contributor and answer with the token. DELETE: forget the contributor and every rating."""
    if request.method == "DELETE":
        _contributor(request).delete()
        return HttpResponse(status=204)
    if request.method != "POST":
        raise Problem(405, "Consent is given with POST and withdrawn with DELETE.", headers={"Allow": "POST, DELETE"})
    if not limits.ADMISSIONS.spend(limits.caller(request)):
        raise _too_many("Too many consents came from your address today. Try again tomorrow.", 24 * 3600)
    if not limits.ALL_ADMISSIONS.spend(limits.EVERYBODY) or Contributor.objects.count() >= MOST_CONTRIBUTORS:
        raise _too_many(
            "The site takes no more ratings today. Your list stays in your browser; try tomorrow.", 24 * 3600
        )
    _, token = Contributor.objects.admit()
    return JsonResponse({"token": token}, status=201, headers={"Cache-Control": "no-store"})


@_answers_in_json
def ratings(request: HttpRequest) -> HttpResponse:
    """PUT {"dataset": NAME, "ratings": {MOVIE_ID: STARS}}: these are the contributor's ratings from now on."""
    if request.method != "PUT":
        raise Problem(405, "Ratings are sent with PUT.", headers={"Allow": "PUT"})
    contributor = _contributor(request)
    if not limits.WRITES.spend(f"contributor {contributor.pk}"):
        raise _too_many("Your ratings came too often within the hour. They stay in your browser.", 3600)
    dataset, stars = _read(request)
    known = Movie.objects.by_movie_id(dataset, list(stars))
    kept = {movie_id: given for movie_id, given in stars.items() if movie_id in known}
    contributor.rate(dataset, kept, at=timezone.now())
    return JsonResponse({"kept": len(kept), "unknown": len(stars) - len(kept)})


def _contributor(request: HttpRequest) -> Contributor:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() == "bearer" and 0 < len(token) <= LONGEST_TOKEN:
        if contributor := Contributor.objects.by_token(token):
            return contributor
        if not limits.GUESSES.spend(limits.caller(request)):
            raise _too_many("Too many unknown tokens came from your address within the hour.", 3600)
    detail = "No contributor has this token: it was withdrawn, or it never was."
    raise Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="contributor"'})


def _too_many(detail: str, seconds: int) -> Problem:
    return Problem(429, detail, headers={"Retry-After": str(seconds)})


def _read(request: HttpRequest) -> tuple[str, dict[int, int]]:
    """Return the data set and the stars by movie id; a problem for anything else."""
    length = request.META.get("CONTENT_LENGTH") or ""
    if not (length.isascii() and length.isdigit()) or int(length) > LONGEST_BODY:
        raise Problem(413, f"Send the ratings with a Content-Length of up to {LONGEST_BODY} bytes.")
    try:
        content = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "The body is no JSON.") from error
    dataset = content.get("dataset") if isinstance(content, dict) else None
    given = content.get("ratings") if isinstance(content, dict) else None
    if not isinstance(dataset, str) or not _is_name(dataset) or not isinstance(given, dict):
        raise Problem(400, 'Send {"dataset": NAME, "ratings": {MOVIE_ID: STARS}}.')
    if len(given) > MOST_RATINGS:
        raise Problem(400, f"{len(given)} ratings are too many: a contributor may have {MOST_RATINGS}.")
    return dataset, dict(_rating(*entry) for entry in given.items())


def _is_name(dataset: str) -> bool:
    """Whether a database can be asked for it: neither halves of characters nor NUL are printable."""
    return 0 < len(dataset) <= LONGEST_DATASET and dataset.isprintable()


def _rating(movie_id: str, stars: Any) -> tuple[int, int]:
    if not (movie_id.isascii() and movie_id.isdigit() and len(movie_id) <= 18):
        raise Problem(400, f"{movie_id[:40]!r} is no movie id.")
    if type(stars) is not int or not 1 <= stars <= 5:
        raise Problem(400, f"The rating of movie {movie_id} is no whole number from 1 to 5.")
    return int(movie_id), stars
