"""Commands around the model: train it on this machine, ask it, look at it, publish it, fetch data for it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import nightreel
from nightreel.bundle.provenance import code_revision
from nightreel.bundle.publish import publish as publish_bundle
from nightreel.bundle.reader import content_digest, open_bundle, sha256_of, validate_bundle
from nightreel.bundle.schema import BundleMetadata
from nightreel.recommend import datasets
from nightreel.recommend.evaluation import quality_table
from nightreel.recommend.queries import answer, read_queries
from nightreel.recommend.ratings import find_layout
from nightreel.recommend.taste_model import TASTES, parse_taste

HOME = Path(nightreel.__file__).parent.parent
"""The checkout, where the training job lies beside the package."""

console = Console(soft_wrap=True, highlight=False)
bundle_app = typer.Typer(help="Look at a bundle.", no_args_is_help=True)
data_app = typer.Typer(help="Get ratings to train on.", no_args_is_help=True)

BundleFile = Annotated[Path, typer.Argument(metavar="FILE", help="A bundle.")]


def register(app: typer.Typer) -> None:
    """Add the model's commands to the command line."""
    app.command()(train)
    app.command()(recommend)
    app.command()(publish)
    app.add_typer(bundle_app, name="bundle")
    app.add_typer(data_app, name="data")


def train(
    *,
    out: Annotated[Path, typer.Option(help="The bundle to write.")],
    ratings: Annotated[Path | None, typer.Option(help="Folder of ratings (default: as `data fetch` finds).")] = None,
    rank: Annotated[int | None, typer.Option(help="Factors per movie.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Rounds of ALS.")] = None,
    reg: Annotated[float | None, typer.Option(help="ALS regularisation per like.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Confidence of a like over none.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of ALS and of the evaluation.")] = None,
    like_threshold: Annotated[float | None, typer.Option(help="Stars that make a like.")] = None,
    evaluate: Annotated[bool, typer.Option(help="Judge the model beside baselines.")] = True,
    memory: Annotated[str, typer.Option(help="Memory of the Spark driver.")] = "2g",
) -> None:
    """Train on this machine with Spark and write a bundle."""
    folder = find_layout(ratings or datasets.find_dataset()).ratings.parent
    given = {
        "rank": rank,
        "iterations": iterations,
        "reg": reg,
        "alpha": alpha,
        "seed": seed,
        "like-threshold": like_threshold,
    }
    options = [word for name, value in given.items() if value is not None for word in (f"--{name}", str(value))]
    if not evaluate:
        options.append("--no-evaluate")
    options += ["--code-revision", code_revision(HOME)]
    console.print(f"Training on {folder}. Licence: {datasets.licence_of(datasets.name_of(folder))}")
    run_job(["--ratings", str(folder.resolve()), "--out", str(out.resolve()), *options], memory=memory)
    show_quality(open_bundle(out).metadata)
    console.print(f"The bundle is {out}.")


def run_job(arguments: list[str], *, memory: str) -> None:
    """Run the training job with spark-submit on this machine's cores and show its lines; exits with 1 when it fails."""
    command = [spark_submit(), "--master", "local[*]", "--driver-memory", memory]
    command += ["--conf", "spark.ui.enabled=false", "--conf", "spark.log.level=ERROR", str(job_file(HOME)), *arguments]
    path = os.pathsep.join(filter(None, [str(HOME), os.environ.get("PYTHONPATH")]))
    own = {"PYTHONPATH": path, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        job = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | own,
            start_new_session=True,
        )
        try:
            with console.status("Starting Spark"):
                rest = show_phases(job.stdout or [])
            if job.wait():
                errors.seek(0)
                show_failure(rest or errors.readlines())
                raise typer.Exit(1)
        finally:
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGTERM)
                job.wait()


def show_phases(lines: Iterable[str]) -> list[str]:
    """Print the phases as they finish and return the other lines: the job's own table, or what went wrong.

    spark-submit sends a Python job's error output the same way as its output.
    """
    rest = []
    for line in lines:
        if line.startswith("["):
            console.print(line.rstrip(), markup=False)
        else:
            rest.append(line)
    return rest


def show_failure(lines: Sequence[str]) -> None:
    """Print the job's own sentence where it said one, else the end of what it wrote."""
    said = [line for line in lines if line.startswith("train_similarity:")]
    for line in said or lines[-20:]:
        Console(stderr=True, soft_wrap=True).print(line.rstrip(), markup=False, highlight=False)


def spark_submit() -> str:
    """Return spark-submit's path; ValueError says how to get what is missing."""
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise ValueError("Spark needs Java 17 or newer: install it (Debian: openjdk-17-jre-headless) or set JAVA_HOME")
    beside = Path(sys.executable).with_name("spark-submit")
    found = str(beside) if beside.is_file() else shutil.which("spark-submit")
    if not found:
        raise ValueError("spark-submit is not there: install pyspark 4 into this Python environment")
    return found


def job_file(home: Path) -> Path:
    """Return the training job beside the package; ValueError when only the package is installed."""
    job = home / "spark_jobs" / "train_similarity.py"
    if not job.is_file():
        raise ValueError(f"the training job {job} is not there: run `nightreel train` from a checkout of Nightreel")
    return job


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


def publish(
    file: BundleFile,
    server: Annotated[str, typer.Option(help="The site's address.")],
    token: Annotated[str, typer.Option(envvar="NIGHTREEL_SITE_TOKEN", help="The site's token.", show_default=False)],
) -> None:
    """Upload a bundle to the site and make it the one that is served."""
    done = publish_bundle(file, server=server, token=token)
    how = "uploaded" if done.uploaded else "already there"
    before = f"; before it served {done.previous}" if done.previous else ""
    console.print(f"{server} now serves run {done.run_id} with {done.movies:,} movies ({done.sha256}, {how}){before}.")


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


@data_app.command()
def fetch(name: Annotated[str, typer.Argument(help="A data set; `nightreel data list` names them.")]) -> None:
    """Fetch a data set into the cache, checked, and show its licence."""
    folder = datasets.fetch(name)
    console.print(f"{name} is in {folder}. Licence: {datasets.licence_of(name)}")


@data_app.command("list")
def list_data() -> None:
    """List the data sets that can be fetched."""
    table = Table("name", "ratings", "cached", "licence")
    for name, dataset in datasets.DATASETS.items():
        cached = "yes" if (datasets.cache_folder() / name).is_dir() else "no"
        table.add_row(name, f"{dataset.ratings:,}", cached, dataset.licence)
    console.print(table)


def show_quality(metadata: BundleMetadata) -> None:
    """Print a bundle's evaluation as a table, or that there is none."""
    if not metadata.evaluation:
        console.print("The model was not evaluated.")
        return
    header, *rows = quality_table(metadata.evaluation)
    table = Table(title="Three seeds of an unseen user: the rest of their likes among ten answers")
    for position, name in enumerate(header):
        table.add_column(name, justify="right" if position else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(
        "Familiar is there to foresee the rest of a list, which is mostly what everybody likes; balanced and "
        "adventurous are there for the long tail, and give some of the first for it."
    )
