"""The model that serves, opened once per process and noticed by each when another takes over."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property

from nightreel.bundle.reader import Bundle, open_bundle
from nightreel.bundle.schema import BundleError
from nightreel.recommend.taste_model import TasteModel
from recommender.catalogue import Catalogue
from recommender.models import Activation, StoredBundle


class ModelUnavailable(RuntimeError):
    """A model was published, but its file is gone or damaged."""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """One model, mapped. A request keeps the one it began with, also when another takes over or the file goes."""

    stored: StoredBundle
    bundle: Bundle
    taste_model: TasteModel

    @classmethod
    def open(cls, stored: StoredBundle) -> ServedModel:
        """Map the stored file; BundleError or ValueError when it cannot be used."""
        bundle = open_bundle(stored.path)
        return cls(stored=stored, bundle=bundle, taste_model=TasteModel.from_bundle(bundle))

    @cached_property
    def catalogue(self) -> Catalogue:
        """What its movies can be filtered by; the first to ask waits for it."""
        return Catalogue(self.bundle)

    @property
    def sha256(self) -> str:
        """The model's id."""
        return self.stored.sha256

    @property
    def dataset(self) -> str:
        """Name of the data set whose movie ids the model speaks."""
        return self.stored.dataset

    @property
    def size(self) -> str:
        """How many movies it knows, for people to read."""
        return f"{len(self.bundle):,}"

    def knows(self, movie_id: int) -> bool:
        """Say whether the model has a movie."""
        return self.bundle.row_of(movie_id) is not None


class ModelStore:
    """Holds the opened model of this process; safe to ask from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: ServedModel | None = None

    def current(self) -> ServedModel | None:
        """Return the model that serves now, or None before the first; one query, and a file only when it changed.

        ModelUnavailable when its file cannot be opened.
        """
        activation = Activation.objects.current()
        return None if activation is None else self._open(activation.bundle)

    def _open(self, stored: StoredBundle) -> ServedModel:
        opened = self._opened
        if opened is not None and opened.sha256 == stored.sha256:
            return opened
        with self._lock:
            if self._opened is None or self._opened.sha256 != stored.sha256:
                try:
                    self._opened = ServedModel.open(stored)
                except (BundleError, ValueError, OSError) as error:
                    raise ModelUnavailable(f"Model {stored.sha256} cannot be opened: {error}.") from error
            return self._opened


store = ModelStore()
