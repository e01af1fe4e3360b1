"""How a recommendation looks: its colours, and its reason in words and as a bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recommender.answers import Because, Recommendation
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
    """One recommended movie, ready to be shown."""

    movie: Movie
    tone: str
    parts: Sequence[Part]


def card(recommendation: Recommendation) -> Card:
    """Return the card of a recommendation, the strongest reason first."""
    return Card(
        movie=recommendation.movie,
        tone=tone(recommendation.movie.genres),
        parts=tuple(_parts(recommendation)),
    )


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
    if because.share < 0:
        return ("in spite of", because.movie.title, f", which you {verb}")
    return (f"because you {verb}", because.movie.title, "")
