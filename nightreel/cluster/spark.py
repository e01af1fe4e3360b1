"""Spark standalone on the nodes: configuration, daemons, readiness."""

import json
import shlex
import time
from dataclasses import dataclass
from typing import Any

from nightreel.cluster.bootstrap import ROOT, Runtime
from nightreel.cluster.errors import BootstrapError, ClusterError
from nightreel.cluster.ssh import Connection, quote

MASTER_PORT = 7077
MASTER_UI_PORT = 8080
_WORKER_PORT = 7078
_WORKER_UI_PORT = 8081
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
        """Java heap of the one executor of a worker, in MiB; also the driver's."""
        return int(self.memory * _HEAP_SHARE)


def master_url(master_ip: str) -> str:
    """The address that workers and drivers connect to."""
    return f"spark://{master_ip}:{MASTER_PORT}"


def configure(
    connection: Connection, *, node_ip: str, master_ip: str, secret: str, runtime: Runtime, size: WorkerSize
) -> None:
    """Write Spark's configuration on a node. It holds the cluster's secret, so only the login user may read it."""
    home = connection.run('printf %s "$HOME"').output
    env, defaults = _environment(home, node_ip, runtime), _defaults(home, master_ip, secret, runtime, size)
    for name, text in (("spark-env.sh", env), ("spark-defaults.conf", defaults)):
        connection.upload(text.encode(), ROOT / "conf" / name)
    connection.run(f"chmod 600 {ROOT}/conf/spark-env.sh {ROOT}/conf/spark-defaults.conf")


def _expand(path: str, home: str) -> str:
    return home + path[1:] if path.startswith("~/") else path


def _environment(home: str, node_ip: str, runtime: Runtime) -> str:
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
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())


def _defaults(home: str, master_ip: str, secret: str, runtime: Runtime, size: WorkerSize) -> str:
    settings: dict[str, Any] = {
        "spark.master": master_url(master_ip),
        "spark.driver.host": master_ip,
        "spark.driver.bindAddress": master_ip,
        "spark.driver.memory": f"{size.heap}m",
        "spark.executor.memory": f"{size.heap}m",
        "spark.pyspark.python": _expand(runtime.python, home),
        "spark.authenticate": "true",
        "spark.authenticate.secret": secret,
        "spark.network.crypto.enabled": "true",
        # On by default since Spark 4.1, and it takes a driver from anyone whatever spark.authenticate says.
        "spark.master.rest.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items())


def start_master(connection: Connection, *, node_ip: str, runtime: Runtime) -> None:
    """Start the master unless it runs, and wait until it answers: a worker that comes earlier waits 18 s."""
    command = (
        f"org.apache.spark.deploy.master.Master --host {node_ip} --port {MASTER_PORT} --webui-port {MASTER_UI_PORT}"
    )
    _start_daemon(connection, "master", command, runtime)
    deadline = time.monotonic() + 60
    while read_state(connection, node_ip) is None:
        if time.monotonic() > deadline:
            raise BootstrapError(
                f"{connection.host}: the Spark master does not answer:\n{log_end(connection, 'master')}"
            )
        time.sleep(0.2)


def start_worker(connection: Connection, *, node_ip: str, master_ip: str, size: WorkerSize, runtime: Runtime) -> None:
    """Start the worker unless it runs."""
    command = (
        f"org.apache.spark.deploy.worker.Worker --host {node_ip} --port {_WORKER_PORT} "
        f"--webui-port {_WORKER_UI_PORT} --cores {size.cores} --memory {size.memory}M {master_url(master_ip)}"
    )
    _start_daemon(connection, "worker", command, runtime)


def _start_daemon(connection: Connection, name: str, command: str, runtime: Runtime) -> None:
    # The pid file is written by the process that becomes the daemon; flock makes two starters take turns.
    script = f"""
        cd {ROOT} || exit 1
        exec 9>{name}.lock; flock 9
        wanted={shlex.quote(command)}
        if [ -s {name}.pid ] && kill -0 "$(cat {name}.pid)" 2>/dev/null; then
            [ "$(cat {name}.command)" = "$wanted" ] && exit 0
            kill "$(cat {name}.pid)"  # it belongs to a master that was replaced
            for _ in $(seq 100); do kill -0 "$(cat {name}.pid)" 2>/dev/null || break; sleep 0.1; done
        fi
        rm -f {name}.pid; printf %s "$wanted" > {name}.command
        export SPARK_CONF_DIR="$PWD/conf"; . conf/spark-env.sh
        setsid nohup sh -c 'echo $$ > {name}.pid; exec {quote(runtime.spark_home)}/bin/spark-class {command}' \\
            >logs/{name}.log 2>&1 </dev/null 9>&- &
        for _ in $(seq 100); do [ -s {name}.pid ] && exit 0; sleep 0.05; done
        echo "the {name} did not start"; exit 1"""
    connection.run(script)


def read_state(connection: Connection, master_ip: str) -> dict[str, Any] | None:
    """What the master says of itself (its /json/ page), asked on the master; None while it does not answer."""
    answer = connection.run(f"curl -fsS --max-time 5 http://{master_ip}:{MASTER_UI_PORT}/json/", check=False)
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


def await_workers(connection: Connection, *, master_ip: str, count: int, timeout: float) -> list[str]:
    """Wait until `count` workers are alive; their addresses. ClusterError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while len(alive := alive_workers(read_state(connection, master_ip))) < count:
        if time.monotonic() > deadline:
            raise ClusterError(f"{len(alive)} of {count} workers are alive after {timeout:.0f} s: {sorted(alive)}")
        time.sleep(0.3)
    return alive


def log_end(connection: Connection, name: str, *, lines: int = 20) -> str:
    """The last lines of a daemon's log on its node."""
    return connection.run(f"tail -n {lines} {ROOT}/logs/{name}.log", check=False).output
