"""Take in a bundle, check it, and make it the one that serves."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import numpy as np
from django.db import transaction
from django.utils import timezone

from nightreel.bundle.reader import Bundle, validate_bundle
from nightreel.bundle.schema import BundleError
from nightreel.recommend.taste_model import TASTES
from recommender.model_store import ServedModel
from recommender.models import Activation, Movie, StoredBundle, bundles_folder
from recommender.search import fold, fold_names

logger = logging.getLogger(__name__)

PIECE = 1024 * 1024
KEPT_BEFORE = 3
"""How many bundles that served before are kept to go back to."""
UNUSED_FOR = timedelta(days=1)
"""How long an uploaded bundle may wait for its activation."""
DRAFT_PREFIX = ".upload-"
MOVIE_BATCH = 500
EXTERNAL_ID = re.compile(r"\d{1,12}", re.ASCII)


class UploadError(ValueError):
    """The bytes are not the ones that were announced."""


class ActivationError(ValueError):
    """The bundle cannot serve; the one before goes on."""


def receive(read: Callable[[int], bytes], *, sha256: str, length: int) -> tuple[StoredBundle, bool]:
    """Store a bundle that arrives in pieces and return it, and whether it was new here.

    `read` gives up to so many bytes, b"" at the end. Nothing is left behind by an upload that fails: UploadError
    when it is cut short or another than its name says, BundleError when it is no valid bundle.
    """
    folder = bundles_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep_drafts(folder)
    with _draft(folder) as draft:
        _write_checked(draft, read, sha256=sha256, length=length)
        return _store(draft, _checked_bundle(draft), sha256)


@contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    """Give an empty file that is gone afterwards unless it was renamed."""
    handle, name = tempfile.mkstemp(prefix=DRAFT_PREFIX, dir=folder)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _sweep_drafts(folder: Path) -> None:
    """Remove what uploads left whose process was killed."""
    stale = time.time() - UNUSED_FOR.total_seconds()
    for draft in folder.glob(f"{DRAFT_PREFIX}*"):
        try:
            if draft.stat().st_mtime < stale:
                draft.unlink()
        except FileNotFoundError:  # another upload swept it
            continue


def _write_checked(draft: Path, read: Callable[[int], bytes], *, sha256: str, length: int) -> None:
    """Write `length` bytes to disk, hashing on the way; UploadError when they are not those of the name."""
    digest, received = hashlib.sha256(), 0
    with draft.open("wb") as file:
        while received < length and (piece := read(min(PIECE, length - received))):
            file.write(piece)
            digest.update(piece)
            received += len(piece)
        file.flush()
        os.fsync(file.fileno())
    if received < length:
        raise UploadError(f"The body was cut short: {received} of {length} bytes came. Send it again.")
    if digest.hexdigest() != sha256:
        raise UploadError(f"The body's SHA-256 is {digest.hexdigest()}, not {sha256} as its name says. Send it again.")


def _checked_bundle(draft: Path) -> Bundle:
    """Open what came in as a valid bundle; BundleError otherwise, without the draft's name that nobody knows."""
    try:
        bundle = validate_bundle(draft)
        json.dumps(asdict(bundle.metadata), allow_nan=False)
    except BundleError as error:
        raise BundleError(str(error).replace(draft.name, "the body")) from error
    except (ValueError, RecursionError) as error:
        raise BundleError("the metadata is nested too deeply or has a number that is not finite") from error
    return bundle


def _store(draft: Path, bundle: Bundle, sha256: str) -> tuple[StoredBundle, bool]:
    """Write the rows, then give the file its name: a row without its file would promise too much."""
    metadata = bundle.metadata
    with transaction.atomic():
        stored, _ = StoredBundle.objects.get_or_create(
            sha256=sha256,
            defaults={
                "run_id": metadata.run_id,
                "dataset": dataset_name(bundle),
                "movies": len(bundle),
                "metadata": asdict(metadata),
            },
        )
        new = not stored.path.exists()
        if new:
            draft.replace(stored.path)
            _sync_folder(stored.path.parent)
    logger.info("bundle %s of run %s: %s", sha256, stored.run_id, "stored" if new else "already here")
    return stored, new


def dataset_name(bundle: Bundle) -> str:
    """Return the name under which the bundle's movie ids mean something."""
    return str(bundle.metadata.dataset.get("name") or "unnamed")


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _upsert_movies(bundle: Bundle, dataset: str) -> None:
    columns = zip(
        bundle.movie_ids.tolist(),
        bundle.titles,
        bundle.years,
        bundle.genres,
        bundle.rating_counts.tolist(),
        bundle.alternate_titles,
        bundle.imdb_ids,
        bundle.tmdb_ids,
        strict=True,
    )
    Movie.objects.bulk_create(
        (
            Movie(
                dataset=dataset,
                movie_id=movie_id,
                title=title,
                year=year,
                genres=genres,
                search_key=fold(title),
                rating_count=rating_count,
                alternate_titles=others,
                names=fold_names([title, *others]),
                imdb_id=digits(imdb_id),
                tmdb_id=digits(tmdb_id),
            )
            for movie_id, title, year, genres, rating_count, others, imdb_id, tmdb_id in columns
        ),
        batch_size=MOVIE_BATCH,
        update_conflicts=True,
        unique_fields=["dataset", "movie_id"],
        update_fields=[
            "title",
            "year",
            "genres",
            "search_key",
            "rating_count",
            "alternate_titles",
            "names",
            "imdb_id",
            "tmdb_id",
        ],
    )


def digits(text: str | None) -> str:
    """Return an id of IMDb or TMDB when it is one, else "": it becomes a part of addresses."""
    return text if text and EXTERNAL_ID.fullmatch(text) else ""


def activate(stored: StoredBundle) -> str | None:
    """Make a stored bundle the one that serves and return the digest of the one before it.

    Repeating it changes nothing and answers the same. ActivationError when the bundle does not stand the smoke
    query or its file is gone.
    """
    bundle = _smoke_query(stored)
    with transaction.atomic():
        last = Activation.objects.current()
        if last is None or last.bundle_id != stored.pk:
            if not stored.path.exists():
                raise ActivationError(f"The file of {stored.sha256} was removed meanwhile: upload it again.")
            # Titles come with the model that they belong to: neither an upload nor going back may mix two.
            _upsert_movies(bundle, stored.dataset)
            last = Activation.objects.create(bundle=stored)
            logger.info("bundle %s of run %s serves now", stored.sha256, stored.run_id)
        before = Activation.objects.filter(pk__lt=last.pk).order_by("-pk").first()
    _remove_old_files()
    return None if before is None else before.bundle_id


def _smoke_query(stored: StoredBundle) -> Bundle:
    """Open the file as a worker would and ask it what a visitor would; ActivationError when it fails."""
    try:
        model = ServedModel.open(stored)
        best = np.argsort(-model.bundle.rating_counts, kind="stable")[:3].tolist()
        for taste in TASTES.values():
            for ratings in ([5.0] * len(best), [1.0] * len(best)):
                scores = model.taste_model.score(seeds=best, ratings=ratings, taste=taste)
                if not np.isfinite(scores.values).all():
                    raise ActivationError(f"The smoke query at taste {taste:g} gave scores that are not finite.")
                if len(model.bundle) > len(best) and not scores.top(10):
                    raise ActivationError(f"The smoke query at taste {taste:g} recommended nothing.")
        return model.bundle
    except ActivationError:
        raise
    except (BundleError, ValueError, ArithmeticError, OSError) as error:
        raise ActivationError(f"The smoke query failed: {error}") from error


def _remove_old_files() -> None:
    """Delete the files of bundles that nobody will go back to; processes that still map them are not disturbed."""
    with transaction.atomic():  # writers wait for each other, so nobody activates what is being removed
        kept = set(Activation.objects.latest_bundles(1 + KEPT_BEFORE))
        waiting = timezone.now() - UNUSED_FOR
        for stored in StoredBundle.objects.exclude(pk__in=kept):
            if stored.activations.exists() or stored.uploaded < waiting:
                stored.path.unlink(missing_ok=True)
