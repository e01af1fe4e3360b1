"""What a model's movies can be filtered by, as arrays, worked out once per model."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from nightreel.bundle.reader import Bundle
from nightreel.recommend.diversity import number_series
from recommender.questions import Filters, QuestionError

Flags = npt.NDArray[np.bool_]

FAME_BANDS = {2: (0.0, 1 / 3), 1: (0.0, 2 / 3), -1: (1 / 3, 1.0), -2: (2 / 3, 1.0)}
"""Which part of all ratings, counted from the best known movie on, a position of the slider keeps."""


class Catalogue:
    """The genres, decades, fame and series of a bundle's m movies."""

    def __init__(self, bundle: Bundle) -> None:
        counted = Counter(genre for genres in bundle.genres for genre in genres)
        self.genres: list[str] = sorted(counted)
        self._number = {genre: number for number, genre in enumerate(self.genres)}
        self._has_genre: Flags = np.zeros((len(bundle), len(self.genres)), dtype=bool)
        for row, genres in enumerate(bundle.genres):
            self._has_genre[row, [self._number[genre] for genre in genres]] = True
        self._decades = np.fromiter(((year or 0) // 10 * 10 for year in bundle.years), np.int16)
        self.decades: list[int] = sorted({int(decade) for decade in np.unique(self._decades) if decade})
        self._better_known = _share_better_known(bundle.rating_counts)
        self.series = number_series(bundle.titles)

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
