"""Whether the process lives (/healthz) and whether it can serve (/readyz), for whoever probes it."""

from __future__ import annotations

from collections.abc import Callable

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse

from recommender.model_store import ModelUnavailable, store
from recommender.problems import Problem

Answer = Callable[[HttpRequest], HttpResponse]


class HealthMiddleware:
    """Answers probes before anything looks at the host name, the scheme or a cookie: probers come by address."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a probe, or let the request through."""
        probe = PROBES.get(request.path_info)
        if probe is None:
            return self.get_response(request)
        if request.method not in {"GET", "HEAD"}:
            refused = Problem(405, f"{request.path_info} answers GET only.", headers={"Allow": "GET, HEAD"})
            return refused.response()
        return probe()


def live() -> HttpResponse:
    """Say that the process answers; nothing else is asked, for a restart mends no database."""
    return JsonResponse({"status": "ok"})


def ready() -> HttpResponse:
    """Say that the database has its tables and the published model opens; 503 with the reason otherwise.

    Ready without any model: the first one has to come in through this very process.
    """
    try:
        if not _migrated():
            raise Problem(503, "The database lacks migrations: run `manage.py migrate`.")
        model = store.current()
    except DatabaseError:
        return Problem(503, "The database does not answer.").response()
    except ModelUnavailable as error:
        return Problem(503, str(error)).response()
    except Problem as problem:
        return problem.response()
    return JsonResponse({"status": "ready", "model": None if model is None else model.sha256})


_known_as_migrated = False


def _migrated() -> bool:
    """Say whether every migration is applied; looked up until it is so once, for it stays so under this code."""
    global _known_as_migrated  # noqa: PLW0603
    if not _known_as_migrated:
        executor = MigrationExecutor(connection)
        _known_as_migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return _known_as_migrated


PROBES: dict[str, Callable[[], HttpResponse]] = {"/healthz": live, "/readyz": ready}
