"""Publish to the site."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from nightreel.bundle.publish import publish as publish_bundle
from nightreel.cli.options import option_group
from nightreel.cli.output import UsageError, console

log = logging.getLogger(__name__)

TOKEN_VARIABLE = "NIGHTREEL_SITE_TOKEN"  # noqa: S105 (the name of a variable)


@option_group
class SiteToken:
    """The site's token: from a file or the environment, for a command line can be read by everybody on the machine."""

    token_file: Annotated[
        Path | None,
        typer.Option(
            envvar="NIGHTREEL_SITE_TOKEN_FILE", help=f"File that holds the site's token; else {TOKEN_VARIABLE} has it."
        ),
    ] = None
    token: Annotated[str | None, typer.Option(hidden=True, help="The token itself: everybody here can read it.")] = None

    def read(self) -> str:
        """The token. UsageError, saying how to give it, when there is none."""
        if self.token and self.token_file:
            raise UsageError("--token and --token-file do not go together: leave --token out")
        if self.token:
            log.warning("--token can be read in the list of processes: use --token-file or %s", TOKEN_VARIABLE)
            return self.token
        if self.token_file:
            try:
                found = self.token_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"--token-file {self.token_file} can not be read: {error}") from error
        else:
            found = os.environ.get(TOKEN_VARIABLE, "").strip()
        if not found:
            raise UsageError(f"there is no token for the site: give --token-file FILE or set {TOKEN_VARIABLE}")
        return found


def publish(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A bundle.")],
    *,
    token: SiteToken,
    server: Annotated[str, typer.Option(help="The site's address.")],
) -> None:
    """Upload a bundle to the site and make it the one that is served."""
    send(file, server=server, token=token.read())


def send(file: Path, *, server: str, token: str) -> None:
    """Upload and activate a bundle, and say what the site serves now. Raises PublishError."""
    done = publish_bundle(file, server=server, token=token)
    how = "uploaded" if done.uploaded else "already there"
    before = f"; before it served {done.previous}" if done.previous else ""
    console.print(f"{server} now serves run {done.run_id} with {done.movies:,} movies ({done.sha256}, {how}){before}.")
