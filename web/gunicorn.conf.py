"""How the site is served: `gunicorn --config web/gunicorn.conf.py config.wsgi`; flags override what stands here."""

from pathlib import Path

chdir = str(Path(__file__).parent)
workers = 2
# Threads, because the time-out then watches the worker and not the request: a sync worker would be killed in the
# middle of an upload that takes longer than 30 seconds.
worker_class = "gthread"
threads = 4
control_socket_disable = True  # nothing here uses it, and it would lie in the home of whoever starts the site
