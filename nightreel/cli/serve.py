"""`nightreel serve`: the site on this machine, as in production, with the newest bundle at hand."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from nightreel.bundle.provenance import code_revision
from nightreel.bundle.publish import publish
from nightreel.bundle.reader import open_bundle
from nightreel.bundle.schema import BundleError
from nightreel.cli.local_training import HOME, run_job
from nightreel.cli.output import console
from nightreel.cli.training import DRIVER_MEMORY
from nightreel.local.services import Services
from nightreel.local.site import LocalSite
from nightreel.recommend.datasets import find_dataset
from nightreel.recommend.ratings import find_layout

SMALL = ["--rank", "32", "--iterations", "6"]
"""What makes a bundle soon rather than well."""


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command()(serve)


def serve(
    *,
    port: Annotated[int, typer.Option(envvar="NIGHTREEL_SITE_PORT", help="Port of the site.")] = 8000,
    bundle: Annotated[
        Path | None, typer.Option(help="The bundle to serve (default: the newest in ., build and the data folder).")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder of the site's database and bundles (default: in the data folder).")
    ] = None,
) -> None:
    """Serve the site on this machine until Ctrl-C, as in production but on loopback and plain HTTP.

    Where there is no bundle, a small one is trained first, which takes a minute or two.
    """
    shown = bundle or newest_bundle(bundle_folders()) or _train_small(data_home() / "bundles" / "small.arrow")
    open_bundle(shown)
    # A shell that starts it in the background has Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(KeyboardInterrupt), Services() as services:
        site = LocalSite.on_free_port(state or data_home() / "site", preferred=port)
        if site.port != port:
            console.print(f"Port {port} is taken: the site comes up on {site.port}.")
        site.start(services)
        done = publish(shown, server=site.url, token=site.token)
        console.print(f"It serves {shown} (run {done.run_id}, {done.movies:,} movies).")
        console.print(f"[bold]The site: {site.url}[/]  Ctrl-C ends it.")
        while True:
            services.check()
            time.sleep(1)


def data_home() -> Path:
    """Return where this user's data of Nightreel lies."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "nightreel"


def bundle_folders() -> list[Path]:
    """Return the folders in which a bundle is at hand."""
    return [Path.cwd(), Path.cwd() / "build", data_home() / "bundles"]


def newest_bundle(folders: list[Path]) -> Path | None:
    """Return the bundle that was written last, files that only look like one left aside; None when there is none."""
    files = [file for folder in folders if folder.is_dir() for file in folder.glob("*.arrow")]
    for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        with suppress(BundleError):
            open_bundle(file)
            return file
    return None


def _train_small(out: Path) -> Path:
    ratings = find_layout(find_dataset()).ratings.parent.resolve()
    console.print(f"No bundle is at hand: training a small one on {ratings} …")
    out.parent.mkdir(parents=True, exist_ok=True)
    revision = ["--code-revision", code_revision(HOME)]
    run_job(["--ratings", str(ratings), "--out", str(out), *SMALL, *revision], memory=DRIVER_MEMORY)
    return out
