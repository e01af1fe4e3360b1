"""A visitor's question, read from a query string and written back into a link."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from django.http import QueryDict

from nightreel.recommend.taste_model import DEFAULT_TASTE, parse_taste

FEWEST_SEEDS, MOST_SEEDS = 1, 5
DEFAULT_COUNT, MOST_COUNT = 10, 50
MOST_HIDDEN = 2000
MOST_NAMES, LONGEST_NAME = 40, 60
LARGEST_DRAW = 999_999
FAMES = {-2: "only little-known films", -1: "rather little-known films", 0: "all films"}
FAMES |= {1: "rather well-known films", 2: "only well-known films"}
SEED = re.compile(r"(?P<movie_id>\d{1,18}):(?P<rating>[1-5](?:\.\d{1,3})?)", re.ASCII)
MOVIE_ID = re.compile(r"\d{1,18}", re.ASCII)


class QuestionError(ValueError):
    """The query string asks for something that cannot be answered; the sentence says what can."""


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A movie that the visitor knows, by its id, and their rating in stars (1 hated … 5 loved)."""

    movie_id: int
    rating: float

    @classmethod
    def parse(cls, text: str) -> Seed:
        """Read ID:RATING; QuestionError otherwise."""
        found = SEED.fullmatch(text)
        if found is None or float(found["rating"]) > 5:
            raise QuestionError(
                f"seed={text!r} is not ID:RATING with a rating from 1 (hated) to 5 (loved), as in seed=1:5."
            )
        return cls(movie_id=int(found["movie_id"]), rating=float(found["rating"]))

    def __str__(self) -> str:
        return f"{self.movie_id}:{self.rating:g}"


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which movies may be named at all.

    `genres`: one of them at least; `without`: none of them; `decades`: 1990 is the nineties; `fame`: a key of FAMES;
    `hidden`: ids that the visitor has seen or does not want.
    """

    genres: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    decades: tuple[int, ...] = ()
    fame: int = 0
    hidden: tuple[int, ...] = ()

    @classmethod
    def parse(cls, query: QueryDict) -> Filters:
        """Read genre, without and decade (repeated), fame, and hide (ids with commas); QuestionError otherwise."""
        return cls(
            genres=_names(query, "genre"),
            without=_names(query, "without"),
            decades=tuple(dict.fromkeys(map(_decade, filter(None, query.getlist("decade"))))),
            fame=_fame(query.get("fame", "")),
            hidden=read_hidden(query.getlist("hide")),
        )

    @property
    def chosen(self) -> bool:
        """Whether the visitor narrowed anything, hidden movies aside."""
        return bool(self.genres or self.without or self.decades or self.fame)

    def fill(self, query: QueryDict) -> None:
        """Add what is set to a link's query."""
        query.setlist("genre", list(self.genres))
        query.setlist("without", list(self.without))
        query.setlist("decade", [str(decade) for decade in self.decades])
        if self.fame:
            query["fame"] = str(self.fame)
        if self.hidden:
            query["hide"] = ",".join(map(str, self.hidden))


@dataclass(frozen=True, kw_only=True)
class Question:
    """Up to five seeds or one draw, the place on the slider (0 familiar … 1 adventurous), filters, and how many."""

    seeds: tuple[Seed, ...] = ()
    taste: float = DEFAULT_TASTE
    count: int = DEFAULT_COUNT
    filters: Filters = field(default_factory=Filters)
    draw: int | None = None

    @classmethod
    def parse(cls, query: QueryDict) -> Question:
        """Read seed=ID:RATING (repeated) or surprise, taste, n and filters; QuestionError names the first wrong one."""
        seeds = tuple(map(Seed.parse, query.getlist("seed")))
        if len(seeds) > MOST_SEEDS:
            raise QuestionError(f"{len(seeds)} seeds are too many: name {FEWEST_SEEDS} to {MOST_SEEDS} movies.")
        if len({seed.movie_id for seed in seeds}) < len(seeds):
            raise QuestionError("A movie is named twice: name each seed once.")
        draw = _draw(query.get("surprise", "")) if not seeds else None
        return cls(seeds=seeds, taste=_taste(query), count=_count(query), filters=Filters.parse(query), draw=draw)

    @classmethod
    def of_form(cls, query: QueryDict, *, seeds: tuple[Seed, ...], draw: int | None = None) -> Question:
        """Read the form around its seeds: what it cannot have sent is as if it had not been sent."""
        return cls(
            seeds=seeds,
            taste=_lenient(lambda: _taste(query), DEFAULT_TASTE),
            count=_lenient(lambda: _count(query), DEFAULT_COUNT),
            filters=_lenient(lambda: Filters.parse(query), Filters()),
            draw=draw,
        )

    @property
    def answerable(self) -> bool:
        """Whether there is anything to go by."""
        return bool(self.seeds) or self.draw is not None

    def query_string(self) -> str:
        """Return the link's query: the whole state of the page."""
        query = QueryDict(mutable=True)
        query.setlist("seed", [str(seed) for seed in self.seeds])
        if self.draw is not None:
            query["surprise"] = str(self.draw)
        query["taste"] = f"{self.taste:g}"
        self.filters.fill(query)
        if self.count != DEFAULT_COUNT:
            query["n"] = str(self.count)
        return query.urlencode(safe=":,")

    def more(self) -> Question | None:
        """Return the same question for ten more movies, None when there are no more to ask for."""
        if self.count >= MOST_COUNT:
            return None
        return replace(self, count=min(self.count + DEFAULT_COUNT, MOST_COUNT))

    def unfiltered(self) -> Question:
        """Return the same question without filters, hidden movies aside."""
        return replace(self, filters=Filters(hidden=self.filters.hidden))

    def hiding(self, movie_ids: tuple[int, ...]) -> Question:
        """Return the same question with exactly these movies hidden by name."""
        return replace(self, filters=replace(self.filters, hidden=movie_ids))


def _lenient[T](read: Callable[[], T], otherwise: T) -> T:
    try:
        return read()
    except QuestionError:
        return otherwise


def _taste(query: QueryDict) -> float:
    text = query.get("taste", "")
    try:
        return parse_taste(text) if text else DEFAULT_TASTE
    except ValueError as error:
        raise QuestionError(f"{error}.") from error


def _count(query: QueryDict) -> int:
    text = query.get("n") or str(DEFAULT_COUNT)
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII) or not 1 <= int(text) <= MOST_COUNT:
        raise QuestionError(f"n={text!r} is not a whole number from 1 to {MOST_COUNT}.")
    return int(text)


def _draw(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII):
        raise QuestionError(f"surprise={text!r} is not a whole number from 0 to {LARGEST_DRAW}.")
    return int(text)


def _names(query: QueryDict, name: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(filter(None, query.getlist(name))))
    if len(names) > MOST_NAMES or any(len(text) > LONGEST_NAME for text in names):
        raise QuestionError(f"{name} takes up to {MOST_NAMES} genres of up to {LONGEST_NAME} characters.")
    return names


def _decade(text: str) -> int:
    if not re.fullmatch(r"[12]\d\d0", text, re.ASCII):
        raise QuestionError(f"decade={text!r} is not the first year of a decade, as in decade=1990.")
    return int(text)


def _fame(text: str) -> int:
    if not text:
        return 0
    if text not in {str(fame) for fame in FAMES}:
        raise QuestionError(f"fame={text!r} is not a whole number from -2 (little-known) to 2 (well-known).")
    return int(text)


def read_hidden(texts: list[str]) -> tuple[int, ...]:
    """Return the movie ids of texts like "1,2"; QuestionError for anything else or too many."""
    ids = [text for part in texts for text in part.split(",") if text]
    if len(ids) > MOST_HIDDEN:
        raise QuestionError(f"hide names {len(ids)} movies; {MOST_HIDDEN} are the most.")
    if wrong := next((text for text in ids if not MOVIE_ID.fullmatch(text)), None):
        raise QuestionError(f"hide: {wrong[:LONGEST_NAME]!r} is no movie id; give ids with commas, as in hide=1,2.")
    return tuple(dict.fromkeys(map(int, ids)))
