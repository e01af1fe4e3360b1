"""The model that serves, opened once per process and noticed by each when another takes over."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from django.conf import settings

from nightreel.bundle.reader import Bundle, open_bundle
from nightreel.bundle.schema import BundleError
from nightreel.recommend.taste_model import TasteModel
from recommender.catalogue import Catalogue, Film
from recommender.models import Activation, StoredBundle

ASKED_AGAIN_AFTER = 1.0
"""Seconds after which the database is asked in any case, should a marker have got lost."""


class ModelUnavailable(RuntimeError):
    """A model was published, but its file is gone or damaged."""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """One model, mapped. A request keeps the one it began with, also when another takes over or the file goes."""

    stored: StoredBundle
    bundle: Bundle
    taste_model: TasteModel
    activation: int = 0

    @classmethod
    def open(cls, stored: StoredBundle) -> ServedModel:
        """Map the stored file; BundleError or ValueError when it cannot be used."""
        bundle = open_bundle(stored.path)
        return cls(stored=stored, bundle=bundle, taste_model=TasteModel.from_bundle(bundle))

    @cached_property
    def catalogue(self) -> Catalogue:
        """What its movies are called and can be filtered by."""
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

    def film(self, movie_id: int) -> Film | None:
        """Return a movie by its id, None when the model has none of it."""
        row = self.bundle.row_of(movie_id)
        return None if row is None else self.catalogue.film(row)

    def knows(self, movie_id: int) -> bool:
        """Say whether the model has a movie."""
        return self.bundle.row_of(movie_id) is not None


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """A model, and until when it can be taken for the one that serves as long as the marker stays as it is."""

    model: ServedModel
    marker: tuple[str, int, int] | None
    until: float


class ModelStore:
    """Holds the opened model of this process; safe to ask from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: _Opened | None = None

    def current(self) -> ServedModel | None:
        """Return the model that serves now, or None before the first.

        Costs a look at a file's time; the database is asked when that changed, and once a second.
        ModelUnavailable when the model's file cannot be opened.
        """
        marker = _marker()  # before the database, or a change in between would go unnoticed
        opened, now = self._opened, time.monotonic()
        if opened is not None and marker is not None and opened.marker == marker and now < opened.until:
            return opened.model
        activation = Activation.objects.current()
        if activation is None:
            return None
        if not self._lock.acquire(blocking=opened is None) and opened is not None:
            return opened.model  # another thread opens the next one; until it is done the one before answers
        try:
            model = self._model(activation)
            self._opened = _Opened(model=model, marker=marker, until=now + ASKED_AGAIN_AFTER)
        finally:
            self._lock.release()
        return model

    def _model(self, activation: Activation) -> ServedModel:
        """Return the opened model of an activation; the file is mapped anew only when it is another one."""
        opened = self._opened.model if self._opened else None
        if opened is not None and opened.sha256 == activation.bundle_id:
            return opened if opened.activation == activation.pk else replace(opened, activation=activation.pk)
        try:
            model = replace(ServedModel.open(activation.bundle), activation=activation.pk)
            _ = model.catalogue  # what takes longest, before anybody waits for it
        except (BundleError, ValueError, OSError) as error:
            raise ModelUnavailable(f"Model {activation.bundle_id} cannot be opened: {error}.") from error
        return model


def _marker_path() -> Path:
    return Path(settings.NIGHTREEL_DATA_FOLDER) / "serving"


def _marker() -> tuple[str, int, int] | None:
    path = os.path.join(settings.NIGHTREEL_DATA_FOLDER, "serving")
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (path, found.st_mtime_ns, found.st_ino)


def mark_change(activation: Activation) -> None:
    """Tell every process that another model serves, by a file that each looks at."""
    path = _marker_path()
    draft = path.with_name(f".{path.name}-{os.getpid()}-{threading.get_ident()}")
    draft.write_text(f"{activation.bundle_id}\n")
    draft.replace(path)


store = ModelStore()
