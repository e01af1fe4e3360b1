import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from nightreel.recommend.visitors import (
    FIRST_VISITOR,
    ExportError,
    ExportRefusedError,
    NoExportError,
    Snapshot,
    VisitorRating,
    capped,
    fetch_snapshot,
    forget_others,
    write_visitors,
)

AS_OF = datetime(2026, 11, 1, 3, tzinfo=UTC)


def given(visitor: str, movie: int, rating: float = 4.0, *, minute: int = 0) -> dict[str, Any]:
    return {
        "visitor_id": visitor,
        "movie_id": movie,
        "rating": rating,
        "given_at": f"2026-10-01T00:{minute:02}:00+00:00",
    }


class Site:
    """A site that exports these ratings, two a page, to whoever has the token."""

    def __init__(self, rows: list[dict[str, Any]], *, path: str = "/api/v1/ratings") -> None:
        self.rows = rows
        self.path = path
        self.asked: list[dict[str, list[str]]] = []
        self.circle = False

    def answer(self, target: str, token: str | None) -> tuple[int, Any]:
        parts = urlsplit(target)
        if parts.path != self.path:
            return 404, {"title": "Not Found"}
        if token != "Bearer good":
            return 403, {"title": "Forbidden"}
        query = parse_qs(parts.query)
        self.asked.append(query)
        start = int(query.get("after", ["0"])[0])
        more = start + 2 < len(self.rows)
        after = str(start + 2) if more else ("0" if self.circle else None)
        return 200, {"as_of": query["as_of"][0], "ratings": self.rows[start : start + 2], "next": after}


@contextmanager
def served(site: Site) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = site.answer(self.path, self.headers["Authorization"])
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def fetched(site: Site, *, token: str = "good", most: int = 100) -> Snapshot:
    with served(site) as server:
        return fetch_snapshot(server=server, token=token, as_of=AS_OF, most=most)


def test_snapshot_has_every_page() -> None:
    found = fetched(Site([given("a", 1), given("a", 2), given("b", 1), given("b", 3), given("c", 1)]))
    assert (len(found.ratings), found.visitors, found.dropped) == (5, 3, 0)


def test_every_page_is_of_the_same_moment() -> None:
    site = Site([given("a", movie) for movie in range(5)])
    fetched(site)
    assert [query["as_of"] for query in site.asked] == [["2026-11-01T03:00:00+00:00"]] * 3


def test_a_site_without_export_is_told_apart() -> None:
    with pytest.raises(NoExportError, match="exports no ratings"):
        fetched(Site([], path="/elsewhere"))


def test_a_refused_token_says_what_to_do() -> None:
    with pytest.raises(ExportRefusedError, match="scope `export`"):
        fetched(Site([]), token="old")


def test_a_site_that_is_away_may_be_asked_again() -> None:
    with pytest.raises(ExportError, match="did not answer"):
        fetch_snapshot(server="http://127.0.0.1:9", token="good", as_of=AS_OF, most=1)


def test_pages_in_a_circle_come_to_an_end() -> None:
    site = Site([given("a", movie) for movie in range(3)])
    site.circle = True
    with pytest.raises(ExportError, match="in a circle"):
        fetched(site)


@pytest.mark.parametrize(
    "row", [{}, given("a", 1, 9.0), given("a", 1) | {"given_at": "today"}, given("a", 1) | {"rating": None}, "row"]
)
def test_a_row_that_is_no_rating_is_refused(row: Any) -> None:
    with pytest.raises(ExportError):
        fetched(Site([row]))


def test_the_last_word_on_a_movie_counts() -> None:
    rows = [given("a", 1, 5.0, minute=2), given("a", 1, 1.0, minute=1)]
    [one] = capped(map(VisitorRating.from_json, rows), most=10).ratings
    assert one.rating == 5.0


def test_one_visitor_counts_for_so_many_and_the_latest() -> None:
    rows = [given("a", movie, minute=movie) for movie in range(9)] + [given("b", 1)]
    found = capped(map(VisitorRating.from_json, rows), most=2)
    assert [(one.visitor_id, one.movie_id) for one in found.ratings] == [("a", 7), ("a", 8), ("b", 1)]
    assert found.dropped == 7


def test_file_has_users_of_its_own_and_no_id_of_the_site(tmp_path: Path) -> None:
    snapshot = capped(map(VisitorRating.from_json, [given("v-7c1e", 5), given("v-0001", 6)]), most=10)
    target = tmp_path / "visitors.csv"
    write_visitors(snapshot, target)
    assert target.read_text().splitlines() == [
        "userId,movieId,rating,timestamp",
        f"{FIRST_VISITOR},6,4.0,1790812800",
        f"{FIRST_VISITOR + 1},5,4.0,1790812800",
    ]


def test_same_snapshot_is_the_same_file(tmp_path: Path) -> None:
    snapshot = capped(map(VisitorRating.from_json, [given("a", 5), given("b", 6)]), most=10)
    assert write_visitors(snapshot, tmp_path / "1.csv") == write_visitors(snapshot, tmp_path / "2.csv")


def test_nobody_left_leaves_no_file(tmp_path: Path) -> None:
    target = tmp_path / "visitors.csv"
    target.write_text("of an earlier try")
    assert write_visitors(Snapshot(ratings=[], dropped=0), target) is None
    assert not target.exists()


def test_snapshots_of_earlier_runs_are_forgotten(tmp_path: Path) -> None:
    for run in ("old", "new"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "visitors.csv").write_text("")
    forget_others(tmp_path, keep=tmp_path / "new" / "visitors.csv")
    assert [path.parent.name for path in tmp_path.glob("*/visitors.csv")] == ["new"]
