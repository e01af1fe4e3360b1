"""`manage.py fetch_posters`: posters and overviews from TMDB, so that pages have them without asking anybody."""

from __future__ import annotations

import os
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from recommender.details import FilmDetails, posters_folder
from recommender.model_store import store
from recommender.models import Movie
from recommender.tmdb import Tmdb, TmdbError, Told

DOT_EVERY = 100


class Command(BaseCommand):
    """Fetch what is missing or half a year old, the most rated films first; safe to end and to repeat."""

    help = "Fetch posters and overviews of the serving model's films from TMDB into the data folder."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say how much to fetch and how fast."""
        parser.add_argument("--limit", type=int, default=1000, help="films at most (default: 1000)")
        parser.add_argument("--pause", type=float, default=0.05, help="seconds between two films (default: 0.05)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the command; CommandError says what is missing."""
        if not settings.NIGHTREEL_TMDB_KEY:
            raise CommandError(
                "NIGHTREEL_SITE_TMDB_KEY is not set. Get a key at themoviedb.org (Settings, API) and set it; "
                "without one the site shows typographic cards."
            )
        model = store.current()
        if model is None:
            raise CommandError("No model serves yet, so there are no films: publish one first.")
        wanted = missing_ids(model.dataset, limit=options["limit"])
        posters_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        tmdb = Tmdb(settings.NIGHTREEL_TMDB_KEY)
        posters = 0
        for done, tmdb_id in enumerate(wanted, start=1):
            try:
                posters += keep(tmdb_id, tmdb.film(tmdb_id))
            except TmdbError as error:
                raise CommandError(f"{error} {done - 1} of {len(wanted)} films were fetched.") from error
            self._progress(done, len(wanted))
            time.sleep(options["pause"])
        self.stdout.write(f"Fetched {len(wanted)} films, {posters} with a poster. Nothing else was missing or old.")

    def _progress(self, done: int, of: int) -> None:
        if self.stdout.isatty():
            filled = 30 * done // of
            end = "\n" if done == of else ""
            self.stdout.write(f"\r{'█' * filled}{'·' * (30 - filled)} {done} of {of} films", ending=end)
            self.stdout.flush()
        elif done % DOT_EVERY == 0:
            self.stdout.write(f"{done} of {of} films")


def missing_ids(dataset: str, *, limit: int) -> list[str]:
    """Return TMDB ids of which nothing fresh is known, the most rated first, each once."""
    fresh = set(FilmDetails.objects.fresh().values_list("tmdb_id", flat=True))
    movies = Movie.objects.of_dataset(dataset).exclude(tmdb_id="").order_by("-rating_count", "movie_id")
    ids = dict.fromkeys(tmdb_id for tmdb_id in movies.values_list("tmdb_id", flat=True) if tmdb_id not in fresh)
    return list(ids)[: max(0, limit)]


def keep(tmdb_id: str, told: Told) -> bool:
    """Write the poster, then the row that says so; return whether there is a poster."""
    details = FilmDetails(tmdb_id=tmdb_id, overview=told.overview, has_poster=bool(told.poster), fetched=timezone.now())
    if told.poster:
        _write(details.poster_path, told.poster)
    details.save(force_insert=not FilmDetails.objects.filter(pk=tmdb_id).exists())
    return details.has_poster


def _write(path: Path, body: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=".poster-", dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(body)
    Path(name).replace(path)
