"""The site's settings with one more address, a view that does nothing: what the others are measured against."""

from config.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.site_urls"
