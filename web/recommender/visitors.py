"""What visitors let the training have: ratings under an id that says nothing about them and can be revoked.

Three rules hold here. Nothing tells who somebody is: the browser holds a random token, the database its digest. Nothing
outlives its owner: who withdraws takes every row along. And nobody can have much: see the caps.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.db import models, transaction

FIRST_VISITOR_ID = 2**40
"""Added to a contributor's number: the training job's own users are 32-bit, so no data set can have such an id."""
MOST_CONTRIBUTORS = 200_000
MOST_RATINGS = 500
"""How many ratings one contributor may have at a time."""
MOST_ROWS = 2_000
"""How many rows a contributor may have, those that were replaced included."""
HISTORY = timedelta(days=8)
"""How long a replaced rating stays, so that a night's training can be repeated."""


def digest(token: str) -> str:
    """Return what the database keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


class ContributorQuerySet(models.QuerySet["Contributor"]):
    """Questions about who let the training have their ratings."""

    def admit(self) -> tuple[Contributor, str]:
        """Make a new contributor and return it with its token, which exists nowhere else from then on."""
        token = secrets.token_urlsafe(32)
        return self.create(token_sha256=digest(token)), token

    def by_token(self, token: str) -> Contributor | None:
        """Return the contributor whose token it is, or None."""
        return self.filter(token_sha256=digest(token)).first()


class Contributor(models.Model):
    """Somebody who consented; deleting the row takes all of their ratings along."""

    id = models.BigAutoField(primary_key=True)
    token_sha256 = models.CharField(max_length=64, unique=True)

    objects = ContributorQuerySet.as_manager()

    def __str__(self) -> str:
        return f"contributor {self.pk}"

    @property
    def visitor_id(self) -> int:
        """The id under which the training knows them."""
        return FIRST_VISITOR_ID + self.pk

    def rate(self, dataset: str, ratings: Mapping[int, int], *, at: datetime) -> None:
        """Make these (movie id → stars) the contributor's ratings of a data set; those of other sets stay.

        The caller has checked the ids, the stars and the number of them. A rating that changes or goes keeps its old
        row for a while, with the moment at which it ended.
        """
        with transaction.atomic():
            Contributor.objects.select_for_update().get(pk=self.pk)
            current = {row.movie_id: row for row in self.ratings.current().filter(dataset=dataset)}
            ended = [row.pk for movie_id, row in current.items() if ratings.get(movie_id) != row.stars]
            self.ratings.filter(pk__in=ended).update(replaced=at)
            ConsentedRating.objects.bulk_create(
                ConsentedRating(contributor=self, dataset=dataset, movie_id=movie_id, stars=stars, given=at)
                for movie_id, stars in ratings.items()
                if movie_id not in current or current[movie_id].stars != stars
            )
            self._forget(at)

    def _forget(self, now: datetime) -> None:
        ConsentedRating.objects.forget(now)
        replaced = self.ratings.filter(replaced__isnull=False)
        spare = max(0, MOST_ROWS - self.ratings.current().count())
        surplus = replaced.order_by("-replaced", "-pk").values_list("pk", flat=True)[spare:]
        self.ratings.filter(pk__in=list(surplus)).delete()


class ConsentedRatingQuerySet(models.QuerySet["ConsentedRating"]):
    """Questions about consented ratings."""

    def current(self) -> Self:
        """Keep the ratings that hold now."""
        return self.filter(replaced__isnull=True)

    def forget(self, now: datetime) -> None:
        """Delete what anybody took back or changed longer than HISTORY ago."""
        self.filter(replaced__lt=now - HISTORY).delete()

    def as_of(self, moment: datetime) -> Self:
        """Keep the full snapshot as of a moment: each rating that was given by then and had not been replaced.

        Asked again for the same moment it says the same for HISTORY (8 days), but for visitors who withdrew
        meanwhile: they are gone from every snapshot. Ordered by contributor, data set and movie; the contributor
        comes along, for `visitor_id`.
        """
        held = models.Q(replaced__isnull=True) | models.Q(replaced__gt=moment)
        rows = self.filter(held, given__lte=moment).select_related("contributor")
        return rows.order_by("contributor_id", "dataset", "movie_id")


class ConsentedRating(models.Model):
    """One rating that a contributor gave, in stars from 1 to 5; `replaced` is when it was changed or taken back."""

    id = models.BigAutoField(primary_key=True)
    contributor = models.ForeignKey(Contributor, on_delete=models.CASCADE, related_name="ratings")
    dataset = models.TextField()
    movie_id = models.BigIntegerField()
    stars = models.PositiveSmallIntegerField()
    given = models.DateTimeField()
    replaced = models.DateTimeField(null=True)

    objects = ConsentedRatingQuerySet.as_manager()

    class Meta:
        """One rating of a movie at a time."""

        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["contributor", "dataset", "movie_id"],
                condition=models.Q(replaced__isnull=True),
                name="one_current_rating",
            ),
            models.CheckConstraint(condition=models.Q(stars__gte=1, stars__lte=5), name="one_to_five_stars"),
        ]
        indexes: ClassVar = [models.Index(fields=["given"], name="consented_ratings_by_moment")]

    def __str__(self) -> str:
        return f"{self.stars} stars for movie {self.movie_id} of {self.dataset}"

    @property
    def visitor_id(self) -> int:
        """The id under which the training knows who rated: 2**40 and up."""
        return FIRST_VISITOR_ID + self.contributor_id


class Allowance(models.Model):
    """How much of a rate limit was used; `key` is a keyed digest that is worthless once its window is over."""

    key = models.CharField(primary_key=True, max_length=64)
    used = models.PositiveIntegerField(default=0)
    until = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.used} used until {self.until}"
