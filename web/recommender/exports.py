"""The ratings that visitors agreed to have learnt from, as the export reads them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from recommender import limits
from recommender.models import Activation, ConsentedRating


class Rating(NamedTuple):
    """One rating in stars; the visitor's id is anonymous and never one of the data set's."""

    visitor_id: str
    movie_id: int
    rating: float
    given_at: datetime


def consented_ratings(moment: datetime) -> Iterable[Rating]:
    """Return all ratings of visitors who agreed, as of a moment, in the order of visitor and movie.

    Of the data set whose model serves: the numbers of movies mean other movies elsewhere.
    """
    current = Activation.objects.current()
    if current is None:
        return
    for row in ConsentedRating.objects.as_of(moment).filter(dataset=current.bundle.dataset).iterator():
        # All of them have thirteen digits, so that the order of the texts is that of the numbers.
        yield Rating(str(row.visitor_id), row.movie_id, float(row.stars), row.given)


def forget(now: datetime) -> None:
    """Delete what is kept no longer, whoever it was of: ratings taken back long ago, digests of addresses."""
    ConsentedRating.objects.forget(now)
    limits.forget(now)
