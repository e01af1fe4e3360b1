"""Commands around the model: train it, ask it, look at it, publish it, fetch data for it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from nightreel.bundle.reader import content_digest, open_bundle, sha256_of, validate_bundle
from nightreel.bundle.reports import report_path
from nightreel.cli import options
from nightreel.cli.data import data_app
from nightreel.cli.output import console
from nightreel.cli.quality import show_quality
from nightreel.cli.site import publish
from nightreel.cli.training import train
from nightreel.recommend.queries import answer, read_queries
from nightreel.recommend.report import write_report
from nightreel.recommend.taste_model import TASTES, parse_taste

bundle_app = typer.Typer(help="Look at a bundle.", no_args_is_help=True)

BundleFile = Annotated[Path, typer.Argument(metavar="FILE", help="A bundle.")]


def register(app: typer.Typer) -> None:
    """Add the model's commands to the command line."""
    options.add(app, train, publish)
    app.command()(recommend)
    app.add_typer(bundle_app, name="bundle")
    app.add_typer(data_app, name="data")


def recommend(
    file: BundleFile,
    queries: Annotated[Path, typer.Option(help='JSON lines: {"query": n, "movies": \\[ids], "ratings": \\[1–5]}.')],
    out: Annotated[Path, typer.Option(help='JSON lines: {"query": n, "movies": \\[ids, best first]}.')],
    top: Annotated[int, typer.Option(min=1, help="Movies per answer.")] = 10,
    taste: Annotated[str, typer.Option(help=f"{', '.join(TASTES)}, or a number from 0 to 1.")] = "balanced",
) -> None:
    """Answer a file of queries with a bundle."""
    position = parse_taste(taste)
    if out.exists() and any(out.samefile(other) for other in (file, queries)):
        raise ValueError(f"--out {out} is one of the files to read: name another one, nothing was written")
    bundle = open_bundle(file)
    answered = unknown = 0
    draft = out.with_name(f".{out.name}.draft")
    try:
        with queries.open() as asked, draft.open("w") as answers:
            for result in answer(bundle, read_queries(asked), top=top, taste=position):
                unknown += len(result.pop("unknown", []))
                answers.write(json.dumps(result) + "\n")
                answered += 1
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    console.print(f"Answered {answered:,} queries with {file}; {unknown:,} seed movies were unknown to it.")


@bundle_app.command()
def show(
    file: BundleFile, as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False
) -> None:
    """Print where a bundle comes from and how good it is."""
    bundle = open_bundle(file)
    facts = {"sha256": sha256_of(file), "content_digest": content_digest(file), "movies": len(bundle)}
    metadata = asdict(bundle.metadata)
    if as_json:
        typer.echo(json.dumps(facts | metadata, indent=2, ensure_ascii=False))
        return
    evaluation = metadata.pop("evaluation")
    shape = {"factors": bundle.embedding.shape[1], "neighbours": bundle.neighbour_ids.shape[1]}
    table = Table(show_header=False, box=None)
    for name, value in (facts | shape | metadata).items():
        parts = [f"{key}: {part}" for key, part in value.items()] if isinstance(value, dict) else [str(value)]
        table.add_row(name, "\n".join(parts))
    console.print(table)
    if evaluation:
        show_quality(bundle.metadata)


@bundle_app.command()
def validate(file: BundleFile) -> None:
    """Check everything that a bundle promises."""
    bundle = validate_bundle(file)
    console.print(f"{file} is valid: {len(bundle):,} movies, run {bundle.metadata.run_id}.")


@bundle_app.command()
def report(
    file: BundleFile,
    out: Annotated[Path | None, typer.Option(help="The HTML file to write (default: beside the bundle).")] = None,
) -> None:
    """Write a bundle's report: one HTML file with plots that needs nothing beside it."""
    target = out or report_path(file)
    write_report(open_bundle(file), target)
    console.print(f"The report is {target}.")
