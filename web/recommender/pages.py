"""The pages that are about the visitor: what their browser remembers, and what the site keeps of them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from recommender import limits, visitors
from recommender.model_store import ModelUnavailable, store

ROBOTS = "User-agent: *\nDisallow: /answers\nDisallow: /suggest\nDisallow: /remember/\nAllow: /\n"


# Only from here on a cookie is needed: it keeps other sites' pages from consenting in a visitor's name.
@ensure_csrf_cookie
@require_safe
def your_list(request: HttpRequest) -> HttpResponse:
    """Show what the browser remembers; the list itself is filled in by script, for the server does not know it."""
    try:
        model = store.current()
    except ModelUnavailable:
        model = None
    caps = {"most_ratings": visitors.MOST_RATINGS, "page_url": request.build_absolute_uri()}
    return render(request, "recommender/list.html", caps | {"model": model})


@require_safe
def privacy(request: HttpRequest) -> HttpResponse:
    """Say what is kept, where, for how long, and how abuse is bounded: by the very numbers that bound it."""
    context: dict[str, Any] = {
        "most_ratings": visitors.MOST_RATINGS,
        "history_days": visitors.HISTORY.days,
        "consents_a_day": limits.ADMISSIONS.most,
        "all_consents_a_day": limits.ALL_ADMISSIONS.most,
        "writes_an_hour": limits.WRITES.most,
        "page_url": request.build_absolute_uri(),
    }
    return render(request, "recommender/privacy.html", context)


@require_safe
def robots(request: HttpRequest) -> HttpResponse:
    """Tell crawlers what is not a page."""
    return HttpResponse(ROBOTS, content_type="text/plain; charset=utf-8")


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """Send browsers to the icon where a page names none, as the admin's and reports do."""
    return redirect(static("recommender/icon.svg"), permanent=False)
