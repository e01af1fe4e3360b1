"""The five places of the form where a visitor names and rates films."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.http import QueryDict

from recommender.catalogue import Film
from recommender.fragments import stars
from recommender.model_store import ServedModel
from recommender.models import Movie
from recommender.questions import MOST_SEEDS, Question, Seed
from recommender.search import search, unambiguous

USUAL_SLOTS = 3
"""How many places are in view; the others unfold."""
DEFAULT_RATING = 5
ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth")
PLACEHOLDERS = ("A film you know", "Another one", "And a third", "One more", "A last one")


@dataclass(kw_only=True)
class Slot:
    """One place: what was typed, the movie that it means, or those to choose from, or why there is none."""

    number: int
    title: str = ""
    movie: Film | Movie | None = None
    rating: float = DEFAULT_RATING
    choices: list[Movie] = field(default_factory=list)
    message: str = ""

    @property
    def ordinal(self) -> str:
        """The slot's name to people."""
        return ORDINALS[self.number - 1]

    @property
    def placeholder(self) -> str:
        """What to type into an empty slot."""
        return PLACEHOLDERS[self.number - 1]

    @property
    def stars(self) -> int:
        """The rating in whole stars, as the form shows it."""
        return int(self.rating + 0.5)

    @property
    def stars_html(self) -> str:
        """The rating as the form's stars."""
        return stars(f"rating{self.number}", self.stars)

    @property
    def seed(self) -> Seed | None:
        """The seed that the slot stands for once its movie is known."""
        return None if self.movie is None else Seed(movie_id=self.movie.movie_id, rating=self.rating)


def is_submitted(query: QueryDict) -> bool:
    """Say whether the query comes from the form, and not from a link that the site made of it."""
    return any(f"title{number}" in query for number in range(1, MOST_SEEDS + 1))


def submitted_slots(query: QueryDict, model: ServedModel) -> list[Slot]:
    """Read the form and find each movie; nothing that was typed is lost when one is not found."""
    slots = [_submitted_slot(query, number, model) for number in range(1, MOST_SEEDS + 1)]
    taken: set[int] = set()
    for slot in slots:
        if slot.movie is not None and slot.movie.movie_id in taken:
            slot.message = f"{slot.movie.label} is named above already: name another one, or leave this empty."
            slot.movie = None
        elif slot.movie is not None:
            taken.add(slot.movie.movie_id)
    if not any(slot.title for slot in slots):
        slots[0].message = "Name at least one film."
    return slots


def _submitted_slot(query: QueryDict, number: int, model: ServedModel) -> Slot:
    slot = Slot(number=number, title=query.get(f"title{number}", "").strip())
    rating = query.get(f"rating{number}", "")
    if re.fullmatch(r"[1-5]", rating, re.ASCII):
        slot.rating = int(rating)
    if not slot.title:
        return slot
    found = []
    slot.movie = _chosen(query, slot, model)
    if slot.movie is None:
        found = search(slot.title, dataset=model.dataset, known=model.knows)
        slot.movie = unambiguous(slot.title, found)
    if slot.movie is not None:
        slot.title = slot.movie.label
    elif not found:
        slot.message = _why_not_found(slot.title, model)
    else:
        slot.choices = found
        slot.message = "Which one do you mean?"
    return slot


def _why_not_found(title: str, model: ServedModel) -> str:
    if unrated := search(title, dataset=model.dataset, known=lambda _: True, limit=1):
        return f"Nobody has liked {unrated[0].label} yet, so there is nothing to go by. Name another film."
    return f"No film called “{title}” is known here. Try fewer words of the title."


def _chosen(query: QueryDict, slot: Slot, model: ServedModel) -> Film | None:
    """Return the movie that was picked for exactly this text; a pick made before the text changed is void."""
    picked = query.get(f"movie{slot.number}", "")
    if query.get(f"asked{slot.number}", "").strip() != slot.title or not re.fullmatch(r"\d{1,18}", picked, re.ASCII):
        return None
    return model.film(int(picked))


def linked_slots(question: Question, model: ServedModel) -> list[Slot]:
    """Fill the slots from a shared link; a movie that the model of today does not know leaves its slot empty."""
    slots = []
    for number, seed in enumerate(question.seeds, start=1):
        movie = model.film(seed.movie_id)
        message = "" if movie else f"The link names film {seed.movie_id}, which the model of today does not know."
        title = movie.label if movie else ""
        slots.append(Slot(number=number, title=title, movie=movie, rating=seed.rating, message=message))
    return slots + empty_slots(first=len(slots) + 1)


def empty_slots(*, first: int = 1) -> list[Slot]:
    """Return empty slots up to the last."""
    return [Slot(number=number) for number in range(first, MOST_SEEDS + 1)]


def seeds_of(slots: Iterable[Slot]) -> tuple[Seed, ...]:
    """Return the seeds of the slots whose movie is known."""
    return tuple(seed for slot in slots if (seed := slot.seed) is not None)


def is_settled(slots: Iterable[Slot]) -> bool:
    """Say whether every slot is empty or has its movie, without anything left to tell the visitor."""
    return not any(slot.message for slot in slots)
