"""The JSON API: movies, recommendations, the model, and publishing."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from nightreel.bundle.schema import BundleError
from recommender import publishing
from recommender.answers import Question, QuestionError, Recommendation, recommend
from recommender.model_store import ModelUnavailable, ServedModel, store
from recommender.models import Activation, Movie, StoredBundle
from recommender.problems import Problem
from recommender.search import search

MODEL_HEADER = "Nightreel-Model"
NO_MODEL = "No model is published yet: run the nightly retraining, or `nightreel publish FILE --server URL`."
SHA256_NAME = re.compile(r"[0-9a-f]{64}", re.ASCII)
SHA256_DIGEST = re.compile(r"(?:^|,)\s*sha-256=:(?P<base64>[A-Za-z0-9+/=]*):\s*(?:,|;|$)", re.ASCII)
MOST_DISCARDED = 16 * 1024**2

View = Callable[..., HttpResponse]


def endpoint(method: str) -> Callable[[View], View]:
    """Let one method through and turn every refusal into a problem.

    Exempt from CSRF protection: nothing here is allowed by a cookie.
    """

    def decorate(view: View) -> View:
        @csrf_exempt
        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                if request.method != method and not (method == "GET" and request.method == "HEAD"):
                    raise Problem(405, f"{request.path} answers {method} only.", headers={"Allow": method})
                return view(request, *args, **kwargs)
            except Problem as problem:
                _discard_body(request)
                return problem.response()
            except QuestionError as error:
                return Problem(400, str(error)).response()
            except ModelUnavailable as error:
                return Problem(503, str(error)).response()

        return answer

    return decorate


def _discard_body(request: HttpRequest) -> None:
    """Read the body of a small refused upload, or its client may be cut off before it sees why."""
    if (_content_length(request) or 0) > MOST_DISCARDED:
        return
    try:
        while request.read(64 * 1024):
            continue
    except OSError:  # the client went first
        return


def served_model() -> ServedModel:
    """Return the model that serves; a 404 problem before the first."""
    model = store.current()
    if model is None:
        raise Problem(404, NO_MODEL)
    return model


def _answer(model: ServedModel, content: Mapping[str, Any]) -> HttpResponse:
    return JsonResponse(dict(content), headers={MODEL_HEADER: model.sha256})


def movie_content(movie: Movie) -> dict[str, Any]:
    """Return a movie as the API shows it."""
    return {"movie_id": movie.movie_id, "title": movie.title, "year": movie.year, "genres": movie.genres}


@endpoint("GET")
def movies(request: HttpRequest) -> HttpResponse:
    """Movies of the serving model for ?q=, best match first."""
    model = served_model()
    found = search(request.GET.get("q", ""), dataset=model.dataset, known=model.knows)
    return _answer(model, {"model": model.sha256, "movies": [movie_content(movie) for movie in found]})


@endpoint("GET")
def recommendations(request: HttpRequest) -> HttpResponse:
    """Recommendations for ?seed=ID:RATING (one to five), taste and n, each with its reason."""
    question = Question.parse(request.GET)
    model = served_model()
    found = recommend(model, question)
    seeds = [{"movie_id": seed.movie_id, "rating": seed.rating} for seed in question.seeds]
    content = {"model": model.sha256, "taste": question.taste, "seeds": seeds}
    return _answer(model, content | {"recommendations": [_recommendation_content(entry) for entry in found]})


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


@endpoint("GET")
def model(request: HttpRequest) -> HttpResponse:
    """The serving model: its id, when it came and everything that its bundle says about itself."""
    activation = Activation.objects.current()
    if activation is None:
        raise Problem(404, NO_MODEL)
    stored = activation.bundle
    content = {
        "sha256": stored.sha256,
        "run_id": stored.run_id,
        "created": stored.metadata["created"],
        "activated": activation.at.isoformat(),
        "movies": stored.movies,
        "dataset": stored.metadata["dataset"],
        "evaluation": stored.metadata["evaluation"],
        "metadata": stored.metadata,
    }
    return JsonResponse(content, headers={MODEL_HEADER: stored.sha256})


@endpoint("PUT")
def bundle(request: HttpRequest, sha256: str) -> HttpResponse:
    """Take in a bundle under its SHA-256; a repeat is harmless."""
    _require_token(request)
    length = _checked_length(request)
    _check_names(sha256, request.headers.get("Content-Digest", ""))
    try:
        stored, new = publishing.receive(request.read, sha256=sha256, length=length)
    except publishing.UploadError as error:
        raise Problem(400, str(error)) from error
    except UnreadablePostError as error:
        raise Problem(400, "The connection broke before the body was whole. Send it again.") from error
    except BundleError as error:
        raise Problem(422, f"The bundle is invalid: {error}.") from error
    content = {"sha256": stored.sha256, "run_id": stored.run_id, "movies": stored.movies}
    return JsonResponse(content, status=201 if new else 200)


@endpoint("POST")
def activate(request: HttpRequest, sha256: str) -> HttpResponse:
    """Make an uploaded bundle the one that serves, when it stands a smoke query."""
    _require_token(request)
    stored = StoredBundle.objects.filter(sha256=sha256).first()
    if stored is None or not stored.path.exists():
        raise Problem(404, f"There is no bundle {sha256}: PUT /api/bundles/{sha256} first.")
    try:
        previous = publishing.activate(stored)
    except publishing.ActivationError as error:
        raise Problem(422, f"{error} The model that served before goes on.") from error
    return JsonResponse({"sha256": stored.sha256, "previous": previous}, headers={MODEL_HEADER: stored.sha256})


def _require_token(request: HttpRequest) -> None:
    expected = settings.NIGHTREEL_TOKEN_SHA256
    challenge = {"WWW-Authenticate": 'Bearer realm="nightreel"'}
    if not expected:
        detail = "This site takes no bundles: set NIGHTREEL_SITE_TOKEN in its environment and restart it."
        raise Problem(401, detail, headers=challenge)
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    given = hashlib.sha256(token.strip().encode()).hexdigest()
    if not hmac.compare_digest(given, expected) or scheme.lower() != "bearer":
        raise Problem(401, "Send the site's token as `Authorization: Bearer TOKEN`.", headers=challenge)


def _content_length(request: HttpRequest) -> int | None:
    text = request.META.get("CONTENT_LENGTH") or ""
    return int(text) if text.isascii() and text.isdigit() else None


def _checked_length(request: HttpRequest) -> int:
    length, most = _content_length(request), settings.NIGHTREEL_MAX_BUNDLE_BYTES
    if length is None:
        raise Problem(411, "Send the bundle with a Content-Length; chunked uploads are not taken.")
    if length > most:
        raise Problem(413, f"The bundle has {length} bytes; this site takes {most} (NIGHTREEL_SITE_MAX_BUNDLE_BYTES).")
    return length


def _check_names(sha256: str, content_digest: str) -> None:
    """Both names of the body must be there and say the same, before the body is worth reading."""
    if not SHA256_NAME.fullmatch(sha256):
        raise Problem(400, "A bundle's name is its SHA-256 in 64 lower-case hexadecimal digits.")
    found = SHA256_DIGEST.search(content_digest)
    if found is None:
        raise Problem(400, "Send the body's digest as `Content-Digest: sha-256=:BASE64:` (RFC 9530).")
    try:
        digest = base64.b64decode(found["base64"], validate=True).hex()
    except binascii.Error as error:
        raise Problem(400, "The Content-Digest is no base64.") from error
    if digest != sha256:
        raise Problem(400, f"The Content-Digest says {digest}, the name says {sha256}: one of them is wrong.")


@endpoint("GET")
def health(request: HttpRequest) -> HttpResponse:
    """Say that the process and its database answer, and which model serves."""
    activation = Activation.objects.current()
    return JsonResponse({"status": "ok", "model": None if activation is None else activation.bundle_id})
