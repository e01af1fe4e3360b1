"""Make a Spark cluster of machines that run: every node at the same time, and without those that can not."""

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nightreel.cluster import bootstrap, spark
from nightreel.cluster.bootstrap import Payload, Runtime
from nightreel.cluster.ec2 import Node, machine_size, translated
from nightreel.cluster.errors import BootstrapError, ClusterError, HostKeyError, RefusedError
from nightreel.cluster.host_keys import adopt_own_key
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.logs import console_output
from nightreel.cluster.relay import Relay
from nightreel.cluster.spark import Settings, WorkerSize
from nightreel.cluster.ssh import Connect, Connection, attempt_on_all, await_connection

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

log = logging.getLogger(__name__)

BOOT_TIMEOUT = 300.0
REGISTRATION_GRACE = 60.0
"""How long the last workers may take to register once enough are alive; seconds. Usual are 2 to 20."""
MASTER_START = 60.0
"""A Java process that starts gets this long to answer, however soon nodes are given up; seconds."""
_CONSOLE_LINES = 15


@dataclass(frozen=True)
class Cluster:
    """The live nodes of a cluster."""

    name: str
    run: str
    master: Node
    workers: tuple[Node, ...]

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The master, then the workers."""
        return (self.master, *self.workers)


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What bootstrap puts on every node."""

    runtime: Runtime
    payload: Payload
    required_workers: int
    """With fewer workers alive the bootstrap has failed."""
    timeout: float = BOOT_TIMEOUT
    """For a node to let us in, and for the workers to register; seconds."""


def worker_size(ec2: "EC2Client", instance_type: str) -> WorkerSize:
    """What Spark gets of a machine of this type; RefusedError, before anything is paid for, when it is too small."""
    vcpus, memory = machine_size(ec2, instance_type)
    try:
        return WorkerSize.of_machine(vcpus=vcpus, memory=memory)
    except ValueError as error:
        raise RefusedError(f"{instance_type} can not be used: {error}") from error


class Formation:
    """One bootstrap of one cluster."""

    def __init__(
        self, ec2: "EC2Client", cluster: Cluster, *, connect: Connect, keys: KeyRing, preparation: Preparation
    ) -> None:
        self._ec2 = ec2
        self._cluster = cluster
        self._connect = connect
        self._preparation = preparation
        self._sizes = {kind: worker_size(ec2, kind) for kind in {node.instance_type for node in cluster.nodes}}
        driver = self._sizes[cluster.master.instance_type]
        workers = [self._sizes[node.instance_type] for node in cluster.workers]
        self._settings = Settings(
            master_ip=cluster.master.private_ip,
            secret=keys.spark_secret(),
            driver=driver,
            executor=min(workers, key=lambda size: size.memory, default=driver),
        )
        self._relay = Relay(master_ip=cluster.master.private_ip, ship=bootstrap.ship)
        self._master_done = threading.Event()
        self._master_answers = False

    def form(self) -> Cluster:
        """See `lifecycle.bootstrap_spark`."""
        nodes = self._cluster.nodes
        outcomes = attempt_on_all(nodes, self._form_node)
        failures = {
            node.instance_id: outcome
            for node, outcome in zip(nodes, outcomes, strict=True)
            if isinstance(outcome, Exception)
        }
        self._require_trust_and_master(failures)
        formed = [outcome for outcome in outcomes if isinstance(outcome, Node)]
        master, *workers = formed
        alive = self._await_registration(master, workers)
        lost = ClusterError("its worker is not among those that the master knows to be alive")
        failures |= {node.instance_id: lost for node in workers if node.private_ip not in alive}
        self._part_with(failures)
        kept = tuple(node for node in workers if node.instance_id not in failures)
        log.info("Spark is ready on %s: %d worker(s) alive", spark.master_url(master.private_ip), len(kept))
        return replace(self._cluster, master=master, workers=kept)

    def _form_node(self, node: Node) -> Node:
        """Prepare a node and start its daemon: the node, with the host key that it is known by from now on."""
        try:
            with await_connection(self._connect, node, timeout=self._preparation.timeout) as connection:
                self._prepare(connection, node)
                if node.role == "master":
                    spark.start_master(
                        connection,
                        node_ip=node.private_ip,
                        runtime=self._preparation.runtime,
                        timeout=max(MASTER_START, self._preparation.timeout),
                    )
                    self._master_answers = True
                    self._master_done.set()
                else:
                    self._start_worker(connection, node)
                key = adopt_own_key(self._ec2, node, connection, port=connection.port)
        finally:
            if node.role == "master":
                self._relay.close()
                self._master_done.set()
        return replace(node, host_key=key)

    def _prepare(self, connection: Connection, node: Node) -> None:
        runtime = self._preparation.runtime
        java_home = bootstrap.prepare(
            connection,
            runtime=runtime,
            payload=self._preparation.payload,
            ship_software=self._relay.to_master if node.role == "master" else self._relay.to_worker,
        )
        if node.role == "master":
            self._relay.close()
        spark.configure(
            connection, node_ip=node.private_ip, settings=self._settings, runtime=runtime, java_home=java_home
        )
        log.info("%s (%s) is prepared", node.address, node.role)

    def _start_worker(self, connection: Connection, node: Node) -> None:
        # A worker that is started before the master answers takes 18 s to register instead of 4.
        self._master_done.wait()
        if not self._master_answers:
            raise ClusterError("not started, since the master failed")
        spark.start_worker(
            connection,
            node_ip=node.private_ip,
            master_ip=self._settings.master_ip,
            size=self._sizes[node.instance_type],
            runtime=self._preparation.runtime,
        )

    def _require_trust_and_master(self, failures: dict[str, Exception]) -> None:
        """A host that is not the one that it should be ends everything, and so does a master that failed."""
        for error in failures.values():
            if isinstance(error, HostKeyError):
                raise error
        master = self._cluster.master
        if failure := failures.get(master.instance_id):
            raise BootstrapError(self._report(master, failure)) from failure

    def _await_registration(self, master: Node, workers: Iterable[Node]) -> set[str]:
        """Addresses of the workers that are alive by the master's word, once all are or the time is over."""
        expected = {node.private_ip for node in workers}
        if len(expected) < self._preparation.required_workers:
            return set()  # it can not succeed any more
        deadline = time.monotonic() + self._preparation.timeout
        enough_since: float | None = None
        with self._connect(master) as connection:
            if self._relay.used:
                self._relay.end(connection)
            while True:
                alive = expected & set(spark.alive_workers(spark.read_state(connection, master.private_ip)))
                now = time.monotonic()
                if len(alive) >= self._preparation.required_workers:
                    enough_since = enough_since or now
                grace_over = enough_since is not None and now > enough_since + REGISTRATION_GRACE
                if alive == expected or grace_over or now > deadline:
                    return alive
                time.sleep(0.3)

    def _part_with(self, failures: dict[str, Exception]) -> None:
        """Terminate workers that failed; BootstrapError when without them there are too few."""
        failed = [node for node in self._cluster.workers if node.instance_id in failures]
        if not failed and len(self._cluster.workers) >= self._preparation.required_workers:
            return
        reports = "\n".join(self._report(node, failures[node.instance_id]) for node in failed)
        good, required = len(self._cluster.workers) - len(failed), self._preparation.required_workers
        if good < required:
            raise BootstrapError(f"{good} of {required} workers are alive\n{reports}".strip())
        log.error(
            "%d worker(s) failed and are terminated, since %d others are alive and %d are required:\n%s",
            len(failed),
            good,
            required,
            reports,
        )
        with translated(f"terminate the workers of {self._cluster.name} that failed"):
            self._ec2.terminate_instances(InstanceIds=[node.instance_id for node in failed])

    def _report(self, node: Node, error: Exception) -> str:
        """What went wrong on a node, with the ends of its own log and of its console."""
        parts = [f"{node.role} {node.instance_id} ({node.address}): {error or type(error).__name__}"]
        try:
            with self._connect(node) as connection:
                parts.append(f"the end of its {node.role}'s log:\n{spark.log_end(connection, node.role).strip()}")
        except Exception as lost:  # the report is about another failure
            parts.append(f"its log can not be had: {lost or type(lost).__name__}")
        try:
            lines = console_output(self._ec2, node.instance_id).strip().splitlines()[-_CONSOLE_LINES:]
            parts.append("the end of its console output:\n" + "\n".join(lines or ["(EC2 has none yet)"]))
        except ClusterError as lost:
            parts.append(str(lost))
        return "\n".join(parts)
