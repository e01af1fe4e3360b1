"""The report of a run, one HTML page that lies beside its bundle: kept, and shown with everything in it locked away."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from django.http import HttpResponse

from recommender.models import StoredBundle

MOST_BYTES = 16 * 1024**2
PIECE = 256 * 1024
STYLE = re.compile(rb"<style[^>]*>(.*?)</style>", re.DOTALL | re.IGNORECASE)


def report_path(stored: StoredBundle) -> Path:
    """Return where a bundle's report lies when there is one."""
    return stored.path.with_suffix(".html")


def receive(stored: StoredBundle, read: Callable[[int], bytes], *, length: int) -> None:
    """Keep a report that arrives in pieces, whole or not at all; ValueError when it is cut short."""
    target = report_path(stored)
    handle, name = tempfile.mkstemp(prefix=".upload-", dir=target.parent)
    draft, received = Path(name), 0
    try:
        with os.fdopen(handle, "wb") as file:
            while received < length and (piece := read(min(PIECE, length - received))):
                file.write(piece)
                received += len(piece)
        if received < length:
            raise ValueError(f"The body was cut short: {received} of {length} bytes came. Send it again.")
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def shown(stored: StoredBundle) -> HttpResponse:
    """Return the report as a page; FileNotFoundError when there is none.

    It came from outside, so it gets an origin of its own and may load and run nothing: pictures within it are shown,
    and exactly the style sheets within it are allowed, by their hashes.
    """
    body = report_path(stored).read_bytes()
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(css).digest()).decode()}'" for css in STYLE.findall(body)]
    policy = [
        "sandbox",
        "default-src 'none'",
        "img-src data:",
        f"style-src {' '.join(hashes) or chr(39) + 'none' + chr(39)}",
    ]
    policy += ["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]
    return HttpResponse(
        body,
        content_type="text/html; charset=utf-8",
        headers={"Content-Security-Policy": "; ".join(policy), "Cache-Control": "private, no-store"},
    )
