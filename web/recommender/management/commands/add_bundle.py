"""`manage.py add_bundle`: take in a bundle that lies on this machine, without HTTP."""

from __future__ import annotations

import hashlib
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError

from nightreel.bundle.reports import report_path
from nightreel.bundle.schema import BundleError
from recommender import publishing, reports
from recommender.management.progress import progress_bar


class Command(BaseCommand):
    """The same checks as an upload, and the same activation."""

    help = "Take in a bundle from a file, with the report that lies beside it, and activate it unless told not to."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the file."""
        parser.add_argument("file", type=Path, help="A bundle.")
        parser.add_argument("--no-activate", action="store_true", help="Only take it in.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Read, check, store and activate."""
        source: Path = options["file"]
        try:
            with source.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                length = file.seek(0, 2)
                file.seek(0)
                with progress_bar("Bytes") as advance:
                    stored, new = publishing.receive(_told(file, advance, length), sha256=sha256, length=length)
            report = report_path(source)
            if report.is_file():
                with report.open("rb") as file:
                    reports.receive(stored, file.read, length=report.stat().st_size)
            self.stdout.write(f"{stored.sha256} of run {stored.run_id}: {'stored' if new else 'already here'}.")
            if not options["no_activate"]:
                with progress_bar("Movies") as advance:
                    before = publishing.activate(stored, progress=advance)
                self.stdout.write(f"It serves now; before: {before or 'none'}.")
        except (OSError, BundleError, publishing.UploadError, publishing.ActivationError) as error:
            raise CommandError(f"{source} was not taken: {error}") from error


def _told(file: BinaryIO, advance: Callable[[int, int], None], length: int) -> Callable[[int], bytes]:
    def read(size: int) -> bytes:
        piece = file.read(size)
        advance(file.tell(), length)
        return piece

    return read
