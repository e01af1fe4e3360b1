"""Rate limits that know nobody: an address counts only as a keyed digest that is deleted with its window."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest
from django.utils import timezone

from recommender.visitors import Allowance

IPV6_SUBSCRIBER = 64
"""Length of the prefix that one subscriber has, who could else come from a new address each time."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """At most `most` uses by one caller within each window."""

    name: str
    most: int
    window: timedelta

    def spend(self, caller: str) -> bool:
        """Count one use and say whether it was within the limit."""
        now = timezone.now()
        window = int(now.timestamp() // self.window.total_seconds())
        until = datetime.fromtimestamp((window + 1) * self.window.total_seconds(), UTC)
        text = f"{self.name} {window} {caller}"
        key = hmac.new(settings.SECRET_KEY.encode(), text.encode(), hashlib.sha256).hexdigest()
        with transaction.atomic():
            forget(now)
            Allowance.objects.get_or_create(key=key, defaults={"until": until})
            return bool(Allowance.objects.filter(key=key, used__lt=self.most).update(used=F("used") + 1))


def forget(now: datetime) -> None:
    """Delete the digests of windows that are over."""
    Allowance.objects.filter(until__lte=now).delete()


EVERYBODY = "everybody"
ADMISSIONS = Limit(name="consent", most=5, window=timedelta(days=1))
ALL_ADMISSIONS = Limit(name="consent of all", most=2_000, window=timedelta(days=1))
WRITES = Limit(name="ratings", most=120, window=timedelta(hours=1))
GUESSES = Limit(name="token", most=30, window=timedelta(hours=1))


def caller(request: HttpRequest) -> str:
    """Return the address that a request comes from, past the trusted proxies, as one subscriber."""
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    trusted = settings.NIGHTREEL_TRUSTED_PROXIES
    text = hops[-trusted] if 0 < trusted <= len(hops) else request.META.get("REMOTE_ADDR", "")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "unknown"
    if address.version == 6:
        return str(ipaddress.ip_network((address, IPV6_SUBSCRIBER), strict=False))
    return str(address)
