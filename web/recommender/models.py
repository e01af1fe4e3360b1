"""What the database knows: which models came, which one serves, and the movies to search."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from django.conf import settings
from django.db import models

from recommender.details import FilmDetails
from recommender.tokens import ApiToken
from recommender.visitors import Allowance, ConsentedRating, Contributor

__all__ = [
    "Activation",
    "Allowance",
    "ApiToken",
    "ConsentedRating",
    "Contributor",
    "FilmDetails",
    "Movie",
    "StoredBundle",
    "bundles_folder",
    "labelled",
]


def labelled(title: str, year: int | None) -> str:
    """Return a title with its year, as visitors see and type it."""
    return f"{title} ({year})" if year else title


def bundles_folder() -> Path:
    """Return the folder that holds the bundles' files."""
    return Path(settings.NIGHTREEL_DATA_FOLDER) / "bundles"


class StoredBundleQuerySet(models.QuerySet["StoredBundle"]):
    """Questions about what came."""

    def with_files(self) -> Self:
        """Keep those of which a file is there: few, however many came."""
        return self.filter(pk__in={file.stem for file in bundles_folder().glob("*.*")})


class StoredBundle(models.Model):
    """A bundle that was uploaded and found valid; its name is its SHA-256."""

    sha256 = models.CharField(primary_key=True, max_length=64)
    run_id = models.TextField()
    dataset = models.TextField(help_text="name of the data set; movie ids mean something only within one")
    movies = models.PositiveIntegerField()
    metadata = models.JSONField(help_text="the bundle's own metadata, as it was written")
    uploaded = models.DateTimeField(auto_now_add=True)
    refused = models.TextField(blank=True, default="", help_text="why its last activation failed, if it did")

    objects = StoredBundleQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.sha256[:12]} ({self.run_id})"

    @property
    def path(self) -> Path:
        """Where the file lies, as long as it is kept."""
        return bundles_folder() / f"{self.sha256}.arrow"


class ActivationQuerySet(models.QuerySet["Activation"]):
    """Questions about which model served when."""

    def current(self) -> Activation | None:
        """Return the activation that serves now, or None before the first: one row by primary key."""
        return self.select_related("bundle").order_by("-pk").first()

    def latest_bundles(self, count: int) -> list[str]:
        """Return the digests of the bundles that served last, the serving one first, each once."""
        served = self.values("bundle_id").annotate(last=models.Max("pk")).order_by("-last")
        return [row["bundle_id"] for row in served[:count]]

    def before(self, activation: Activation) -> StoredBundle | None:
        """Return the bundle that served before an activation's bundle first did: what going back goes back to.

        So going back twice goes back two models, and not to and fro.
        """
        first = self.filter(bundle=activation.bundle_id).order_by("pk").first()
        earlier = (
            None if first is None else self.filter(pk__lt=first.pk).select_related("bundle").order_by("-pk").first()
        )
        return None if earlier is None else earlier.bundle


class Activation(models.Model):
    """One moment at which a bundle began to serve; the newest row is the model that serves.

    Adding a row is the switch, so it is atomic, and the rows are the history.
    """

    bundle = models.ForeignKey(StoredBundle, on_delete=models.PROTECT, related_name="activations")
    at = models.DateTimeField(auto_now_add=True)

    objects = ActivationQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.bundle_id} since {self.at}"


class MovieQuerySet(models.QuerySet["Movie"]):
    """Questions about movies."""

    def of_dataset(self, dataset: str) -> Self:
        """Keep the movies of one data set."""
        return self.filter(dataset=dataset)

    def by_movie_id(self, dataset: str, movie_ids: list[int]) -> dict[int, Movie]:
        """Return the movies of one data set by their ids in it."""
        return {movie.movie_id: movie for movie in self.of_dataset(dataset).filter(movie_id__in=movie_ids)}


class Movie(models.Model):
    """A movie of a data set, for search and display; written by uploads and never deleted.

    Ids are those of the data set, and data sets disagree (2 is GoldenEye here and Jumanji there), so the two
    together are the key.
    """

    dataset = models.TextField()
    movie_id = models.BigIntegerField()
    title = models.TextField()
    year = models.SmallIntegerField(null=True)
    genres = models.JSONField(default=list)
    search_key = models.TextField(help_text="the title as recommender.search folds it")
    alternate_titles = models.JSONField(default=list)
    names = models.TextField(default="", help_text="the folded title and other names, as in |seven samurai|shichinin|")
    imdb_id = models.CharField(max_length=20, blank=True, default="")
    tmdb_id = models.CharField(max_length=20, blank=True, default="")
    rating_count = models.PositiveIntegerField()

    objects = MovieQuerySet.as_manager()

    class Meta:
        """One row per movie of a data set, found by how often it was rated."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset", "movie_id"], name="one_row_per_movie"),
        ]
        indexes: ClassVar = [models.Index(fields=["dataset", "-rating_count"], name="movies_most_rated_first")]

    def __str__(self) -> str:
        return self.label

    @property
    def note(self) -> str:
        """What tells a film from others of its name: its original title, or what it is and how many rated it."""
        if self.alternate_titles:
            return str(self.alternate_titles[0])
        ratings = f"{self.rating_count:,} rating{'' if self.rating_count == 1 else 's'}"
        return " · ".join([*self.genres[:2], ratings])

    @property
    def label(self) -> str:
        """The title with its year, as visitors see and type it."""
        return labelled(self.title, self.year)
