"""Where the site's database is: a file of SQLite's by default, PostgreSQL by DATABASE_URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

EXAMPLE = "postgresql://USER:PASSWORD@HOST:5432/NAME"
POOLED = 6
"""Connections that one process keeps at most: one for each of gunicorn's threads, and a few for who else asks."""
PATIENCE = 10
"""Seconds that a request waits for one of them, or for a server that does not answer."""


def database(url: str, *, folder: Path) -> dict[str, Any]:
    """Return Django's settings for the database of a URL, or for SQLite in `folder` when there is none.

    ImproperlyConfigured, without the password that may stand in it, for a URL that means no database.
    """
    return _sqlite(folder / "db.sqlite3") if not url else _postgresql(url)


def _sqlite(file: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": file,
        "CONN_MAX_AGE": None,  # opening the file anew cost a third of an answer
        "OPTIONS": {
            # Readers never wait for the writer, and a writer takes its lock before it reads what it will change.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    }


def _postgresql(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    name = unquote(parts.path.removeprefix("/"))
    if parts.scheme not in {"postgresql", "postgres"} or not name:
        raise ImproperlyConfigured(
            f"DATABASE_URL begins with {parts.scheme or 'nothing'}: and names {'a' if name else 'no'} database; "
            f"set it to {EXAMPLE}, or leave it out for SQLite"
        )
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    options.setdefault("connect_timeout", str(PATIENCE))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(options.pop("host", "") or parts.hostname or ""),  # a folder of a socket stands in the query
        "PORT": _port(parts),
        "CONN_HEALTH_CHECKS": True,  # a connection that the server has dropped is replaced before it is lent
        "OPTIONS": {"pool": {"min_size": 1, "max_size": POOLED, "timeout": PATIENCE}, **options},
    }


def _port(parts: SplitResult) -> str:
    try:
        return str(parts.port or "")
    except ValueError as error:
        raise ImproperlyConfigured(f"DATABASE_URL has a port that is none ({error}); set it to {EXAMPLE}") from error
