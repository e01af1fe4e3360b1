"""`nightreel train`: on this machine, or on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nightreel.bundle.provenance import code_revision
from nightreel.bundle.reader import open_bundle
from nightreel.cli import cluster_training, site
from nightreel.cli.access import Access
from nightreel.cli.local_training import HOME, run_job
from nightreel.cli.machines import SparkOptions
from nightreel.cli.options import checked_name
from nightreel.cli.output import UsageError, console
from nightreel.cli.quality import show_quality
from nightreel.cli.ratings_source import Columns, MovieColumns, Movies, Ratings, Source
from nightreel.cli.site import SiteToken
from nightreel.recommend import datasets

DRIVER_MEMORY = "2g"


def train(
    *,
    token: SiteToken,
    access: Access,
    spark: SparkOptions,
    out: Annotated[Path, typer.Option(help="The bundle to write.")],
    ratings: Ratings = None,
    columns: Columns = None,
    movies: Movies = None,
    movie_columns: MovieColumns = None,
    rank: Annotated[int | None, typer.Option(help="Factors per movie.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Rounds of ALS.")] = None,
    reg: Annotated[float | None, typer.Option(help="ALS regularisation per like.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Confidence of a like over none.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of ALS and of the evaluation.")] = None,
    like_threshold: Annotated[float | None, typer.Option(help="Stars that make a like.")] = None,
    search: Annotated[
        int | None,
        typer.Option(help="Try so many recipes first and train by the best; goes on where it was interrupted."),
    ] = None,
    evaluate: Annotated[bool, typer.Option(help="Judge the model beside baselines.")] = True,
    memory: Annotated[
        str | None, typer.Option(help=f"Memory of the Spark driver on this machine (default: {DRIVER_MEMORY}).")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="NAME", callback=checked_name, help="Train on this cluster, which `launch` made."),
    ] = None,
    run_local: Annotated[bool, typer.Option("--run-local", help="Train on this machine, as without it.")] = False,
    server: Annotated[str | None, typer.Option(help="Publish the bundle to the site at this address.")] = None,
) -> None:
    """Train with Spark, on this machine or on a cluster, and write a bundle.

    On a cluster the same training is one job: run again, it is attached to, or its result is fetched.
    """
    if cluster and run_local:
        raise UsageError("--run-local and --cluster do not go together: leave one of them out")
    if cluster and memory:
        raise UsageError("--memory and --cluster do not go together: there the driver gets what the master has")
    site_token = token.read() if server else None
    source = Source(ratings=ratings, columns=columns, movies=movies, movie_columns=movie_columns)
    layout = source.layout(access)
    given = {
        "rank": rank,
        "iterations": iterations,
        "reg": reg,
        "alpha": alpha,
        "seed": seed,
        "like-threshold": like_threshold,
        "search": search,
    }
    options = [word for name, value in given.items() if value is not None for word in (f"--{name}", str(value))]
    if not evaluate:
        options.append("--no-evaluate")
    options += ["--code-revision", code_revision(HOME)]
    console.print(f"Training on {layout.location}. Licence: {datasets.licence_of(datasets.name_of(layout))}")
    if cluster:
        cluster_training.train_on(
            cluster, spark.runtime(), access=access, source=source, layout=layout, out=out, options=options
        )
    else:
        titles = layout.titles.path.resolve() if layout.titles else ""
        place = layout.location.resolve()
        arguments = [*source.arguments(str(place), str(titles)), "--dataset", datasets.name_of(layout)]
        run_job([*arguments, "--out", str(out.resolve()), *options], memory=memory or DRIVER_MEMORY)
    show_quality(open_bundle(out).metadata)
    console.print(f"The bundle is {out}.")
    if server and site_token:
        site.send(out, server=server, token=site_token)
