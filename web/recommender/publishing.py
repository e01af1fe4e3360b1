"""Take in a bundle, check it, and make it the one that serves."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from itertools import islice
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from nightreel.bundle.reader import Bundle, validate_bundle
from nightreel.bundle.schema import BundleError
from recommender import metrics, reports
from recommender.model_store import mark_change
from recommender.models import Activation, Movie, StoredBundle, bundles_folder
from recommender.movie_rows import CHANGING, KEY, movie_rows
from recommender.smoke import ActivationError, ask_as_a_visitor, ask_the_file

__all__ = ["ActivationError", "NoRoomError", "UploadError", "activate", "receive", "roll_back"]

logger = logging.getLogger(__name__)

PIECE = 1024 * 1024
KEPT_BEFORE = 3
"""How many bundles that served before are kept to go back to."""
UNUSED_FOR = timedelta(days=1)
"""How long an uploaded bundle may wait for its activation."""
MOST_WAITING = 10
"""How many bundles may wait at a time; when another one comes, the oldest goes."""
ROOM_LEFT = 256 * 1024**2
"""Bytes that stay free on the disk, whatever comes: the database needs to write."""
DRAFT_PREFIX = ".upload-"
MOVIE_BATCH = 500


class UploadError(ValueError):
    """The bytes are not the ones that were announced."""


class NoRoomError(OSError):
    """The disk is too full for the upload."""


Progress = Callable[[int, int], None]
"""Told how many of how many are done."""


def _unseen(done: int, total: int) -> None:
    """Show nothing."""


def receive(read: Callable[[int], bytes], *, sha256: str, length: int) -> tuple[StoredBundle, bool]:
    """Store a bundle that arrives in pieces and return it, and whether it was new here.

    `read` gives up to so many bytes, b"" at the end. Nothing is left behind by an upload that fails: UploadError
    when it is cut short or another than its name says, BundleError when it is no valid bundle, NoRoomError when the
    disk would be full.
    """
    folder = bundles_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep_drafts(folder)
    try:
        _check_room(folder, length)
        with _draft(folder) as draft:
            _write_checked(draft, read, sha256=sha256, length=length)
            stored, new = _store(draft, _checked_bundle(draft), sha256)
    except (UploadError, BundleError, OSError):
        metrics.UPLOADS.labels("refused").inc()
        raise
    metrics.UPLOADS.labels("stored" if new else "known").inc()
    _remove_waiting()
    return stored, new


def _check_room(folder: Path, length: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < length + ROOM_LEFT:
        raise NoRoomError(f"The disk has {free} bytes left, too few for this bundle: remove old ones or enlarge it.")


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
            stored.uploaded = timezone.now()  # also when its file was removed before: it waits from now on
            stored.save(update_fields=["uploaded"])
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


def _upsert_movies(bundle: Bundle, dataset: str, progress: Progress) -> None:
    rows, done = iter(movie_rows(bundle, dataset)), 0
    while batch := list(islice(rows, MOVIE_BATCH)):
        Movie.objects.bulk_create(batch, update_conflicts=True, unique_fields=KEY, update_fields=CHANGING)
        done += len(batch)
        progress(done, len(bundle))


def activate(stored: StoredBundle, *, progress: Progress = _unseen) -> str | None:
    """Make a stored bundle the one that serves and return the digest of the one before it.

    It is asked twice: the file by itself, and then, already switched on but seen by nobody else, the way a visitor
    asks it. When either fails, everything is as it was and ActivationError says why. Repeating an activation changes
    nothing and answers the same. `progress` is told of the movies.
    """
    try:
        before = _switch(stored, progress)
    except ActivationError as error:
        metrics.ACTIVATIONS.labels("rolled back").inc()
        StoredBundle.objects.filter(pk=stored.pk).update(refused=str(error))
        logger.error("bundle %s of run %s does not serve: %s", stored.sha256, stored.run_id, error)
        raise
    metrics.ACTIVATIONS.labels("serves").inc()
    _remove_old_files()
    return before


def _switch(stored: StoredBundle, progress: Progress) -> str | None:
    bundle = ask_the_file(stored)
    with transaction.atomic():  # whatever is raised within takes the movies and the switch back
        last = Activation.objects.current()
        if last is None or last.bundle_id != stored.pk:
            if not stored.path.exists():
                raise ActivationError(f"The file of {stored.sha256} was removed meanwhile: upload it again.")
            # Titles come with the model that they belong to: neither an upload nor going back may mix two.
            _upsert_movies(bundle, stored.dataset, progress)
            last = Activation.objects.create(bundle=stored)
            ask_as_a_visitor(stored)
            logger.info("bundle %s of run %s serves now", stored.sha256, stored.run_id)
        before = Activation.objects.filter(pk__lt=last.pk).order_by("-pk").first()
        StoredBundle.objects.filter(pk=stored.pk).update(refused="")
    mark_change(last)
    return None if before is None else before.bundle_id


def roll_back(*, expected: str | None = None, progress: Progress = _unseen) -> StoredBundle:
    """Make the bundle serve that served before this one first did, and return it.

    ActivationError when there is none, when it is another than `expected` (what somebody was shown), when its file
    is gone or it fails its smoke query.
    """
    current = Activation.objects.current()
    earlier = None if current is None else Activation.objects.before(current)
    if earlier is None:
        raise ActivationError("No other model served before this one, so there is nothing to go back to.")
    if expected is not None and earlier.sha256 != expected:
        raise ActivationError("Another model serves by now than when the page was opened: look again.")
    activate(earlier, progress=progress)
    return earlier


def _remove_old_files() -> None:
    """Delete the files of bundles that nobody will go back to; processes that still map them are not disturbed."""
    with transaction.atomic():  # writers wait for each other, so nobody activates what is being removed
        kept = set(Activation.objects.latest_bundles(1 + KEPT_BEFORE))
        waiting = timezone.now() - UNUSED_FOR
        for stored in StoredBundle.objects.with_files().exclude(pk__in=kept):
            if stored.activations.exists() or stored.uploaded < waiting:
                _remove_files(stored)


def _remove_waiting() -> None:
    """Delete the files of the uploads that nobody activated, but for the newest few."""
    with transaction.atomic():
        waiting = StoredBundle.objects.with_files().filter(activations=None)
        for stored in waiting.order_by("-uploaded", "-pk")[MOST_WAITING:]:
            _remove_files(stored)


def _remove_files(stored: StoredBundle) -> None:
    stored.path.unlink(missing_ok=True)
    reports.report_path(stored).unlink(missing_ok=True)
