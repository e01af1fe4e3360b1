"""The model's pages: its card for everybody; for staff its history, activating another one and going back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.admin.views.decorators import staff_member_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.dateparse import parse_datetime
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from recommender import publishing, reports
from recommender.api_docs import MODEL_HEADER
from recommender.facts import LONGEST, facts_of
from recommender.models import Activation, StoredBundle
from recommender.quality_plot import HEIGHT, WIDTH, nightly_lines, quality_rows

SHOWN_ACTIVATIONS, SHOWN_BUNDLES = 30, 50


@require_safe
def card(request: HttpRequest) -> HttpResponse:
    """Show what serves: from which data, how good beside what, where its limits are."""
    activation = Activation.objects.current()
    if activation is None:
        return render(request, "recommender/model.html", {"unpublished": True})
    stored = activation.bundle
    metadata = stored.metadata
    context = {
        "stored": stored,
        "activation": activation,
        "created": _moment(metadata.get("created")),
        "dataset": facts_of(metadata.get("dataset")),
        "parameters": facts_of(metadata.get("parameters")),
        "versions": facts_of(metadata.get("versions")),
        "revision": str(metadata.get("code_revision", "unknown"))[:LONGEST],
        "quality": quality_rows(metadata.get("evaluation", [])),
        "history": Activation.objects.select_related("bundle").order_by("-pk")[:SHOWN_ACTIVATIONS],
    }
    response = render(request, "recommender/model.html", context)
    response.headers[MODEL_HEADER] = stored.sha256
    return response


def _moment(text: Any) -> Any:
    """Return a stored moment as one, or as the text that it is."""
    try:
        return parse_datetime(str(text)) or str(text)
    except ValueError:
        return str(text)


@never_cache
@staff_member_required
@require_safe
def models(request: HttpRequest) -> HttpResponse:
    """Show staff what came, what served when and how good it was, with a button for each that can serve."""
    current = Activation.objects.current()
    history = list(Activation.objects.select_related("bundle").order_by("-pk")[:SHOWN_ACTIVATIONS])
    bundles = [
        {
            "stored": stored,
            "serves": current is not None and stored.pk == current.bundle_id,
            "kept": stored.path.exists(),
            "report": reports.report_path(stored).exists(),
        }
        for stored in StoredBundle.objects.order_by("-uploaded", "-pk")[:SHOWN_BUNDLES]
    ]
    earlier = None if current is None else Activation.objects.before(current)
    context = {
        "current": current,
        "earlier": earlier if earlier is not None and earlier.path.exists() else None,
        "history": history,
        "bundles": bundles,
        "lines": nightly_lines([entry.bundle.metadata.get("evaluation", []) for entry in reversed(history)]),
        "nights": len(history),
        "messages": messages.get_messages(request),
        "view_box": f"0 0 {WIDTH} {HEIGHT}",
        "quality": [] if current is None else quality_rows(current.bundle.metadata.get("evaluation", [])),
    }
    return render(request, "recommender/models.html", context)


@staff_member_required
@require_POST
def activate(request: HttpRequest) -> HttpResponse:
    """Make the chosen model serve; when it fails its smoke query, say why: the one before goes on."""
    sha256 = request.POST.get("sha256", "")
    stored = get_object_or_404(StoredBundle, sha256=sha256 if sha256.isalnum() else "")

    def switch() -> str:
        publishing.activate(stored)
        return f"Run {stored.run_id} serves now."

    return _told(request, switch, otherwise="The model that served before goes on.")


@staff_member_required
@require_POST
def roll_back(request: HttpRequest) -> HttpResponse:
    """Go back to the model before, when it is still the one that was shown beside the button."""

    def switch() -> str:
        return f"Back at run {publishing.roll_back(expected=request.POST.get('sha256', '')).run_id}."

    return _told(request, switch, otherwise="Nothing was changed.")


def _told(request: HttpRequest, switch: Callable[[], str], *, otherwise: str) -> HttpResponse:
    """Show the models again with what came of a switch."""
    try:
        messages.success(request, switch())
    except publishing.ActivationError as error:
        messages.error(request, f"{error} {otherwise}")
    return redirect("models")


@never_cache
@staff_member_required
@require_safe
def report(request: HttpRequest, sha256: str) -> HttpResponse:
    """Show the report that lies beside a bundle."""
    stored = get_object_or_404(StoredBundle, sha256=sha256)
    try:
        return reports.shown(stored)
    except FileNotFoundError as error:
        raise Http404("This bundle has no report.") from error
