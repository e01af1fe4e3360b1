"""The site's settings with one more address, a view that does nothing: what the others are measured against."""

from config.settings import *  # noqa: F403 (settings are what is in this module, so all of them come)

ROOT_URLCONF = "benchmarks.site_urls"
