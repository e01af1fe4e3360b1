"""The two things that are asked of TMDB, over its API of version 3."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

API = "https://api.themoviedb.org/3"
IMAGES = "https://image.tmdb.org/t/p/w342"
SECONDS = 20.0
MOST_JSON_BYTES, MOST_IMAGE_BYTES = 512 * 1024, 1024 * 1024
TRIES = 4
LONGEST_OVERVIEW = 2000
JPEG = b"\xff\xd8\xff"


class TmdbError(RuntimeError):
    """TMDB cannot be asked; the sentence says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What TMDB says about a film: `poster` is the JPEG's bytes, b"" where there is none."""

    overview: str = ""
    poster: bytes = b""


class Tmdb:
    """Asks TMDB with a key of version 3 or a read access token of version 4; waits when told to."""

    def __init__(
        self, key: str, *, api: str = API, images: str = IMAGES, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._key = key
        self._api = api
        self._images = images
        self._sleep = sleep

    def film(self, tmdb_id: str) -> Told:
        """Return what is known about a film, nothing where TMDB does not know it. TmdbError when it does not answer."""
        token = len(self._key) > 40  # a key has 32 characters, a token hundreds
        query = "" if token else f"?{urlencode({'api_key': self._key})}"
        headers = {"Authorization": f"Bearer {self._key}"} if token else {}
        body = self._get(f"{self._api}/movie/{int(tmdb_id)}{query}", headers=headers, most=MOST_JSON_BYTES)
        if body is None:
            return Told()
        try:
            film = json.loads(body)
            overview, poster_path = str(film.get("overview") or ""), str(film.get("poster_path") or "")
        except (ValueError, AttributeError) as error:
            raise TmdbError(f"TMDB's answer about film {tmdb_id} is no JSON object.") from error
        poster = self._get(f"{self._images}{poster_path}", headers={}, most=MOST_IMAGE_BYTES) if poster_path else None
        shown = poster if poster is not None and poster.startswith(JPEG) else b""
        return Told(overview=overview[:LONGEST_OVERVIEW], poster=shown)

    def _get(self, url: str, *, headers: dict[str, str], most: int) -> bytes | None:
        """Return a body, None for 404. Errors never quote the address: it may hold the key."""
        for attempt in range(1, TRIES + 1):
            try:
                with urlopen(Request(url, headers=headers), timeout=SECONDS) as response:  # noqa: S310 (our own https)
                    body: bytes = response.read(most + 1)
                if len(body) > most:
                    raise TmdbError(f"TMDB sent more than {most} bytes for one film.")
                return body
            except HTTPError as error:
                if error.code == HTTPStatus.NOT_FOUND:
                    return None
                if error.code == HTTPStatus.UNAUTHORIZED:
                    raise TmdbError("TMDB refuses the key: check NIGHTREEL_SITE_TMDB_KEY.") from None
                if attempt == TRIES or error.code not in (429, 500, 502, 503, 504):
                    raise TmdbError(f"TMDB answered {error.code}: try again later.") from None
                self._sleep(_pause(error.headers.get("Retry-After", ""), attempt))
            except (URLError, TimeoutError, ConnectionError) as error:
                if attempt == TRIES:
                    reason = getattr(error, "reason", error)
                    raise TmdbError(f"TMDB cannot be reached ({reason}): check the network.") from None
                self._sleep(_pause("", attempt))
        raise AssertionError("unreachable")


def _pause(retry_after: str, attempt: int) -> float:
    return min(float(retry_after), 60.0) if retry_after.isdigit() else 2.0**attempt
