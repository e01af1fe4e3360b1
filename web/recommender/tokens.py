"""Who may upload, read the ratings or the metrics: bearer tokens, of which only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.http import HttpRequest
from django.utils import timezone

from recommender.problems import Problem

UPLOAD, EXPORT, METRICS = SCOPES = ("upload", "export", "metrics")
PREFIX = "nightreel_"
SECRET_BYTES = 32
LONGEST_TOKEN = 200
USE_NOTED_EVERY = timedelta(minutes=10)
"""How often the last use is written down: a scraper comes every few seconds."""


def hashed(token: str) -> str:
    """Return what is kept of a token. No salt or slow hash: it has 256 random bits, there is nothing to guess."""
    return hashlib.sha256(token.encode()).hexdigest()


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    """Questions about tokens."""

    def valid(self, moment: datetime) -> Self:
        """Keep those that are neither revoked nor past their end."""
        return self.filter(revoked=None).filter(models.Q(expires=None) | models.Q(expires__gt=moment))

    def issue(self, *, name: str, scopes: list[str], lifetime: timedelta | None) -> tuple[ApiToken, str]:
        """Make a token and return its row and the token itself, which nobody can ever read again.

        ValueError for no scope or an unknown one.
        """
        unknown = sorted(set(scopes) - set(SCOPES))
        if not scopes or unknown:
            raise ValueError(f"scopes are {', '.join(SCOPES)}, not {', '.join(unknown) or 'none at all'}")
        token = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        expires = None if lifetime is None else timezone.now() + lifetime
        return self.create(name=name, scopes=sorted(set(scopes)), sha256=hashed(token), expires=expires), token

    def rotate(self, *, name: str, grace: timedelta, lifetime: timedelta | None) -> tuple[ApiToken, str]:
        """Make a successor of the valid token of that name; the old one goes on for `grace`, then ends.

        ApiToken.DoesNotExist when there is none.
        """
        now = timezone.now()
        old = self.valid(now).filter(name=name).order_by("-pk")
        newest = old.first()
        if newest is None:
            raise ApiToken.DoesNotExist(f"there is no valid token named {name!r}")
        pair = self.issue(name=name, scopes=newest.scopes, lifetime=lifetime)
        ends = now + grace
        old.exclude(pk=pair[0].pk).filter(models.Q(expires=None) | models.Q(expires__gt=ends)).update(expires=ends)
        return pair


class ApiToken(models.Model):
    """A token's name, what it may do and how long; names repeat while a token is being rotated."""

    name = models.CharField(max_length=100)
    scopes = models.JSONField(help_text=f"of {', '.join(SCOPES)}")
    sha256 = models.CharField(max_length=64, unique=True, editable=False)
    created = models.DateTimeField(auto_now_add=True)
    expires = models.DateTimeField(null=True)
    revoked = models.DateTimeField(null=True)
    last_used = models.DateTimeField(null=True)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        """Listed by name, the newest of a name last."""

        ordering: ClassVar = ["name", "pk"]

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(self.scopes)})"

    @property
    def state(self) -> str:
        """In a word: valid, expired or revoked."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= timezone.now() else "valid"


def require_scope(request: HttpRequest, scope: str) -> None:
    """Let a request through whose bearer token has the scope; Problem 401 without a good token, 403 without the scope.

    A token of the environment has one scope and comes first, so that it works without a database row.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    challenge = {"WWW-Authenticate": f'Bearer realm="nightreel", scope="{scope}"'}
    if scheme.lower() != "bearer" or not 0 < len(token) <= LONGEST_TOKEN:
        raise Problem(401, f"Send a token with the scope {scope} as `Authorization: Bearer TOKEN`.", headers=challenge)
    digest = hashed(token)
    from_environment = {UPLOAD: settings.NIGHTREEL_TOKEN_SHA256, EXPORT: settings.NIGHTREEL_EXPORT_TOKEN_SHA256}
    granted = {name for name, kept in from_environment.items() if kept and hmac.compare_digest(digest, kept)}
    found = None if granted else ApiToken.objects.valid(timezone.now()).filter(sha256=digest).first()
    if found is not None:
        granted = set(found.scopes)
        _note_use(found)
    if not granted:
        detail = "The token in `Authorization: Bearer TOKEN` is unknown, expired or revoked: ask for another one."
        raise Problem(401, detail, headers=challenge)
    if scope not in granted:
        raise Problem(403, f"The token lacks the scope {scope}: it has {', '.join(sorted(granted))}.")


def _note_use(token: ApiToken) -> None:
    now = timezone.now()
    if token.last_used is None or now - token.last_used > USE_NOTED_EVERY:
        ApiToken.objects.filter(pk=token.pk).update(last_used=now)
