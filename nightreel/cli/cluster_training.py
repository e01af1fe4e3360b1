"""Train on a cluster: ship, submit or attach, follow, fetch."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

import nightreel
from nightreel.bundle.reader import open_bundle, sha256_of, validate_bundle
from nightreel.bundle.reports import report_path
from nightreel.cli.access import Access
from nightreel.cli.jobs import follow
from nightreel.cli.local_training import HOME, job_file
from nightreel.cli.output import aside
from nightreel.cli.ratings_source import Source
from nightreel.cluster import jobs, lifecycle
from nightreel.cluster.bootstrap import PAYLOAD, Payload
from nightreel.cluster.errors import ClusterError
from nightreel.cluster.files import sha256
from nightreel.cluster.jobs import JobState
from nightreel.cluster.lifecycle import Cluster, Preparation
from nightreel.cluster.packaging import zip_package
from nightreel.cluster.runtime import ROOT, Runtime
from nightreel.cluster.ssh import Connect, Connection
from nightreel.recommend.datasets import name_of
from nightreel.recommend.layouts import OWN, Layout
from nightreel.recommend.report import write_report


def train_on(
    name: str,
    runtime: Runtime,
    *,
    access: Access,
    source: Source,
    layout: Layout,
    out: Path,
    options: Sequence[str],
) -> None:
    """Train on the running cluster called `name` and write the bundle, checked, to `out`.

    Raises the cluster's errors and BundleError; exits with the job's code when it fails.
    """
    ec2 = access.ec2()
    lifecycle.find(ec2, name)
    ring, connect = access.reach(ec2, name)
    with tempfile.TemporaryDirectory() as scratch:
        files = _files(layout, Path(scratch))
        given = source.arguments("", "")
        job = _job_name(files, [*given, *options])
        # Folders of its own: another training may run on these nodes, and must keep its files.
        payload = Payload({f"{job}/{path}": file for path, file in files.items()})
        cluster = lifecycle.bootstrap_spark(
            ec2,
            name,
            connect=connect,
            keys=ring,
            preparation=Preparation(
                runtime=runtime, payload=payload, required_workers=len(lifecycle.find(ec2, name).workers)
            ),
        )
    with connect(cluster.master) as connection:
        command = _command(job, source=source, layout=layout, options=options)
        fresh = jobs.submit_or_attach(connection, job, command, runtime=runtime)
        aside.print(f"{'Started' if fresh else 'Attached to'} the job {job} on {name}.", markup=False)
        _await(connection, job, cluster, connect, ec2)
        _fetch(connection, job, out)


def _files(layout: Layout, scratch: Path) -> dict[str, Path]:
    """What the job needs, by its path below the job's part of the payload."""
    code = zip_package(Path(nightreel.__file__).parent, scratch / "nightreel.zip")
    return {
        code.name: code,
        **{f"ratings/{path}": file for path, file in layout.files.items()},
        **Payload.below("spark_jobs", job_file(HOME).parent, pattern="*.py"),
    }


def _job_name(files: Mapping[str, Path], options: Sequence[str]) -> str:
    """A name that is the same whenever the same code trains on the same ratings in the same way."""
    lines = [*options, *(f"{name}\0{sha256(file)}" for name, file in sorted(files.items()))]
    return f"train-{hashlib.sha256(chr(0).join(lines).encode()).hexdigest()[:12]}"


def _result(job: str) -> Any:
    return ROOT / "result" / f"{job}.arrow"


def _command(job: str, *, source: Source, layout: Layout, options: Sequence[str]) -> list[str]:
    payload = f"~/{PAYLOAD}/{job}"
    ratings = f"{payload}/ratings"
    place = f"{ratings}/{layout.ratings.name}" if layout.name == OWN else ratings
    movies = f"{ratings}/{layout.titles.path.name}" if layout.titles else ""
    return [
        "--conf",
        "spark.log.level=ERROR",  # the job prints what an operator wants to read
        "--py-files",
        f"{payload}/nightreel.zip",
        f"{payload}/spark_jobs/train_similarity.py",
        *source.arguments(place, movies),
        "--out",
        f"~/{_result(job)}",
        "--dataset",
        name_of(layout),
        *options,
    ]


def _await(connection: Connection, job: str, cluster: Cluster, connect: Connect, ec2: Any) -> None:
    status = follow(connection, job, lambda: connect(lifecycle.find(ec2, cluster.name).master), as_json=False)
    if status.state is not JobState.SUCCEEDED:
        aside.print(f"The job {job} on {cluster.name}: {status.state}, exit code {status.exit_code}.", markup=False)
        raise typer.Exit(status.exit_code or 1)


def _fetch(connection: Connection, job: str, out: Path) -> None:
    draft = out.with_name(f".{out.name}.draft")
    try:
        connection.download(_result(job), draft)
        remote = connection.run(f"sha256sum {_result(job)}", timeout=300).output.split()[0]
        if sha256_of(draft) != remote:
            raise ClusterError("the bundle arrived damaged: run the command again, the result is still there")
        validate_bundle(draft)
        draft.replace(out)
        _fetch_aside(connection, job, out)
    finally:
        draft.unlink(missing_ok=True)


def _fetch_aside(connection: Connection, job: str, out: Path) -> None:
    """The rows that were kept aside, where there are any, and the report, which is made of the bundle."""
    rejected = _result(job).with_suffix(".rejected.csv")
    target = out.with_suffix(".rejected.csv")
    target.unlink(missing_ok=True)
    if connection.run(f"test -e {rejected} && echo there || true").output.strip():
        connection.download(rejected, target)
    write_report(open_bundle(out), report_path(out))
