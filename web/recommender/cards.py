"""How a recommendation looks: its colours, and its reason in words and as a bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from django.urls import reverse

from recommender.answers import Because, Recommendation
from recommender.catalogue import Film
from recommender.details import FilmDetails
from recommender.models import Movie

VERBS = {5: "loved", 4: "liked", 3: "found so-so", 2: "disliked", 1: "hated"}
# The first tone with one of the movie's genres colours its card, so the more telling genres come first.
TONES = {
    "noir": {"Horror", "Film-Noir", "Mystery"},
    "aurora": {"Sci-Fi", "Fantasy"},
    "dawn": {"Animation", "Children", "Children's", "Musical"},
    "earth": {"Western", "War", "Documentary"},
    "ember": {"Action", "Adventure", "Thriller", "Crime"},
    "rose": {"Romance"},
    "gold": {"Comedy"},
    "dusk": {"Drama"},
}
PLAIN_TONE = "slate"
LONG_TITLE, LONG_WORD = 34, 13


@dataclass(frozen=True, kw_only=True)
class Part:
    """One reason: a line of words and a piece of the bar, `start` and `width` in percent of it."""

    source: str
    lead: str
    title: str
    tail: str
    share: float
    start: float

    @property
    def width(self) -> float:
        """Length on the bar in percent."""
        return round(abs(self.share) * 100, 3)

    @property
    def against(self) -> bool:
        """Whether the reason speaks against the movie."""
        return self.share < 0

    @property
    def percent(self) -> str:
        """The share in words, with a minus when it speaks against."""
        size = abs(self.share)
        text = "<1%" if 0 < size < 0.005 else f"{size:.0%}"
        return f"−{text}" if self.against else text


@dataclass(frozen=True, kw_only=True)
class Card:
    """One film, ready to be shown: `parts` are the reasons, `alike` is how like another film it is, in percent."""

    movie: Film | Movie
    tone: str
    poster: str = ""
    overview: str = ""
    parts: Sequence[Part] = ()
    alike: int | None = None

    @property
    def url(self) -> str:
        """Where the film's own page is."""
        return f"{_films()}{self.movie.movie_id}"

    @property
    def number(self) -> str:
        """The film's id as text: numbers would be asked for the visitor's way of writing them."""
        return str(self.movie.movie_id)

    @property
    def long_title(self) -> bool:
        """Whether the title needs smaller letters to stand on its card."""
        return len(self.movie.title) > LONG_TITLE or max(map(len, self.movie.title.split())) > LONG_WORD


@cache
def _films() -> str:
    return reverse("film", args=[0])[:-1]


def cards(recommendations: Sequence[Recommendation]) -> list[Card]:
    """Return the cards of recommendations, the strongest reason first, with one question to the database."""
    details = FilmDetails.objects.of(entry.movie.tmdb_id for entry in recommendations)
    return [card(entry, details.get(entry.movie.tmdb_id)) for entry in recommendations]


def similar_cards(found: Sequence[tuple[Film, float]]) -> list[Card]:
    """Return the cards of films that are like another one."""
    details = FilmDetails.objects.of(movie.tmdb_id for movie, _ in found)
    return [film_card(movie, details.get(movie.tmdb_id), alike=round(100 * score)) for movie, score in found]


def card(recommendation: Recommendation, details: FilmDetails | None = None) -> Card:
    """Return the card of a recommendation, the strongest reason first."""
    return film_card(recommendation.movie, details, parts=tuple(_parts(recommendation)))


def film_card(
    movie: Film | Movie, details: FilmDetails | None = None, *, parts: Sequence[Part] = (), alike: int | None = None
) -> Card:
    """Return a card with the poster and overview where they were fetched."""
    return Card(
        movie=movie,
        tone=tone(movie.genres),
        poster=poster_url(details),
        overview=details.overview if details else "",
        parts=parts,
        alike=alike,
    )


def poster_url(details: FilmDetails | None) -> str:
    """Return where a poster lies on this site, "" without one; a poster fetched anew has a new address."""
    if details is None or not details.has_poster:
        return ""
    return f"{reverse('poster', args=[details.tmdb_id])}?{int(details.fetched.timestamp())}"


def tone(genres: Sequence[str]) -> str:
    """Return the name of the colours for a movie of these genres."""
    return next((name for name, telling in TONES.items() if telling.intersection(genres)), PLAIN_TONE)


def _parts(recommendation: Recommendation) -> Iterator[Part]:
    reasons: list[tuple[str, tuple[str, str, str], float]] = [
        (f"seed-{number}", _words(because), because.share)
        for number, because in enumerate(recommendation.because, start=1)
    ]
    popularity = recommendation.popularity_share
    if popularity:
        words = "popular with everybody" if popularity > 0 else "in spite of being little liked elsewhere"
        reasons.append(("everybody", (words, "", ""), popularity))
    start = 0.0
    for source, (lead, title, tail), share in sorted(reasons, key=lambda reason: -reason[2]):
        part = Part(source=source, lead=lead, title=title, tail=tail, share=share, start=round(start, 3))
        yield part
        start += part.width


def _words(because: Because) -> tuple[str, str, str]:
    verb = VERBS[int(because.seed.rating + 0.5)]
    if because.share < 0 and verb == "liked":  # short of love, it holds back what those who love it would see
        return ("held back by", because.movie.title, ", which you only liked")
    if because.share < 0:
        return ("in spite of", because.movie.title, f", which you {verb}")
    return (f"because you {verb}", because.movie.title, "")
