"""What consenting visitors of the site have rated as of a moment, ready to be put beside the base data."""

from __future__ import annotations

import csv
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

EXPORT = "/api/v1/ratings"
PAGE = 5_000
TIMEOUT = httpx.Timeout(60, connect=10)

FIRST_VISITOR = 1_000_000_000
"""Visitors are users from here on. No data set counts so far, and what ALS takes ends at 2³¹."""


class ExportError(RuntimeError):
    """The site did not give its ratings; the sentence says what it answered. A retry may help."""


class ExportRefusedError(ExportError):
    """The site will refuse this token every time."""


class NoExportError(ExportError):
    """The site has no export of ratings."""


@dataclass(frozen=True)
class VisitorRating:
    """One rating in stars; the visitor's id is the site's, `given_at` is ISO 8601."""

    visitor_id: str
    movie_id: int
    rating: float
    given_at: str

    @classmethod
    def from_json(cls, row: Any) -> VisitorRating:
        """Read a row of the export; ExportError when it is none."""
        try:
            found = cls(str(row["visitor_id"]), int(row["movie_id"]), float(row["rating"]), str(row["given_at"]))
            datetime.fromisoformat(found.given_at)
        except (KeyError, TypeError, ValueError) as error:
            raise ExportError(f"the site's export has {row!r}, which is no rating: {error!r}") from error
        if not 0.5 <= found.rating <= 5:
            raise ExportError(f"the site's export has a rating of {found.rating}, which is not 0.5 to 5 stars")
        return found


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All visitors' ratings as of a moment, one per visitor and movie, in the order of both."""

    ratings: Sequence[VisitorRating]
    dropped: int
    """How many were left out, since one visitor may not count for more than so many."""

    @property
    def visitors(self) -> int:
        """How many visitors have given them."""
        return len({one.visitor_id for one in self.ratings})


def fetch_snapshot(*, server: str, token: str, as_of: datetime, most: int) -> Snapshot:
    """Everything that visitors who agree had rated by `as_of`, of each visitor the latest `most`.

    Asking again for the same moment gives the same, but for visitors who withdrew since. Raises NoExportError,
    ExportRefusedError or ExportError.
    """
    return capped(_pages(server, token, as_of), most=most)


def capped(rows: Iterator[VisitorRating], *, most: int) -> Snapshot:
    """The last word of each visitor on each movie, and of each visitor the latest `most`."""
    by_visitor: dict[str, dict[int, VisitorRating]] = defaultdict(dict)
    for row in rows:
        before = by_visitor[row.visitor_id].get(row.movie_id)
        if before is None or _moment(before) <= _moment(row):
            by_visitor[row.visitor_id][row.movie_id] = row
    kept, dropped = list[VisitorRating](), 0
    for _, given in sorted(by_visitor.items()):
        latest = sorted(given.values(), key=lambda one: (_moment(one), one.movie_id))[-most:]
        dropped += len(given) - len(latest)
        kept += sorted(latest, key=lambda one: one.movie_id)
    return Snapshot(ratings=kept, dropped=dropped)


def _moment(row: VisitorRating) -> float:
    return datetime.fromisoformat(row.given_at).timestamp()


def _pages(server: str, token: str, as_of: datetime) -> Iterator[VisitorRating]:
    with httpx.Client(
        base_url=server.rstrip("/"), headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT, trust_env=False
    ) as site:
        query = {"as_of": as_of.isoformat(), "limit": str(PAGE)}
        seen = set[str]()
        while True:
            page = _page(site, query)
            yield from map(VisitorRating.from_json, page["ratings"])
            after = page.get("next")
            if not after:
                return
            if after in seen:
                raise ExportError(f"{server}{EXPORT} leads from page to page in a circle")
            seen.add(after)
            query["after"] = str(after)


def _page(site: httpx.Client, query: dict[str, str]) -> dict[str, Any]:
    where = f"{str(site.base_url).rstrip('/')}{EXPORT}"
    try:
        answer = site.get(EXPORT, params=query)
    except httpx.HTTPError as error:
        raise ExportError(f"{where} did not answer: {error or type(error).__name__}") from error
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise NoExportError(f"{where} is not there: this site exports no ratings")
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise ExportRefusedError(
            f"{where} refused the token ({answer.status_code}): give one with the scope `export` in the connection's "
            "extra as `export_token`, or as its password"
        )
    if not answer.is_success:
        raise ExportError(f"{where} answered {answer.status_code}: {answer.text[:200]}")
    try:
        page = answer.json()
    except ValueError:
        page = None
    if not isinstance(page, dict) or not isinstance(page.get("ratings"), list):
        raise ExportError(f"{where} answered something other than a page of ratings: is it Nightreel's site?")
    return page


def write_visitors(snapshot: Snapshot, target: Path) -> str | None:
    """Write user, movie, rating and time as the job reads them; SHA-256 of the file. None and no file for no ratings.

    Users are numbered from FIRST_VISITOR on in the order of the site's ids, so that no id of the site leaves it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if not snapshot.ratings:
        target.unlink(missing_ok=True)
        return None
    numbers = {visitor: FIRST_VISITOR + n for n, visitor in enumerate(sorted({r.visitor_id for r in snapshot.ratings}))}
    part = target.with_name(target.name + ".part")
    with part.open("w", newline="") as file:
        os.chmod(part, 0o600)
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["userId", "movieId", "rating", "timestamp"])
        for one in snapshot.ratings:
            rows.writerow([numbers[one.visitor_id], one.movie_id, one.rating, int(_moment(one))])
    part.replace(target)
    return hashlib.sha256(target.read_bytes()).hexdigest()


def forget_others(artifacts: Path, *, keep: Path) -> int:
    """Remove the snapshots of earlier runs, so that whoever withdrew is gone from here too; how many there were."""
    others = [path for path in artifacts.glob(f"*/{keep.name}") if path != keep]
    for path in others:
        path.unlink(missing_ok=True)
    return len(others)
