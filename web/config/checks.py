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


def check_tokens(**_: Any) -> Sequence[CheckMessage]:
    """Warn about tokens that can be guessed, and about one that may do two things."""
    found = {name: environment.text(name) for name in ("TOKEN", "EXPORT_TOKEN")}
    messages: list[CheckMessage] = [
        Warning(
            f"{environment.PREFIX}{name} has only {len(token)} characters.",
            hint="Whoever guesses it can replace the model or read the ratings: use e.g. `openssl rand -hex 32`.",
            id="nightreel.W001",
        )
        for name, token in found.items()
        if 0 < len(token) < SHORTEST_TOKEN
    ]
    if found["TOKEN"] and found["TOKEN"] == found["EXPORT_TOKEN"]:
        messages.append(
            Warning(
                f"{environment.PREFIX}TOKEN and {environment.PREFIX}EXPORT_TOKEN are the same.",
                hint="Give them two values, so that whoever may read the ratings can not replace the model.",
                id="nightreel.W002",
            )
        )
    return messages


def require_secret_key() -> None:
    """Raise ImproperlyConfigured with the check's own words."""
    for message in check_secret_key():
        raise ImproperlyConfigured(f"{message.msg} {message.hint}")
