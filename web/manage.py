#!/usr/bin/env python
"""Django's command line for the site."""

import os
import sys

from django.core.management import execute_from_command_line

from config.environment import prepare_data_folder


def main() -> None:
    """Run a management command with the site's settings."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    prepare_data_folder()
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
