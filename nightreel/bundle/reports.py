"""Where the report of a bundle lies."""

from pathlib import Path


def report_path(bundle: Path) -> Path:
    """Return the place of a bundle's report: beside it, whoever writes, sends or takes it in."""
    return bundle.with_suffix(".report.html")
