"""Find movies by what a visitor types: case, accents, articles and small typos forgiven."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from difflib import SequenceMatcher

from django.db.models import Case, IntegerField, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Replace

from recommender.models import Movie

ARTICLES = frozenset(["the", "a", "an", "le", "la", "les", "el", "los", "las", "il", "lo", "der", "das", "un", "une"])
LONGEST_QUERY = 200
YEAR = re.compile(r"^(?P<title>.*\S)\s*(?:\((?P<exact>\d{4})\)|\s(?P<loose>\d{4}))$", re.DOTALL)
# Letters that are no accented form of another one to Unicode, but are to whoever types without them.
PLAIN_LETTERS = str.maketrans({"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})

TYPO_CANDIDATES, TYPO_WINNERS = 3000, 50
TYPO_LIKENESS = 0.78


def fold(text: str) -> str:
    """Return the form in which titles are compared: "The Matrix" → "matrix", "Amélie" → "amelie".

    Case, accents, punctuation and a leading article go; dots and apostrophes vanish ("E.T." → "et").
    """
    decomposed = unicodedata.normalize("NFKD", text.casefold()).translate(PLAIN_LETTERS)
    letters = "".join(char for char in decomposed if not unicodedata.combining(char))
    words = re.sub(r"[^\w]+|_+", " ", re.sub(r"[.'’`·]", "", letters).replace("&", " and ")).split()
    if len(words) > 1 and words[0] in ARTICLES:
        words = words[1:]
    return " ".join(words)


def fold_names(titles: Iterable[str]) -> str:
    """Return the folded titles in one text, each between two bars, the first one first."""
    keys = dict.fromkeys(filter(None, map(fold, titles)))
    return f"|{'|'.join(keys)}|"


def search(text: str, *, dataset: str, known: Callable[[int], bool], limit: int = 8) -> list[Movie]:
    """Return up to `limit` movies for what was typed, best match first, then the most rated.

    `known` says whether the serving model has a movie id. A year behind the title narrows the search. Words must
    all occur; only when no title has them, spaces are ignored ("walle"), then small typos forgiven.
    """
    text = text[:LONGEST_QUERY].strip()
    movies = Movie.objects.of_dataset(dataset)
    for title, year in _readings(text):
        key = fold(title)
        if not key:
            continue
        within = movies if year is None else movies.filter(year=year)
        for strategy in (_by_words, _without_spaces, _with_typos):
            if found := _first_known(strategy(within, key), known, limit):
                return found
    return []


def unambiguous(text: str, found: list[Movie]) -> Movie | None:
    """Return the one movie that a text means among what was found for it, None when a visitor has to choose."""
    if len(found) == 1:
        return found[0]
    text, key = text.strip(), fold(text)
    exact = [movie for movie in found if movie.label == text] or [movie for movie in found if movie.search_key == key]
    exact = exact or [movie for movie in found if f"|{key}|" in movie.names]
    return exact[0] if len(exact) == 1 else None


def _readings(text: str) -> list[tuple[str, int | None]]:
    """Return what a text can mean, best first: "Blade Runner 2049" is a title before it is a year."""
    found = YEAR.match(text)
    if not found:
        return [(text, None)]
    if found["exact"]:
        return [(found["title"], int(found["exact"])), (found["title"], None)]
    with_year = (found["title"], int(found["loose"]))
    titled = fold(text)
    if Movie.objects.filter(names__contains=titled).exists():
        return [(text, None), with_year]
    return [with_year, (text, None)]


def _first_known(movies: Iterable[Movie], known: Callable[[int], bool], limit: int) -> list[Movie]:
    found = []
    for movie in movies:
        if known(movie.movie_id):
            found.append(movie)
            if len(found) == limit:
                break
    return found


def _by_words(movies: QuerySet[Movie], key: str) -> Iterable[Movie]:
    """Movies whose names contain every word: as a name, then at its beginning, then at beginnings of words."""
    for word in key.split():
        movies = movies.filter(names__contains=word)
    closeness = Case(
        When(search_key=key, then=Value(0)),
        When(names__contains=f"|{key}|", then=Value(1)),
        When(names__contains=f"|{key} ", then=Value(2)),
        When(names__contains=f"|{key}", then=Value(3)),
        When(names__contains=f" {key}", then=Value(4)),
        default=Value(5),
        output_field=IntegerField(),
    )
    return movies.order_by(closeness, "-rating_count", "movie_id").iterator(chunk_size=200)


def _without_spaces(movies: QuerySet[Movie], key: str) -> Iterable[Movie]:
    joined = key.replace(" ", "")
    if len(joined) < 3:
        return []
    spaceless = Replace("names", Value(" "), Value(""), output_field=TextField())
    movies = movies.alias(spaceless=spaceless).filter(spaceless__contains=joined)
    return movies.order_by("-rating_count", "movie_id").iterator(chunk_size=200)


def _with_typos(movies: QuerySet[Movie], key: str) -> list[Movie]:
    """Titles whose beginning is nearly the text.

    Two slips leave one of three pieces of a text whole, so only titles that contain a piece are compared.
    """
    if len(key) < 5:
        return []
    third = max(2, len(key) // 3)
    pieces = Q()
    for piece in (key[:third], key[third : 2 * third], key[2 * third :]):
        pieces |= Q(names__contains=piece)
    likeness = SequenceMatcher(b=key, autojunk=False)
    found: list[tuple[float, int, int]] = []
    candidates = movies.filter(pieces).order_by("-rating_count", "movie_id")
    # Whole movies only for the few that win: making thousands of them takes longer than comparing their names.
    for place, (pk, names) in enumerate(candidates.values_list("pk", "names")[:TYPO_CANDIDATES]):
        if best := max(_likenesses(likeness, names.strip("|").split("|"), len(key)), default=0.0):
            found.append((-round(best, 1), place, pk))
    winners = [pk for _, _, pk in sorted(found)[:TYPO_WINNERS]]
    by_pk = movies.in_bulk(winners)
    return [by_pk[pk] for pk in winners]


def _likenesses(likeness: SequenceMatcher[str], names: Iterable[str], length: int) -> Iterable[float]:
    """Give how like each name's beginning is, where it is like enough; the cheap bounds are asked first."""
    for name in names:
        likeness.set_seq1(name[: length + 1])
        if likeness.real_quick_ratio() >= TYPO_LIKENESS and likeness.quick_ratio() >= TYPO_LIKENESS:
            ratio = likeness.ratio()
            if ratio >= TYPO_LIKENESS:
                yield ratio
