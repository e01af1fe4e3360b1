"""What TMDB tells about a film, kept here so that no page ever waits for it or sends a visitor there."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Self

from django.conf import settings
from django.db import models
from django.utils import timezone

KEPT_FOR = timedelta(days=150)
"""TMDB's terms allow half a year."""


def posters_folder() -> Path:
    """Return the folder of the posters' files."""
    return Path(settings.NIGHTREEL_DATA_FOLDER) / "posters"


class FilmDetailsQuerySet(models.QuerySet["FilmDetails"]):
    """Questions about what was fetched."""

    def of(self, tmdb_ids: Iterable[str]) -> dict[str, FilmDetails]:
        """Return what is known of these films; no query where nothing was ever fetched."""
        wanted = list(filter(None, tmdb_ids))
        return self.in_bulk(wanted) if wanted and posters_folder().is_dir() else {}

    def fresh(self) -> Self:
        """Keep what need not be fetched again yet."""
        return self.filter(fetched__gt=timezone.now() - KEPT_FOR)


class FilmDetails(models.Model):
    """A film's overview and whether its poster lies in the folder; a film that TMDB does not know has neither."""

    tmdb_id = models.CharField(primary_key=True, max_length=20)
    overview = models.TextField(blank=True, default="")
    has_poster = models.BooleanField(default=False)
    fetched = models.DateTimeField()

    objects = FilmDetailsQuerySet.as_manager()

    def __str__(self) -> str:
        return f"TMDB {self.tmdb_id}"

    @property
    def poster_path(self) -> Path:
        """Where the poster's file lies."""
        return posters_folder() / f"{self.tmdb_id}.jpg"
