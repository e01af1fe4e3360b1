"""Programs on the cluster: submit one, follow it, end it."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from nightreel.cli.access import Access
from nightreel.cli.machines import SparkOptions
from nightreel.cli.options import AsJson, Name, Yes
from nightreel.cli.output import UsageError, aside, confirm, console, print_json, usage_checked
from nightreel.cluster import bootstrap, jobs, lifecycle
from nightreel.cluster.files import sha256
from nightreel.cluster.jobs import JobState, JobStatus
from nightreel.cluster.runtime import ROOT
from nightreel.cluster.ssh import Connection


def _checked_job(job: str | None) -> str | None:
    """The job's name, if one is given; UsageError when no job can have it."""
    with usage_checked():
        if job is not None:
            jobs.folder(job)
    return job


JobName = Annotated[
    str,
    typer.Argument(metavar="JOB", callback=_checked_job, help="The job's name; `nightreel list-jobs` lists them."),
]


def submit(
    name: Name,
    driver: Annotated[Path, typer.Argument(help="The driver program, a Python file of this machine.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Its arguments; put -- before those that look like options.")
    ] = None,
    *,
    access: Access,
    spark: SparkOptions,
    file: Annotated[
        list[Path] | None, typer.Option(help="File that the program opens with SparkFiles.get; repeatable.")
    ] = None,
    py_file: Annotated[
        list[Path] | None, typer.Option(help="Module or zip of modules that the program imports; repeatable.")
    ] = None,
    conf: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Setting of Spark's for this job; repeatable.")
    ] = None,
    job: Annotated[
        str | None,
        typer.Option(
            callback=_checked_job, help="The job's name; else one made of the program, its files and arguments."
        ),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when it runs, and do not follow it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a driver program on the cluster, follow its log, and end with its exit code.

    The same program with the same files and arguments is one job: submitted again while it runs, or after it succeeded,
    it is attached to and not run again; give another --job to run it once more.
    """
    runtime = spark.runtime()
    shipped = Shipment(driver, file or [], py_file or [])
    words = [*shipped.options(conf or []), *(arguments or [])]
    job = job or shipped.job_name(words)
    ec2 = access.ec2()
    master = lifecycle.find(ec2, name).master
    _, connect = access.reach(ec2, name)
    with connect(master) as connection:
        place = ROOT / "submitted" / shipped.digest
        bootstrap.ship(connection, shipped.files, folder=place)
        home = connection.run('printf %s "$HOME"').output
        command = [word.replace(_PLACE, f"{home}/{place}") for word in shipped.options(conf or [])]
        fresh = jobs.submit_or_attach(connection, job, [*command, *(arguments or [])], runtime=runtime)
        aside.print(f"{'Started' if fresh else 'Attached to'} the job {job} on {name}.", markup=False)
        if detach:
            status = jobs.status(connection, job)
        else:
            status = follow(connection, job, lambda: connect(lifecycle.find(ec2, name).master), as_json=as_json)
    finish(status, name=name, job=job, as_json=as_json, also={"started": fresh})


# Stands for the folder on the node, whose path is known only there.
_PLACE = "{place}"


class Shipment:
    """What a job needs from this machine. UsageError for what is not there or would overwrite each other."""

    def __init__(self, driver: Path, files: list[Path], py_files: list[Path]) -> None:
        self.driver, self._data, self._modules = driver, files, py_files
        self.files: dict[str, Path] = {}
        for path in (driver, *files, *py_files):
            if not path.is_file():
                raise UsageError(f"{path} is no file of this machine: nothing to submit")
            if "," in path.name:
                raise UsageError(f"{path}: Spark takes no comma in the name of a file that it is given")
            if self.files.setdefault(path.name, path) != path:
                raise UsageError(f"{path} and {self.files[path.name]} have the same name: rename one of them")

    @property
    def digest(self) -> str:
        """Of all names and contents: other files go to another folder, and never under a job that runs."""
        lines = [f"{name}\0{sha256(path)}" for name, path in sorted(self.files.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def options(self, conf: list[str]) -> list[str]:
        """spark-submit's words up to the program."""
        words = [word for setting in conf for word in ("--conf", setting)]
        for option, paths in (("--files", self._data), ("--py-files", self._modules)):
            if paths:
                words += [option, ",".join(f"{_PLACE}/{path.name}" for path in paths)]
        return [*words, f"{_PLACE}/{self.driver.name}"]

    def job_name(self, words: list[str]) -> str:
        """A name that is the same whenever the same is submitted."""
        stem = re.sub(r"[^A-Za-z0-9_-]", "-", self.driver.stem).strip("-_") or "job"
        return f"{stem}-{hashlib.sha256(chr(0).join([self.digest, *words]).encode()).hexdigest()[:10]}"


def follow(connection: Connection, job: str, reconnect: Any, *, as_json: bool) -> JobStatus:
    """Print a job's log as it is written, until it has ended; what became of it. Ctrl-C leaves the job alone."""
    screen = aside if as_json else console
    with _left_running(job):
        for line in jobs.follow(connection, job, reconnect=reconnect):
            screen.print(line, markup=False, style=None)
    with reconnect() as again:
        return jobs.status(again, job)


@contextmanager
def _left_running(job: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        aside.print(
            f"\nThe job {job} goes on: follow it with `nightreel follow-job`, end it with `nightreel kill-job`."
        )
        raise typer.Exit(130) from None


def finish(status: JobStatus, *, name: str, job: str, as_json: bool, also: Mapping[str, Any] | None = None) -> None:
    """Say how a job stands; exits with the job's own code, and with 1 when it left none."""
    if as_json:
        print_json(
            {"name": name, "job": job, "state": str(status.state), "exit_code": status.exit_code, **(also or {})}
        )
    elif status.state is JobState.LOST:
        aside.print(f"The job {job} is gone and left no exit code: its machine ran out of memory, or it was killed.")
    elif status.exit_code:
        aside.print(f"The job {job} ended with exit code {status.exit_code}.")
    else:
        aside.print(f"The job {job} {'runs' if status.state is JobState.RUNNING else 'ended well'}.")
    if status.state in (JobState.LOST, JobState.FAILED):
        raise typer.Exit(status.exit_code or 1)


def follow_job(name: Name, job: JobName, *, access: Access, as_json: AsJson = False) -> None:
    """Print a job's log from its start until the job has ended, and end with its exit code."""
    ec2 = access.ec2()
    master = lifecycle.find(ec2, name).master
    _, connect = access.reach(ec2, name)
    with connect(master) as connection:
        status = follow(connection, job, lambda: connect(lifecycle.find(ec2, name).master), as_json=as_json)
    finish(status, name=name, job=job, as_json=as_json)


def kill_job(name: Name, job: JobName, *, access: Access, as_json: AsJson = False, yes: Yes = False) -> None:
    """End a job with everything that it started. Nothing happens when it is over."""
    confirm(f"End the job {job} on {name}?", yes=yes)
    ec2 = access.ec2()
    master = lifecycle.find(ec2, name).master
    _, connect = access.reach(ec2, name)
    with connect(master) as connection:
        jobs.status(connection, job)  # a mistyped name is an error
        jobs.kill(connection, job)
        status = jobs.status(connection, job)
    if as_json:
        print_json({"name": name, "job": job, "state": str(status.state), "exit_code": status.exit_code})
        return
    console.print(f"The job {job} is over: {status.state}.")


def list_jobs(name: Name, *, access: Access, as_json: AsJson = False) -> None:
    """List the jobs that were submitted on the cluster."""
    ec2 = access.ec2()
    master = lifecycle.find(ec2, name).master
    _, connect = access.reach(ec2, name)
    with connect(master) as connection:
        found = jobs.list_jobs(connection)
    if as_json:
        listed = [
            {
                "job": one.name,
                "state": str(one.status.state),
                "exit_code": one.status.exit_code,
                "submitted": one.submitted.isoformat(),
            }
            for one in found
        ]
        print_json({"name": name, "jobs": listed})
        return
    table = Table("job", "state", "exit code", "submitted")
    for one in found:
        code = "" if one.status.exit_code is None else str(one.status.exit_code)
        table.add_row(one.name, str(one.status.state), code, f"{one.submitted:%Y-%m-%d %H:%M:%S} UTC")
    console.print(table)
