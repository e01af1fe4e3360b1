"""What a model's movies are called and can be filtered by, from its mapped file, worked out once per model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from nightreel.bundle.reader import Bundle
from nightreel.recommend.diversity import number_series
from recommender.models import labelled
from recommender.movie_rows import external_id
from recommender.questions import Filters, QuestionError

Flags = npt.NDArray[np.bool_]

EXAMPLE = (("Toy Story", 1995), ("The Lion King", 1994), ("Aladdin", 1992))
"""Films that most people know, for whoever has no idea; offered where the model has them all."""

FAME_BANDS = {2: (0.0, 1 / 3), 1: (0.0, 2 / 3), -1: (1 / 3, 1.0), -2: (2 / 3, 1.0)}
"""Which part of all ratings, counted from the best known movie on, a position of the slider keeps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Film:
    """A movie of the model as an answer shows it."""

    movie_id: int
    title: str
    year: int | None
    genres: list[str]
    tmdb_id: str

    @property
    def label(self) -> str:
        """The title with its year."""
        return labelled(self.title, self.year)


class Catalogue:
    """The names, genres, decades, fame and series of a bundle's m movies."""

    def __init__(self, bundle: Bundle) -> None:
        named = ("movie_id", "title", "year", "genres", "tmdb_id")
        self._named = [bundle.batch.column(name) for name in named]
        _, titles, years, genres, _ = self._named
        encoded = genres.flatten().dictionary_encode()
        names = encoded.dictionary.to_pylist()
        self.genres: list[str] = sorted(names)
        self._number = {genre: number for number, genre in enumerate(self.genres)}
        self._has_genre: Flags = np.zeros((len(bundle), len(self.genres)), dtype=bool)
        owners = np.repeat(np.arange(len(bundle)), genres.value_lengths().to_numpy())
        numbers = np.array([self._number[name] for name in names], dtype=np.intp)
        self._has_genre[owners, numbers[encoded.indices.to_numpy()]] = True
        self._decades = years.fill_null(0).to_numpy() // 10 * 10
        self.decades: list[int] = [decade for decade in np.unique(self._decades).tolist() if decade]
        self._better_known = _share_better_known(bundle.rating_counts)
        self.series = number_series(titles.to_pylist())
        rows = [self._named_exactly(title, year) for title, year in EXAMPLE]
        self.example: list[Film] = [] if None in rows else [self.film(row) for row in rows if row is not None]

    def _named_exactly(self, title: str, year: int) -> int | None:
        _, titles, years, _, _ = self._named
        rows = pc.indices_nonzero(pc.and_(pc.equal(titles, title), pc.equal(years, year)))
        return rows[0].as_py() if len(rows) else None

    def film(self, row: int) -> Film:
        """Return the movie of a row: from the file, since asking the database took longer than scoring."""
        movie_id, title, year, genres, tmdb_id = (column[row].as_py() for column in self._named)
        return Film(movie_id=movie_id, title=title, year=year, genres=genres, tmdb_id=external_id(tmdb_id))

    def allowed(self, filters: Filters) -> Flags:
        """Return which movies (m,) pass the filters, those hidden by name not looked at; QuestionError for no genre."""
        allowed = np.ones(len(self.series), dtype=bool)
        if filters.genres:
            allowed &= self._has_genre[:, self._columns("genre", filters.genres)].any(axis=1)
        if filters.without:
            allowed &= ~self._has_genre[:, self._columns("without", filters.without)].any(axis=1)
        if filters.decades:
            allowed &= np.isin(self._decades, filters.decades)
        if filters.fame:
            low, high = FAME_BANDS[filters.fame]
            allowed &= (self._better_known >= low) & (self._better_known < high)
        return allowed

    def _columns(self, name: str, genres: tuple[str, ...]) -> list[int]:
        for genre in genres:
            if genre not in self._number:
                known = ", ".join(self.genres) or "none"
                raise QuestionError(f"{name}={genre!r} is no genre of this model; it knows {known}.")
        return [self._number[genre] for genre in genres]


def _share_better_known(rating_counts: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """Return the share of all ratings that better-known movies hold (m,): 0 for the best known, equal for equals."""
    counts, group = np.unique(-rating_counts.astype(np.int64), return_inverse=True)
    held = np.bincount(group, weights=rating_counts.astype(np.float64), minlength=len(counts))
    before = np.cumsum(held) - held
    share: npt.NDArray[np.float64] = before[group] / max(float(held.sum()), 1.0)
    return share
