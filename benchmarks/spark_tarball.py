"""One Spark tarball for every launcher that is measured, made from the installed PySpark and served over HTTP.

PySpark's wheel is the Spark distribution but for a few start scripts. Launchers that expect Apache's archive get it
with stand-ins for those, which do what Apache's do for one master and its workers and wait no longer than those do.
"""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Whatever else is in the wheel (its Python modules, examples) is not in Apache's archive under these names.
_FOLDERS = ("bin", "jars", "python", "sbin")
_SCRIPTS = {
    "start-master.sh": """\
#!/usr/bin/env bash
export SPARK_HOME="${SPARK_HOME:-$(cd "$(dirname "$0")"/.. && pwd)}"
. "$SPARK_HOME/sbin/spark-config.sh"; . "$SPARK_HOME/bin/load-spark-env.sh"
exec "$SPARK_HOME/sbin/spark-daemon.sh" start org.apache.spark.deploy.master.Master 1 \\
    --host "${SPARK_MASTER_HOST:-$(hostname -f)}" --port "${SPARK_MASTER_PORT:-7077}" --webui-port 8080 "$@"
""",
    "start-worker.sh": """\
#!/usr/bin/env bash
export SPARK_HOME="${SPARK_HOME:-$(cd "$(dirname "$0")"/.. && pwd)}"
. "$SPARK_HOME/sbin/spark-config.sh"; . "$SPARK_HOME/bin/load-spark-env.sh"
master=$1; shift
exec "$SPARK_HOME/sbin/spark-daemon.sh" start org.apache.spark.deploy.worker.Worker 1 --webui-port 8081 "$master" "$@"
""",
    "workers.sh": """\
#!/usr/bin/env bash
export SPARK_HOME="${SPARK_HOME:-$(cd "$(dirname "$0")"/.. && pwd)}"
. "$SPARK_HOME/sbin/spark-config.sh"; . "$SPARK_HOME/bin/load-spark-env.sh"
list=$SPARK_CONF_DIR/workers; [ -f "$list" ] || list=$SPARK_CONF_DIR/slaves
for worker in $(sed 's/#.*$//; /^$/d' "$list"); do
    ssh ${SPARK_SSH_OPTS:--o StrictHostKeyChecking=no} "$worker" $"${@// /\\\\ }" 2>&1 | sed "s/^/$worker: /" &
done
wait
""",
    "start-workers.sh": """\
#!/usr/bin/env bash
export SPARK_HOME="${SPARK_HOME:-$(cd "$(dirname "$0")"/.. && pwd)}"
. "$SPARK_HOME/sbin/spark-config.sh"; . "$SPARK_HOME/bin/load-spark-env.sh"
master=spark://${SPARK_MASTER_HOST:-$(hostname -f)}:${SPARK_MASTER_PORT:-7077}
exec "$SPARK_HOME/sbin/workers.sh" cd "$SPARK_HOME" \\; "$SPARK_HOME/sbin/start-worker.sh" "$master"
""",
    "start-all.sh": """\
#!/usr/bin/env bash
export SPARK_HOME="${SPARK_HOME:-$(cd "$(dirname "$0")"/.. && pwd)}"
"$SPARK_HOME/sbin/start-master.sh"
"$SPARK_HOME/sbin/start-workers.sh"
""",
}


def spark_version() -> str:
    """The version of the installed PySpark, and so of the tarball."""
    return version("pyspark")


def make(folder: Path) -> Path:
    """The tarball below `folder`; it is made once for a version of Spark."""
    name = f"spark-{spark_version()}-bin-hadoop3"
    tarball = folder / f"{name}.tgz"
    if tarball.exists():
        return tarball
    folder.mkdir(parents=True, exist_ok=True)
    part = tarball.with_suffix(".part")
    # Jars are compressed already: a higher level takes minutes and saves next to nothing.
    with tarfile.open(part, "w:gz", compresslevel=1) as archive:
        for part_name in _FOLDERS:
            archive.add(_pyspark() / part_name, f"{name}/{part_name}", filter=_owned_by_nobody)
        for script, text in _SCRIPTS.items():
            entry = tarfile.TarInfo(f"{name}/sbin/{script}")
            entry.size, entry.mode = len(text.encode()), 0o755
            archive.addfile(entry, io.BytesIO(text.encode()))
    part.replace(tarball)
    return tarball


def _pyspark() -> Path:
    spec = find_spec("pyspark")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("pyspark is not installed beside the benchmark: make .venv with `make check`")
    return Path(spec.submodule_search_locations[0])


def _owned_by_nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if "__pycache__" in entry.name:
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    # The wheel's scripts lose their mode in some installers.
    if "/bin/" in entry.name or "/sbin/" in entry.name:
        entry.mode = 0o755
    return entry


def sha512(tarball: Path) -> str:
    """The tarball's digest, as Apache publishes it beside its own."""
    with tarball.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each request."""


@contextmanager
def served(folder: Path, *, address: str) -> Iterator[str]:
    """Serve the files of `folder` by HTTP on `address`, on any port; the URL of the folder."""
    with ThreadingHTTPServer((address, 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, name="tarball", daemon=True).start()
        try:
            yield f"http://{address}:{server.server_port}"
        finally:
            server.shutdown()
