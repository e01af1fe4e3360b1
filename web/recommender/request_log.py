"""One log line and one count per request: what was asked for and how it went, never what a visitor named."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.encoding import escape_uri_path

from recommender import metrics

logger = logging.getLogger("nightreel.request")

Answer = Callable[[HttpRequest], HttpResponse]
KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
REQUEST_ID = "Request-Id"


class RequestLogMiddleware:
    """Times and counts every request and says so in one line.

    The query stays out of it, because it says which films somebody loves; so do addresses and cookies.
    """

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request, and then log it."""
        began = time.perf_counter()
        response = self.get_response(request)
        seconds = time.perf_counter() - began
        view = view_name(request)
        metrics.REQUESTS.labels(view, _method(request), str(response.status_code)).inc()
        metrics.SECONDS.labels(view).observe(seconds)
        response.headers[REQUEST_ID] = request_id = secrets.token_hex(8)
        logger.info(
            "%s %s %d",
            _method(request),
            escape_uri_path(request.path),
            response.status_code,
            extra={"id": request_id, "view": view, "ms": round(seconds * 1000, 1)},
        )
        return response


def view_name(request: HttpRequest) -> str:
    """Return the name of the view that answered: few names, however many addresses are tried."""
    match = request.resolver_match
    if match is None:
        return "static" if request.path.startswith("/static/") else "none"
    return match.view_name or "unnamed"


def _method(request: HttpRequest) -> str:
    return request.method if request.method in KNOWN_METHODS else "OTHER"
