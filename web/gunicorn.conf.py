"""How the site is served: `gunicorn --config web/gunicorn.conf.py config.wsgi`; flags override what stands here."""

import gc
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

# Scoring takes a millisecond on one thread; more threads per request would only wait for each other.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
# The workers count into files of one folder, so that whichever is asked answers for all. It must be named before
# prometheus_client is imported, and be empty at the start.
_COUNTS = "PROMETHEUS_MULTIPROC_DIR"
_made = None if os.environ.get(_COUNTS) else tempfile.mkdtemp(prefix="nightreel-metrics-")
if _made:
    os.environ[_COUNTS] = _made

chdir = str(Path(__file__).parent)
workers = 2
# Threads, because the time-out then watches the worker and not the request: a sync worker would be killed in the
# middle of an upload that takes longer than 30 seconds.
worker_class = "gthread"
threads = 4
# The code is loaded once and shared by all workers; what is new comes in with a restart, not with SIGHUP.
preload_app = True
control_socket_disable = True  # nothing here uses it, and it would lie in the home of whoever starts the site


def when_ready(server: Any) -> None:
    """Leave what is loaded alone in every worker's garbage collection, or its pages would be copied one by one."""
    gc.collect()
    gc.freeze()


def child_exit(server: Any, worker: Any) -> None:
    """Forget the gauges of a worker that ended; its counts stay."""
    from prometheus_client import multiprocess  # noqa: PLC0415 (not before the folder is named)

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:
    """Remove the counts' folder when it was made here."""
    if _made:
        shutil.rmtree(_made, ignore_errors=True)
