"""Publishing over HTTP: a bundle comes under its SHA-256, and one of those that came is made to serve."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from ninja import Path, Router
from ninja.security import HttpBearer
from pydantic import WithJsonSchema

from nightreel.bundle.schema import BundleError
from recommender import api_schemas, publishing, reports
from recommender.api_docs import MODEL_HEADER, documented
from recommender.models import Activation, StoredBundle
from recommender.problems import Problem
from recommender.tokens import UPLOAD, require_scope

SHA256_NAME = re.compile(r"[0-9a-f]{64}", re.ASCII)
SHA256_DIGEST = re.compile(r"(?:^|,)\s*sha-256=:(?P<base64>[A-Za-z0-9+/=]*):\s*(?:,|;|$)", re.ASCII)
MOST_DISCARDED = 16 * 1024**2
MOST_LISTED = 100
ARROW = "application/vnd.apache.arrow.file"

Sha256 = Annotated[
    str,
    WithJsonSchema({"type": "string", "pattern": api_schemas.SHA256_PATTERN, "examples": [api_schemas.MODEL_ID]}),
]


class UploadToken(HttpBearer):
    """A token with the scope `upload`."""

    def __call__(self, request: HttpRequest) -> Any:
        """Let the request through; a problem otherwise."""
        require_scope(request, UPLOAD)
        return True

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        """Never asked: the call above is all."""
        raise NotImplementedError


router = Router(auth=UploadToken(), tags=["publishing"])


def _body(content_type: str, *, digest: bool) -> dict[str, Any]:
    """Return the documentation of an upload's body and, where it must be named, of its digest."""
    content = {content_type: {"schema": {"type": "string", "format": "binary"}}}
    header = {
        "in": "header",
        "name": "Content-Digest",
        "required": True,
        "schema": {"type": "string"},
        "description": "SHA-256 of the body as in RFC 9530: `sha-256=:BASE64:`.",
    }
    return {"requestBody": {"required": True, "content": content}, "parameters": [header] if digest else []}


@router.get(
    "",
    response=api_schemas.BundlesOut,
    summary="The bundles that came last",
    openapi_extra=documented(401, 403),
)
def bundles(request: HttpRequest) -> HttpResponse:
    """The bundles that came last, newest first."""
    current = Activation.objects.current()
    listed = [
        {
            **_content(stored),
            "uploaded": stored.uploaded.isoformat(),
            "serves": current is not None and current.bundle_id == stored.pk,
            "kept": stored.path.exists(),
            "refused": stored.refused,
        }
        for stored in StoredBundle.objects.order_by("-uploaded")[:MOST_LISTED]
    ]
    return JsonResponse({"bundles": listed})


@router.put(
    "/{sha256}",
    response={200: api_schemas.BundleOut, 201: api_schemas.BundleOut},
    summary="Upload a bundle",
    openapi_extra=documented(400, 401, 403, 411, 413, 422, 507, **_body(ARROW, digest=True)),
)
def bundle(request: HttpRequest, sha256: Path[Sha256]) -> HttpResponse:
    """Take in a bundle under its SHA-256: checked whole, kept, and not yet served. A repeat is harmless."""
    length = checked_length(request, most=settings.NIGHTREEL_MAX_BUNDLE_BYTES, what="bundle")
    _check_names(sha256, request.headers.get("Content-Digest", ""))
    try:
        stored, new = publishing.receive(request.read, sha256=sha256, length=length)
    except publishing.UploadError as error:
        raise Problem(400, str(error)) from error
    except UnreadablePostError as error:
        raise Problem(400, "The connection broke before the body was whole. Send it again.") from error
    except publishing.NoRoomError as error:
        raise Problem(507, str(error)) from error
    except BundleError as error:
        raise Problem(422, f"The bundle is invalid: {error}.") from error
    return JsonResponse(_content(stored), status=201 if new else 200)


@router.post(
    "/{sha256}/activate",
    response=api_schemas.ActivatedOut,
    summary="Make a bundle serve",
    openapi_extra=documented(401, 403, 404, 422),
)
def activate(request: HttpRequest, sha256: Path[Sha256]) -> HttpResponse:
    """Make an uploaded bundle the one that serves, when it stands a smoke query; else the one before goes on."""
    stored = _stored(sha256)
    try:
        previous = publishing.activate(stored)
    except publishing.ActivationError as error:
        raise Problem(422, f"{error} The model that served before goes on.") from error
    return JsonResponse({"sha256": stored.sha256, "previous": previous}, headers={MODEL_HEADER: stored.sha256})


@router.put(
    "/{sha256}/report",
    response={204: None},
    summary="Upload a bundle's report",
    openapi_extra=documented(400, 401, 403, 404, 411, 413, **_body("text/html", digest=False)),
)
def report(request: HttpRequest, sha256: Path[Sha256]) -> HttpResponse:
    """Keep the run's report beside its bundle, for staff to read; a later one replaces it."""
    stored = _stored(sha256)
    length = checked_length(request, most=reports.MOST_BYTES, what="report")
    try:
        reports.receive(stored, request.read, length=length)
    except ValueError as error:
        raise Problem(400, str(error)) from error
    except UnreadablePostError as error:
        raise Problem(400, "The connection broke before the body was whole. Send it again.") from error
    return HttpResponse(status=204)


def _content(stored: StoredBundle) -> dict[str, Any]:
    return {"sha256": stored.sha256, "run_id": stored.run_id, "movies": stored.movies}


def _stored(sha256: str) -> StoredBundle:
    stored = StoredBundle.objects.filter(sha256=sha256).first() if SHA256_NAME.fullmatch(sha256) else None
    if stored is None or not stored.path.exists():
        raise Problem(404, f"There is no bundle {sha256}: PUT /api/v1/bundles/{sha256} first.")
    return stored


def _content_length(request: HttpRequest) -> int | None:
    text = request.META.get("CONTENT_LENGTH") or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def checked_length(request: HttpRequest, *, most: int, what: str) -> int:
    """Return the announced length of the body; a problem when there is none or it is too much."""
    length = _content_length(request)
    if length is None:
        raise Problem(411, f"Send the {what} with a Content-Length; chunked uploads are not taken.")
    if length > most:
        limit = f"{most} (NIGHTREEL_SITE_MAX_BUNDLE_BYTES)" if what == "bundle" else str(most)
        raise Problem(413, f"The {what} has {length} bytes; this site takes {limit}.")
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


def discard_body(request: HttpRequest) -> None:
    """Read the body of a small refused upload, or its client may be cut off before it sees why."""
    if (_content_length(request) or 0) > MOST_DISCARDED:
        return
    try:
        while request.read(64 * 1024):
            continue
    except OSError:  # the client went first
        return
