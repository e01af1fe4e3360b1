"""Errors of the API as RFC 9457 problems."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

API_PREFIX = "/api/"


class Problem(Exception):
    """A request that is answered with an error: the status and one sentence on what to do about it."""

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = HTTPStatus(status)
        self.detail = detail
        self.headers = dict(headers or {})

    def response(self) -> HttpResponse:
        """Return the answer as application/problem+json."""
        content = {"title": self.status.phrase, "status": int(self.status), "detail": self.detail}
        return JsonResponse(content, status=self.status, content_type="application/problem+json", headers=self.headers)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer an unknown address, to programs in JSON and to people with a page."""
    if request.path.startswith(API_PREFIX):
        return Problem(404, f"There is nothing at {request.path}.").response()
    return defaults.page_not_found(request, exception, template_name="recommender/404.html")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer a failure of ours; the traceback is in the log."""
    if request.path.startswith(API_PREFIX):
        return Problem(500, "The site failed; its log says why.").response()
    return defaults.server_error(request, template_name="recommender/500.html")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a request that another page may have forged."""
    return Problem(403, "The request did not come from a page of this site: open the page again and retry.").response()
