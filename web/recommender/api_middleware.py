"""What holds for every answer below /api/: HEAD works, refusals are problems, and other origins are let in by name."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from recommender.problems import API_PREFIX, Problem

Answer = Callable[[HttpRequest], HttpResponse]
EXPOSED = "ETag, Nightreel-Model"


class ApiMiddleware:
    """Wraps the API and nothing else."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer below /api/ as programs expect it."""
        if not request.path_info.startswith(API_PREFIX):
            return self.get_response(request)
        response = self._answered(request)
        if settings.NIGHTREEL_CORS_ORIGINS:
            _let_origins_in(request, response)
        return response

    def _answered(self, request: HttpRequest) -> HttpResponse:
        head = request.method == "HEAD"
        if head:
            request.method = "GET"
        response = self.get_response(request)
        if response.status_code == 405 and "json" not in response.headers.get("Content-Type", ""):
            allowed = ", ".join(sorted(response.headers.get("Allow", "").replace(" ", "").split(",")))
            response = Problem(405, f"{request.path} answers {allowed} only.", headers={"Allow": allowed}).response()
        if head:
            request.method = "HEAD"
            length = len(response.content)
            response.content = b""
            response.headers["Content-Length"] = str(length)
        return response


def _let_origins_in(request: HttpRequest, response: HttpResponse) -> None:
    """Let scripts of the named origins read what anybody may read; never with cookies, never to write.

    A GET without headers of its own needs no preflight, so OPTIONS stays unanswered.
    """
    patch_vary_headers(response, ["Origin"])
    origin = request.headers.get("Origin", "")
    if request.method in {"GET", "HEAD"} and origin in settings.NIGHTREEL_CORS_ORIGINS:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = EXPOSED
