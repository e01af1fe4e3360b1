"""What must be set before the site may serve anybody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured

from config import environment

SHORTEST_TOKEN = 16


def check_secret_key(**_: Any) -> Sequence[CheckMessage]:
    """Refuse to run without a secret key unless debugging."""
    if environment.secret_key(debug=environment.flag("DEBUG", default=False)):
        return []
    return [
        Error(
            "NIGHTREEL_SITE_SECRET_KEY is not set.",
            hint="Set it to a long random text, e.g. from `openssl rand -base64 48`, the same for every process "
            "of the site; or set NIGHTREEL_SITE_DEBUG=1 on a development machine.",
            id="nightreel.E001",
        )
    ]


def check_publish_token(**_: Any) -> Sequence[CheckMessage]:
    """Warn about a token that can be guessed."""
    token = environment.text("TOKEN")
    if not token or len(token) >= SHORTEST_TOKEN:
        return []
    return [
        Warning(
            f"NIGHTREEL_SITE_TOKEN has only {len(token)} characters.",
            hint="Whoever guesses it can replace the model: use e.g. `openssl rand -hex 32`.",
            id="nightreel.W001",
        )
    ]


def require_secret_key() -> None:
    """Raise ImproperlyConfigured with the check's own words."""
    for message in check_secret_key():
        raise ImproperlyConfigured(f"{message.msg} {message.hint}")
