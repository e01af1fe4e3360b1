"""The export of visitors' ratings: tomorrow's training input, as one snapshot read page by page."""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from ninja import Query, Router
from ninja.security import HttpBearer

from recommender import api_schemas, exports
from recommender.api_docs import documented
from recommender.problems import Problem
from recommender.tokens import EXPORT, require_scope

USUAL_LIMIT, MOST_LIMIT = 1000, 10_000
LONGEST_CURSOR = 500


class ExportToken(HttpBearer):
    """A token with the scope `export`."""

    def __call__(self, request: HttpRequest) -> Any:
        """Let the request through; a problem otherwise."""
        require_scope(request, EXPORT)
        return True

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        """Never asked: the call above is all."""
        raise NotImplementedError


router = Router(auth=ExportToken(), tags=["ratings"])


@router.get(
    "",
    response=api_schemas.RatingsOut,
    summary="Ratings of visitors who agreed",
    openapi_extra=documented(400, 401, 403),
)
def ratings(request: HttpRequest, query: Query[api_schemas.ExportQuery]) -> HttpResponse:
    """The whole snapshot as of a moment, page by page.

    The same moment gives the same ratings, except that those of a visitor who withdrew are gone from then on.
    """
    moment = _moment(query.as_of)
    after, limit = _cursor(query.after), _limit(query.limit)
    if after is None:
        exports.forget(timezone.now())  # here, for every night comes by
    rows = (row for row in exports.consented_ratings(moment) if after is None or row[:2] > after)
    page = [exports.Rating(*row) for row in islice(rows, limit + 1)]
    last = page[limit - 1] if len(page) > limit else None
    content = {
        "as_of": moment.isoformat(),
        "ratings": [row._asdict() for row in page[:limit]],
        "next": None if last is None else _encoded(last),
    }
    return JsonResponse(content, headers={"Cache-Control": "no-store"})


def _moment(text: str) -> datetime:
    now = timezone.now()
    if not text:
        return now
    try:
        moment = parse_datetime(text)
        moment = moment.astimezone(UTC) if moment and moment.tzinfo else None
    except (ValueError, OverflowError):  # in UTC the year 1 may begin in no year at all
        moment = None
    if moment is None:
        raise Problem(400, f"as_of={text!r} is not a moment with its time zone, as in as_of=2026-01-01T00:00:00Z.")
    if moment > now:
        raise Problem(
            400, f"as_of={text!r} lies in the future, where nothing is settled: ask for a moment that is past."
        )
    return moment


def _limit(text: str) -> int:
    if not re.fullmatch(r"\d{0,5}", text, re.ASCII) or not 1 <= int(text or USUAL_LIMIT) <= MOST_LIMIT:
        raise Problem(400, f"limit={text!r} is not a whole number from 1 to {MOST_LIMIT}.")
    return int(text or USUAL_LIMIT)


def _encoded(row: exports.Rating) -> str:
    return base64.urlsafe_b64encode(json.dumps([row.visitor_id, row.movie_id]).encode()).decode()


def _cursor(text: str) -> tuple[str, int] | None:
    """Return the last row of the page before; a problem for what is no `next` of ours."""
    if not text:
        return None
    try:
        visitor_id, movie_id = json.loads(base64.urlsafe_b64decode(text[:LONGEST_CURSOR].encode()))
    except (ValueError, TypeError, RecursionError, binascii.Error):
        visitor_id = movie_id = None
    if not isinstance(visitor_id, str) or type(movie_id) is not int:
        raise Problem(400, f"after={text!r} is not the `next` of a page; leave it out to begin anew.")
    return visitor_id, movie_id
