"""`manage.py roll_back`: go back to the model before."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from recommender import publishing
from recommender.management.progress import progress_bar


class Command(BaseCommand):
    """Twice goes back two models."""

    help = "Make the model serve that served before the present one first did."

    def handle(self, *args: Any, **options: Any) -> None:
        """Go back."""
        try:
            with progress_bar("Movies") as advance:
                stored = publishing.roll_back(progress=advance)
        except publishing.ActivationError as error:
            raise CommandError(f"{error} Nothing was changed.") from error
        self.stdout.write(f"{stored.sha256} of run {stored.run_id} serves now.")
