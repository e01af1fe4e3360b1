"""The entry point for WSGI servers: `gunicorn --chdir web config.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

from config.checks import require_secret_key
from config.environment import prepare_data_folder

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
require_secret_key()
prepare_data_folder()
application = get_wsgi_application()
_ = get_resolver().url_patterns  # loads every view now: before workers fork, and before anybody waits for it
