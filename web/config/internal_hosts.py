"""Names under which the site is asked without TLS by its neighbours, over a network that nobody else is on."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse


class InternalHostsMiddleware:
    """Lets plain HTTP through under these names, where Django would send it to https that only the proxy speaks.

    A proxy must pass the visitors' own Host on, as the example in `deploy` does, and must know these names not.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Take a request under such a name for one that came over TLS; addresses in its answer stay http."""
        name = request.META.get("HTTP_HOST", "").partition(":")[0].lower()
        if name in settings.NIGHTREEL_INTERNAL_HOSTS:
            request.is_secure = lambda: True  # type: ignore[method-assign]
        return self._get_response(request)
