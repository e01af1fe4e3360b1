"""Spark standalone on the nodes: configuration, daemons, readiness."""

import json
import shlex
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from nightreel.cluster.bootstrap import ROOT, Runtime
from nightreel.cluster.ec2 import Node
from nightreel.cluster.errors import BootstrapError
from nightreel.cluster.ssh import Connect, Connection, on_all, quote

MASTER_PORT = 7077
MASTER_UI_PORT = 8080
_WORKER_PORT = 7078
_WORKER_UI_PORT = 8081
_NO_SUCH_COMMAND = 127  # the shell's word for it, by POSIX
# What Spark's own default leaves to the operating system (spark-standalone docs: total memory minus 1 GiB).
_SYSTEM_MIB = 1024
# The rest of a worker is for what lies outside of the JVM's heap: Python workers and Arrow buffers.
_HEAP_SHARE = 0.7


@dataclass(frozen=True)
class WorkerSize:
    """What a worker offers: whole cores, and memory in MiB."""

    cores: int
    memory: int

    @classmethod
    def of_machine(cls, *, vcpus: int, memory: int) -> "WorkerSize":
        """The share of a machine with `memory` MiB that Spark gets; ValueError when the machine is too small."""
        if memory < 2 * _SYSTEM_MIB:
            raise ValueError(f"a machine with {memory} MiB is too small for Spark: use one with 4 GiB or more")
        return cls(cores=vcpus, memory=memory - _SYSTEM_MIB)

    @property
    def heap(self) -> int:
        """Java heap of the one executor of a worker, or of the driver on a master of this size, in MiB."""
        return int(self.memory * _HEAP_SHARE)


def master_url(master_ip: str) -> str:
    """The address that workers and drivers connect to."""
    return f"spark://{master_ip}:{MASTER_PORT}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What Spark is told, the same on every node of a cluster."""

    master_ip: str
    secret: str
    driver: WorkerSize
    """The master's size: the driver lives there."""
    executor: WorkerSize
    """The smallest worker's size: Spark gives all executors the same memory."""


def configure(
    connection: Connection, *, node_ip: str, settings: Settings, runtime: Runtime, java_home: str | None = None
) -> None:
    """Write Spark's configuration on a node. It holds the cluster's secret, so only the login user may read it.

    `java_home` is where Java lies when the node's `java` is missing or another one.
    """
    home = connection.run('printf %s "$HOME"').output
    env, defaults = _environment(home, node_ip, runtime, java_home), _defaults(home, settings, runtime)
    for name, text in (("spark-env.sh", env), ("spark-defaults.conf", defaults)):
        connection.upload(text.encode(), ROOT / "conf" / name)
    connection.run(f"chmod 600 {ROOT}/conf/spark-env.sh {ROOT}/conf/spark-defaults.conf")


def _expand(path: str, home: str) -> str:
    return home + path[1:] if path.startswith("~/") else path


def _environment(home: str, node_ip: str, runtime: Runtime, java_home: str | None) -> str:
    below = f"{home}/{ROOT}"
    python = _expand(runtime.python, home)
    settings = {
        "SPARK_HOME": _expand(runtime.spark_home, home),
        "SPARK_LOCAL_IP": node_ip,
        "SPARK_PUBLIC_DNS": node_ip,
        "SPARK_LOG_DIR": f"{below}/logs",
        "SPARK_WORKER_DIR": f"{below}/work",
        "SPARK_LOCAL_DIRS": f"{below}/local",
        "PYSPARK_PYTHON": python,
        "PYSPARK_DRIVER_PYTHON": python,
        "SPARK_DAEMON_MEMORY": "512m",
        # The daemons do next to nothing: the plainest collector and compiler start fastest and stay smallest.
        "SPARK_DAEMON_JAVA_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData",
    }
    if java_home:
        settings["JAVA_HOME"] = java_home
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())


def _defaults(home: str, settings: Settings, runtime: Runtime) -> str:
    lines: dict[str, Any] = {
        "spark.master": master_url(settings.master_ip),
        "spark.driver.host": settings.master_ip,
        "spark.driver.bindAddress": settings.master_ip,
        "spark.driver.memory": f"{settings.driver.heap}m",
        "spark.executor.memory": f"{settings.executor.heap}m",
        "spark.pyspark.python": _expand(runtime.python, home),
        # A task carries the history of what it works on, which is taken apart by recursion: after ten rounds of an
        # iterative job Java's usual stack of 1 MiB can be too small.
        "spark.driver.extraJavaOptions": "-Xss16m",
        "spark.executor.extraJavaOptions": "-Xss16m",
        "spark.authenticate": "true",
        "spark.authenticate.secret": settings.secret,
        "spark.network.crypto.enabled": "true",
        # On by default since Spark 4.1, and it takes a driver from anyone whatever spark.authenticate says.
        "spark.master.rest.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def start_master(connection: Connection, *, node_ip: str, runtime: Runtime, timeout: float = 300) -> None:
    """Start the master unless it runs, and wait until it answers: a worker that comes earlier waits 18 s.

    Raises BootstrapError after `timeout` seconds.
    """
    command = (
        f"org.apache.spark.deploy.master.Master --host {node_ip} --port {MASTER_PORT} --webui-port {MASTER_UI_PORT}"
    )
    _start_daemon(connection, "master", command, runtime)
    deadline = time.monotonic() + timeout
    while read_state(connection, node_ip) is None:
        if time.monotonic() > deadline:
            raise BootstrapError(f"the Spark master has not answered for {timeout:.0f} s")
        time.sleep(0.2)


def start_worker(connection: Connection, *, node_ip: str, master_ip: str, size: WorkerSize, runtime: Runtime) -> None:
    """Start the worker unless it runs."""
    command = (
        f"org.apache.spark.deploy.worker.Worker --host {node_ip} --port {_WORKER_PORT} "
        f"--webui-port {_WORKER_UI_PORT} --cores {size.cores} --memory {size.memory}M {master_url(master_ip)}"
    )
    _start_daemon(connection, "worker", command, runtime)


def _start_daemon(connection: Connection, name: str, command: str, runtime: Runtime) -> None:
    # The pid file is written by the process that becomes the daemon; flock makes two starters take turns. A daemon
    # that runs with another command or another configuration belongs to what was there before, and is replaced.
    script = f"""
        cd {ROOT} || exit 1
        exec 9>{name}.lock; flock 9
        {_DAEMON_FUNCTIONS}
        wanted={shlex.quote(command)}" $({_DAEMON_SETTINGS} | sha256sum)"
        if runs {name}; then
            [ "$(cat {name}.command)" = "$wanted" ] && exit 0
            end {name}
        fi
        rm -f {name}.pid; printf %s "$wanted" > {name}.command
        export SPARK_CONF_DIR="$PWD/conf"; . conf/spark-env.sh
        setsid nohup sh -c 'echo $$ > {name}.pid; exec {quote(runtime.spark_home)}/bin/spark-class {command}' \\
            {command.partition(" ")[0]} >logs/{name}.log 2>&1 </dev/null 9>&- &
        for _ in $(seq 100); do [ -s {name}.pid ] && exit 0; sleep 0.05; done
        echo "the {name} did not start"; exit 1"""
    connection.run(script)


# What of the configuration a daemon reads. The rest is for applications, and no reason to disturb those that run.
_DAEMON_SETTINGS = (
    "{ cat conf/spark-env.sh; grep -E '^spark[.](authenticate|network|master[.]rest)' conf/spark-defaults.conf; }"
)

# A process id alone proves nothing: after a restart of the machine another process may have it, and be it the very
# shell that asks. So the class must be an argument of its own, from the first moment on.
_DAEMON_FUNCTIONS = """runs() {
            [ -s $1.pid ] && cat "/proc/$(cat $1.pid)/cmdline" 2>/dev/null | tr '\\0' '\\n' |
                grep -qxE "org[.]apache[.]spark[.]deploy[.]$1[.][A-Za-z]+"
        }
        end() {
            runs $1 || return 0
            pid=$(cat $1.pid)
            kill -TERM "$pid" 2>/dev/null
            for _ in $(seq 150); do runs $1 || return 0; sleep 0.1; done
            kill -KILL "$pid" 2>/dev/null
            for _ in $(seq 50); do runs $1 || return 0; sleep 0.1; done
            echo "the $1 (process $pid) can not be ended"; exit 1
        }"""


def stop_worker(connection: Connection) -> None:
    """End the worker of this node: politely, and by force after 15 s. Nothing happens when there is none.

    Its executors end with it; a running application goes on with those of other workers. Raises ClusterError when the
    process can not be ended.
    """
    _stop_daemon(connection, "worker")


def stop_master(connection: Connection) -> None:
    """End the master of this node in the same way. Its workers stay, and look for a master until they are ended."""
    _stop_daemon(connection, "master")


def stop_all(nodes: Iterable[Node], connect: Connect) -> None:
    """End Spark on all of these nodes at the same time, and leave the nodes as they are otherwise.

    Whatever runs on Spark fails. Safe to run again. Raises ClusterError, or what a node's connection raises.
    """

    def stop(node: Node) -> None:
        with connect(node) as connection:
            _stop_daemon(connection, "worker")
            _stop_daemon(connection, "master")

    on_all(nodes, stop)


def _stop_daemon(connection: Connection, name: str) -> None:
    connection.run(f"""
        cd {ROOT} 2>/dev/null || exit 0
        exec 9>{name}.lock; flock 9
        {_DAEMON_FUNCTIONS}
        end {name} && rm -f {name}.pid {name}.command""")


def daemon_runs(connection: Connection, name: Literal["master", "worker"]) -> bool:
    """Whether the daemon's process is there on this node; it may still be starting."""
    return (
        connection.run(f"cd {ROOT} 2>/dev/null || exit 1\n{_DAEMON_FUNCTIONS}\nruns {name}", check=False).exit_code == 0
    )


def read_state(connection: Connection, master_ip: str) -> dict[str, Any] | None:
    """What the master says of itself (its /json/ page), asked on the master; None while it does not answer.

    Raises BootstrapError when the node has nothing to ask it with, which no waiting mends.
    """
    answer = connection.run(f"curl -fsS --max-time 5 http://{master_ip}:{MASTER_UI_PORT}/json/", check=False)
    if answer.exit_code == _NO_SUCH_COMMAND:
        raise BootstrapError(
            f"{connection.host} has no curl, which Spark's master is asked with: install it on the node, or use an "
            "image that has it"
        )
    if answer.exit_code != 0:
        return None
    try:
        state: dict[str, Any] = json.loads(answer.output)
    except ValueError:
        return None
    return state


def alive_workers(state: dict[str, Any] | None) -> list[str]:
    """Addresses of the workers that are alive by the master's word."""
    return [worker["host"] for worker in (state or {}).get("workers", ()) if worker["state"] == "ALIVE"]


def log_end(connection: Connection, name: str, *, lines: int = 20) -> str:
    """The last lines of a daemon's log on its node."""
    return connection.run(f"tail -n {lines} {ROOT}/logs/{name}.log", check=False).output
