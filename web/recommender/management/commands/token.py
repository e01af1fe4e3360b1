"""`manage.py token`: make, list, rotate and revoke tokens for programs."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from recommender.tokens import SCOPES, ApiToken

USUAL_DAYS, USUAL_GRACE_HOURS = 365, 24


class Command(BaseCommand):
    """A token is shown once, when it is made: only its SHA-256 is kept."""

    help = "Make, list, rotate and revoke tokens: create NAME --scope SCOPE, list, rotate NAME, revoke NAME."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take one of four verbs."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="Make a token and print it, this once.")
        create.add_argument("name", help="What it is for, e.g. airflow.")
        create.add_argument("--scope", action="append", choices=SCOPES, required=True, help="May be repeated.")
        verbs.add_parser("list", help="Show all tokens, without what they are.")
        rotate = verbs.add_parser("rotate", help="Print a successor; the old one goes on for a while.")
        rotate.add_argument("name")
        rotate.add_argument("--grace-hours", type=int, default=USUAL_GRACE_HOURS, help="How long the old one goes on.")
        for verb in (create, rotate):
            verb.add_argument("--days", type=int, default=USUAL_DAYS, help="How long it is valid; 0 for ever.")
        revoke = verbs.add_parser("revoke", help="Refuse all tokens of that name from now on.")
        revoke.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what the verb says."""
        {"create": self._create, "list": self._list, "rotate": self._rotate, "revoke": self._revoke}[options["verb"]](
            options
        )

    def _create(self, options: dict[str, Any]) -> None:
        name = options["name"]
        if ApiToken.objects.valid(timezone.now()).filter(name=name).exists():
            raise CommandError(f"There is a valid token named {name!r}: rotate it, revoke it, or take another name.")
        row, token = ApiToken.objects.issue(name=name, scopes=options["scope"], lifetime=_lifetime(options["days"]))
        self._show(row, token)

    def _rotate(self, options: dict[str, Any]) -> None:
        grace = timedelta(hours=_not_negative(options["grace_hours"], "--grace-hours"))
        try:
            row, token = ApiToken.objects.rotate(name=options["name"], grace=grace, lifetime=_lifetime(options["days"]))
        except ApiToken.DoesNotExist as error:
            raise CommandError(f"{error}: `manage.py token list` shows those that there are.") from error
        self._show(row, token)
        self.stderr.write(f"The old one goes on for {options['grace_hours']} hours.")

    def _show(self, row: ApiToken, token: str) -> None:
        until = "for ever" if row.expires is None else f"until {row.expires:%Y-%m-%d %H:%M} UTC"
        self.stderr.write(f"{row}, {until}. It is shown this once:")
        self.stdout.write(token)

    def _list(self, options: dict[str, Any]) -> None:
        for row in ApiToken.objects.all():
            used = "never used" if row.last_used is None else f"last used {row.last_used:%Y-%m-%d %H:%M}"
            ends = "" if row.expires is None else f", ends {row.expires:%Y-%m-%d %H:%M}"
            self.stdout.write(f"{row}: {row.state}, made {row.created:%Y-%m-%d}{ends}, {used}")

    def _revoke(self, options: dict[str, Any]) -> None:
        count = ApiToken.objects.filter(name=options["name"], revoked=None).update(revoked=timezone.now())
        if not count:
            raise CommandError(f"There is no token named {options['name']!r} that is not revoked already.")
        self.stdout.write(f"{count} revoked.")


def _not_negative(number: int, option: str) -> int:
    if number < 0:
        raise CommandError(f"{option} is {number}; it must not be below 0.")
    return number


def _lifetime(days: int) -> timedelta | None:
    return timedelta(days=days) if _not_negative(days, "--days") else None
