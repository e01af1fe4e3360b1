"""`nightreel data`: fetch ratings, or generate some."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from nightreel.cli.output import aside, console
from nightreel.recommend import datasets
from nightreel.recommend.generated import FORMS, World, write_world
from nightreel.recommend.layouts import DatasetError, find_layout

data_app = typer.Typer(help="Get ratings to train on.", no_args_is_help=True)


@data_app.command()
def fetch(name: Annotated[str, typer.Argument(help="A data set; `nightreel data list` names them.")]) -> None:
    """Fetch a data set into the cache, checked, and show its licence."""
    folder = datasets.fetch(name)
    console.print(f"{name} is in {folder}. Licence: {datasets.licence_of(name)}")


@data_app.command()
def ensure(folder: Annotated[Path, typer.Argument(help="A folder that is to hold ratings.")]) -> None:
    """Let a folder hold ratings: what it has already, or else a copy of those that can be had."""
    try:
        console.print(f"{folder} holds {datasets.name_of(find_layout(folder))} already.")
        return
    except DatasetError:
        if folder.is_dir() and any(entry.name != "lost+found" for entry in folder.iterdir()):
            raise  # something that the operator put there, and that can not be read
    found = datasets.find_dataset()
    shutil.copytree(found, folder, dirs_exist_ok=True)
    console.print(f"{found.name} is in {folder}. Licence: {datasets.licence_of(found.name)}")


@data_app.command("list")
def list_data() -> None:
    """List the data sets that can be fetched."""
    table = Table("name", "ratings", "cached", "licence")
    for name, dataset in datasets.DATASETS.items():
        cached = "yes" if (datasets.cache_folder() / name).is_dir() else "no"
        table.add_row(name, f"{dataset.ratings:,}", cached, dataset.licence)
    console.print(table)


@data_app.command()
def generate(
    *,
    out: Annotated[Path, typer.Option(help="Folder to write, in MovieLens' layout.")],
    ratings: Annotated[int, typer.Option(min=1, max=10**9, help="How many.")] = 1_000_000,
    users: Annotated[int | None, typer.Option(min=1, help="Users (default: as MovieLens has for so many).")] = None,
    movies: Annotated[int | None, typer.Option(min=4, help="Movies (default: as MovieLens has for so many).")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same ratings.")] = 7,
    form: Annotated[str, typer.Option("--format", help=f"{' or '.join(FORMS)}.")] = "csv",
) -> None:
    """Generate ratings that nobody gave, for tests of size: popularity by a power law, and planted tastes."""
    world = World.like_movielens(ratings, users=users, movies=movies, seed=seed)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=aside) as progress:
        bar = progress.add_task("Generating", total=ratings)
        for done in write_world(world, out, form=form):
            progress.update(bar, completed=done)
    console.print(
        f"{ratings:,} generated ratings of {world.movies:,} movies by {world.users:,} users are in {out}. "
        "Nobody gave them: they show how fast something is, not how good."
    )
