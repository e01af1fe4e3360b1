"""Where a command's ratings come from: a folder, a file with columns of one's own, S3, or what is found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import ClientError

from nightreel.cli.access import Access
from nightreel.recommend import datasets
from nightreel.recommend.layouts import MOVIE_FIELDS, RATING_FIELDS, DatasetError, Layout, find_layout, parse_columns
from nightreel.recommend.remote import fetch_objects, is_remote

Ratings = Annotated[
    str | None, typer.Option(help="Ratings: a folder, a file, or s3://… of either (default: as `data fetch` finds).")
]
Columns = Annotated[
    str | None,
    typer.Option(metavar="user=…,movie=…", help="Columns of your own CSV or Parquet; also rating=… and time=…."),
]
Movies = Annotated[str | None, typer.Option(metavar="FILE", help="Your own CSV or Parquet that names the movies.")]
MovieColumns = Annotated[
    str | None, typer.Option(metavar="movie=…,title=…", help="Its columns; also year=… and genres=….")
]


@dataclass(frozen=True, kw_only=True)
class Source:
    """The options as they were given."""

    ratings: str | None
    columns: str | None
    movies: str | None
    movie_columns: str | None

    def layout(self, access: Access) -> Layout:
        """Fetch what is in S3 and recognise the layout; DatasetError when there is none."""
        place = _local(self.ratings, access) if self.ratings else datasets.find_dataset()
        return find_layout(
            place,
            columns=_parsed(self.columns, RATING_FIELDS),
            movies=_local(self.movies, access) if self.movies else None,
            movie_columns=_parsed(self.movie_columns, MOVIE_FIELDS),
        )

    def arguments(self, ratings: str, movies: str) -> list[str]:
        """The job's options for ratings and movies that lie at these places where it runs."""
        given = {"--columns": self.columns, "--movies": movies if self.movies else None}
        given["--movie-columns"] = self.movie_columns
        return ["--ratings", ratings, *(word for name, text in given.items() if text for word in (name, text))]


def _parsed(text: str | None, fields: tuple[str, ...]) -> dict[str, str] | None:
    return parse_columns(text, fields=fields, needed=fields[:2]) if text else None


def _local(place: str, access: Access) -> Path:
    if not is_remote(place):
        return Path(place)
    try:
        return fetch_objects(access.session().client("s3"), place, cache=datasets.cache_folder())
    except ClientError as error:
        raise DatasetError(f"{place} cannot be read: {error}") from error
