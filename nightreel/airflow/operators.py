"""The steps of a run on the cluster, each a task that may be retried: thin, each calls one thing below."""

import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseOperatorLink, Context

import nightreel
from nightreel.airflow import links
from nightreel.airflow.assets import CLUSTER
from nightreel.airflow.collect import VISITORS
from nightreel.airflow.hooks import Reach
from nightreel.airflow.money import ESTIMATE, RECORD, meter, write_run_report
from nightreel.airflow.plan import RunPlan
from nightreel.airflow.storage import Bucket
from nightreel.bundle.provenance import code_revision
from nightreel.bundle.reports import report_path
from nightreel.cluster.errors import ClusterError, JobError, NoClusterError
from nightreel.cluster.packaging import zip_package
from nightreel.cluster.runtime import ROOT, Runtime

if TYPE_CHECKING:
    from nightreel.cluster.ec2 import Node
    from nightreel.cluster.jobs import JobStatus
    from nightreel.cluster.ssh import Connection

JOB = "train_similarity"
RESULT = ROOT / "result" / "similarity.arrow"
REMEDY = (
    "The cluster of this run is gone, and another try of this step would find none either: clear launch_cluster with "
    "everything downstream"
)
LOGS_SECONDS = 60.0
"""How long the end of a cluster may wait for its logs."""


class ClusterOperator(BaseOperator):
    """A step that works with the cluster of the run's plan."""

    template_fields: Sequence[str] = ("plan",)
    within_lifetime = True
    """Whether the cluster's life, which is fixed when the run begins, has to cover this step."""
    operator_extra_links: Collection[BaseOperatorLink] = (links.Ec2Console(),)

    def __init__(
        self,
        *,
        plan: Any,
        aws_conn_id: str = "nightreel_aws",
        ssh_conn_id: str = "nightreel_ssh",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.aws_conn_id = aws_conn_id
        self.ssh_conn_id = ssh_conn_id

    @cached_property
    def run_plan(self) -> RunPlan:
        """What `plan` fixed."""
        return RunPlan.from_json(self.plan)

    @cached_property
    def reach(self) -> Reach:
        """How AWS and the nodes are reached."""
        return Reach(self.aws_conn_id, self.ssh_conn_id, run=self.run_plan.cluster)

    @property
    def addresses(self) -> dict[str, str]:
        """Where the buttons on the task's page lead."""
        region = self.reach.region()
        return {links.Ec2Console.name: links.Ec2Console.of(self.run_plan.cluster, region=region)}

    def _meter(self, nodes: "Iterable[Node]") -> dict[str, Any]:
        """What the run's machines have cost; nothing known is no reason to fail."""
        try:
            found = meter(self.run_plan.folder, nodes, self.reach.prices(self.run_plan.prices))
        except Exception:
            self.log.exception("what %s has cost could not be noted", self.run_plan.cluster)
            return {}
        usd = "an unknown amount" if found["usd"] is None else f"${found['usd']:.4f}"
        self.log.info(
            "metered%s: %s for %d machine(s), %d machine seconds",
            "" if found["final"] else " so far", usd, found["machines"], found["machine_seconds"],
        )  # fmt: skip
        return found

    def _on_master[T](self, action: "Callable[[Connection], T]") -> T:
        """Do it on the cluster's master. NoClusterError, with what to clear, when the cluster is gone."""
        from nightreel.cluster import lifecycle

        with cluster_needed():
            return lifecycle.on_master(
                self.reach.ec2(), self.run_plan.cluster, connect=self.reach.connect, action=action
            )


@contextmanager
def cluster_needed() -> Iterator[None]:
    """Let a step that meets no cluster say what an operator of Airflow can do about it."""
    try:
        yield
    except NoClusterError as error:
        raise NoClusterError(f"{error}. {REMEDY}") from error


class LaunchCluster(ClusterOperator):
    """Launch the machines; those that are there already are adopted."""

    def execute(self, context: Context) -> dict[str, Any]:
        """What runs now: master's address and number of workers. Raises the cluster's errors."""
        from nightreel.cluster.launch import launch_machines

        links.show(self, context)
        spec = self.run_plan.spec(ssh_port=self.reach.ssh_port())
        image = self.reach.image_for(spec)
        cluster = launch_machines(self.reach.ec2(), spec, image=image, keys=self.reach.keys)
        return {"master": cluster.master.address, "workers": len(cluster.workers)}


class LearningOperator(ClusterOperator):
    """A step that works with what `collect_ratings` has found."""

    template_fields: Sequence[str] = ("plan", "collected")

    def __init__(self, *, collected: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.collected = collected

    @property
    def ratings(self) -> Path:
        """The folder of the base data, here."""
        return Path(self.collected["folder"])

    @property
    def visitors(self) -> Path | None:
        """The snapshot of the visitors' ratings, here. FileNotFoundError when a later night has removed it."""
        found = Path(self.collected["visitors"]) if self.collected["visitors"] else None
        if found and not found.is_file():
            raise FileNotFoundError(
                f"{found} is gone: a later night has removed it, for a visitor may have withdrawn since. Clear "
                "collect_ratings with everything downstream"
            )
        return found


class BootstrapSpark(LearningOperator):
    """Ship code and ratings to every node and start Spark."""

    def __init__(self, *, job_folder: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job_folder = job_folder

    def execute(self, context: Context) -> str:
        """The address of the Spark master, once all workers are alive. Raises BootstrapError."""
        from nightreel.cluster import lifecycle
        from nightreel.cluster.bootstrap import Payload
        from nightreel.recommend.layouts import find_layout

        plan = self.run_plan
        with tempfile.TemporaryDirectory() as scratch:
            code = zip_package(Path(nightreel.__file__).parent, Path(scratch) / "nightreel.zip")
            payload = Payload(
                {
                    code.name: code,
                    **{f"ratings/{name}": file for name, file in find_layout(self.ratings).files.items()},
                    **({VISITORS: self.visitors} if self.visitors else {}),
                    **Payload.below("spark_jobs", Path(self.job_folder), pattern="*.py"),
                }
            )
            preparation = lifecycle.Preparation(
                runtime=Runtime(wheelhouse=Path(plan.wheelhouse) if plan.wheelhouse else None),
                payload=payload,
                required_workers=plan.workers,
            )
            with cluster_needed():
                cluster = lifecycle.bootstrap_spark(
                    self.reach.ec2(),
                    plan.cluster,
                    connect=self.reach.connect,
                    keys=self.reach.keys,
                    preparation=preparation,
                )
        return cluster.master.private_ip


class TrainSimilarity(LearningOperator):
    """Submit the training job, or attach to it, and wait for it without holding a worker."""

    operator_extra_links = (links.Ec2Console(), links.SparkUi())

    def __init__(self, *, job_timeout: timedelta, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job_timeout = job_timeout

    def execute(self, context: Context) -> None:
        """Submit and defer. Raises ClusterError when there is no cluster to run on."""
        from nightreel.airflow.job_trigger import JobTrigger
        from nightreel.cluster import jobs

        def submit(connection: "Connection") -> bool:
            return jobs.submit_or_attach(connection, JOB, self._command(), runtime=Runtime())

        fresh = self._on_master(submit)
        self.log.info("%s the job %s on %s", "started" if fresh else "attached to", JOB, self.run_plan.cluster)
        links.show(self, context)
        self.log.info("Spark's pages, while the job runs: %s", links.SparkUi.tunnel(self.run_plan.cluster))
        self.defer(
            trigger=JobTrigger(
                cluster=self.run_plan.cluster,
                job=JOB,
                aws_conn_id=self.aws_conn_id,
                ssh_conn_id=self.ssh_conn_id,
                deadline=time.time() + self.job_timeout.total_seconds(),
            ),
            method_name="resume",
            # The trigger's own deadline comes first and says more; this one holds if it should hang.
            timeout=self.job_timeout + timedelta(minutes=2),
        )

    def resume(self, context: Context, event: dict[str, Any]) -> None:
        """Check how the job ended. Raises JobError with the end of its log."""
        from nightreel.cluster import jobs

        if event.get("gone"):
            raise NoClusterError(f"{event['error']}. {REMEDY}")
        if "error" in event:
            raise JobError(event["error"])

        def outcome(connection: "Connection") -> "tuple[JobStatus, str]":
            return jobs.status(connection, JOB), jobs.log_end(connection, JOB)

        status, log = self._on_master(outcome)
        jobs.require_success(status, JOB, log)
        self.log.info("the job ended well; the end of its log:\n%s", log)

    @property
    def addresses(self) -> dict[str, str]:
        """Where the buttons on the task's page lead."""
        return super().addresses | {links.SparkUi.name: links.SparkUi.here()}

    def on_kill(self) -> None:
        """The task was ended while it was submitting: end the job too."""
        from nightreel.cluster import jobs

        self._on_master(lambda connection: jobs.kill(connection, JOB))

    def _command(self) -> list[str]:
        from nightreel.cluster.bootstrap import PAYLOAD
        from nightreel.recommend.datasets import name_of
        from nightreel.recommend.layouts import find_layout

        payload = f"~/{PAYLOAD}"
        return [
            "--conf",
            "spark.log.level=ERROR",  # the job prints what an operator wants to read
            *(word for name, value in self.run_plan.spark.items() for word in ("--conf", f"{name}={value}")),
            "--py-files",
            f"{payload}/nightreel.zip",
            f"{payload}/spark_jobs/{JOB}.py",
            "--ratings",
            f"{payload}/ratings",
            "--out",
            f"~/{RESULT}",
            "--dataset",
            name_of(find_layout(self.ratings)),
            "--code-revision",
            code_revision(Path(nightreel.__file__).parent),
            *(("--visitors", f"{payload}/{VISITORS}") if self.collected["visitors"] else ()),
            *self.run_plan.arguments,
        ]


class FetchBundle(ClusterOperator):
    """Bring the bundle back and check it."""

    def execute(self, context: Context) -> str:
        """The bundle's SHA-256. Raises ClusterError for a damaged transfer, BundleError for an invalid bundle."""
        from nightreel.bundle.reader import sha256_of, validate_bundle
        from nightreel.cluster.ec2 import find_nodes

        target = Path(self.run_plan.bundle)

        def fetch(connection: "Connection") -> str:
            connection.download(RESULT, target)
            aside = RESULT.with_suffix(".rejected.csv")  # rows that are no ratings, where there are any
            target.with_suffix(".rejected.csv").unlink(missing_ok=True)
            if connection.run(f"test -e {aside} && echo there || true").output.strip():
                connection.download(aside, target.with_suffix(".rejected.csv"))
            return connection.run(f"sha256sum {RESULT}", timeout=300).output.split()[0]

        remote = self._on_master(fetch)
        local = sha256_of(target)
        if local != remote:
            raise ClusterError(f"the bundle arrived damaged: it is {remote} there and {local} here; try again")
        bundle = validate_bundle(target)
        self.log.info("fetched %s: %d movies, %d bytes, sha256 %s", target, len(bundle), target.stat().st_size, local)
        self._meter(find_nodes(self.reach.ec2(), self.run_plan.cluster))
        self.log.info("the report is %s", write_run_report(bundle, _estimate(context)))
        return local


def _estimate(context: Context) -> dict[str, Any] | None:
    """What was estimated before the launch."""
    found: dict[str, Any] | None = context["ti"].xcom_pull(task_ids="approve_cost", key=ESTIMATE)
    return found


class DestroyCluster(ClusterOperator):
    """Bring the logs home, remove everything of the run's cluster, found by its tag, and prove that nothing is left."""

    within_lifetime = False
    operator_extra_links = (links.Ec2Console(), links.LogArchive())

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(outlets=[CLUSTER], **kwargs)

    @property
    def addresses(self) -> dict[str, str]:
        """Where the buttons on the task's page lead."""
        archive = self._archive
        logs = {links.LogArchive.name: archive.console(self.reach.region())} if archive else {}
        return super().addresses | logs

    @property
    def _archive(self) -> Bucket | None:
        root, plan = self.run_plan.archive, self.run_plan
        return Bucket(f"{root.rstrip('/')}/{plan.cluster}", self.aws_conn_id) if root else None

    def execute(self, context: Context) -> dict[str, int]:
        """What is left by kind of resource: zeros. Raises LeakError, ClusterError."""
        from nightreel.cluster.destroy import destroy_cluster

        self._fetch_logs()
        done = destroy_cluster(self.reach.ec2(), self.run_plan.cluster)
        self.log.info("terminated %d instance(s); left: %s", done.instances, done.left)
        cost, estimate = self._meter(done.nodes), _estimate(context)
        self._complete_report(estimate)
        self._keep()
        context["outlet_events"][CLUSTER].extra = {
            "run": context["dag_run"].run_id,
            "cluster": self.run_plan.cluster,
            "left": {**done.left},
            "estimate": estimate,
            "cost": cost,
        }
        return done.left

    def _fetch_logs(self) -> None:
        """Into the run's folder, beside the bundle. No failure here may keep a machine alive."""
        from nightreel.cluster.logs import fetch_logs

        target = self.run_plan.folder / "logs"
        try:
            found = fetch_logs(
                self.reach.ec2(),
                self.run_plan.cluster,
                connect=self.reach.connect,
                target=target,
                seconds=LOGS_SECONDS,
            )
        except Exception:
            self.log.exception("the logs of %s could not be fetched", self.run_plan.cluster)
        else:
            self.log.info("fetched %d log file(s), %d bytes, into %s", found.files, found.size, target)

    def _complete_report(self, estimate: dict[str, Any] | None) -> None:
        """Put what the machines have cost in the end into the report, where a bundle was fetched."""
        from nightreel.bundle.reader import open_bundle

        if not Path(self.run_plan.bundle).is_file():
            return
        try:
            write_run_report(open_bundle(self.run_plan.bundle), estimate)
        except Exception:
            self.log.exception("the report could not be completed")

    def _keep(self) -> None:
        """Logs, report and cost in the bucket, where one is named; the cluster is gone, so it is no reason to fail."""
        archive, folder = self._archive, self.run_plan.folder
        if archive is None:
            return
        files = [*(folder / "logs").rglob("*"), folder / RECORD, report_path(Path(self.run_plan.bundle))]
        try:
            count = archive.upload(folder, [file for file in files if file.is_file()])
        except Exception:
            self.log.exception("logs and cost could not be kept in %s", archive.address)
        else:
            self.log.info("%d file(s) of logs, report and cost are kept in %s", count, archive.address)
