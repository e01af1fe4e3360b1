"""The model's pages: its card for everybody; for staff its history, activating another one and going back."""

from __future__ import annotations

from collections.abc import Mapping
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
from recommender.models import Activation, StoredBundle
from recommender.quality_plot import HEIGHT, WIDTH, nightly_lines, quality_rows

SHOWN_ACTIVATIONS, SHOWN_BUNDLES = 30, 50
SHOWN_PARAMETERS = 40
LONGEST_VALUE = 200


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
        "dataset": _facts(metadata.get("dataset")),
        "parameters": _facts(metadata.get("parameters")),
        "versions": _facts(metadata.get("versions")),
        "revision": str(metadata.get("code_revision", "unknown"))[:LONGEST_VALUE],
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


def _facts(mapping: Any) -> list[tuple[str, str]]:
    """Return a mapping of the metadata as lines; what is nested or long is shortened, for it came from outside."""
    if not isinstance(mapping, Mapping):
        return []
    return [
        (str(name).replace("_", " ")[:LONGEST_VALUE], _shown(value))
        for name, value in list(mapping.items())[:SHOWN_PARAMETERS]
    ]


def _shown(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]} …"


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
    stored = get_object_or_404(StoredBundle, sha256=request.POST.get("sha256", ""))
    try:
        publishing.activate(stored)
    except publishing.ActivationError as error:
        messages.error(request, f"{error} The model that served before goes on.")
    else:
        messages.success(request, f"Run {stored.run_id} serves now.")
    return redirect("models")


@staff_member_required
@require_POST
def roll_back(request: HttpRequest) -> HttpResponse:
    """Go back to the model before, when it is still the one that was shown beside the button."""
    try:
        earlier = publishing.roll_back(expected=request.POST.get("sha256", ""))
    except publishing.ActivationError as error:
        messages.error(request, f"{error} Nothing was changed.")
    else:
        messages.success(request, f"Back at run {earlier.run_id}.")
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
