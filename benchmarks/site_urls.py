"""The site's addresses, and /noop."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def noop(request: HttpRequest) -> HttpResponse:
    """Do nothing behind the same server and the same middleware."""
    return HttpResponse(b"nothing", content_type="text/plain")


urlpatterns = [path("noop", noop), path("", include("config.urls"))]
handler404 = "recommender.problems.not_found"
handler500 = "recommender.problems.server_error"
