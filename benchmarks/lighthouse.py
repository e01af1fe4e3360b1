"""Lighthouse on the site's pages, as a phone and as a desktop sees them.

    python -m benchmarks.lighthouse [--url http://127.0.0.1:8000] [--bundle FILE]

Each score is printed beside its goal of 100. Lighthouse comes from npm into build/lighthouse; Chromium must be
installed. Performance depends on the machine and what else it does: it is the best of --runs, and the others the worst.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from nightreel.bundle.publish import publish
from nightreel.cli.serve import bundle_folders, newest_bundle
from nightreel.local.services import Services
from nightreel.local.site import LocalSite

LIGHTHOUSE = "lighthouse@12.8.2"
FOLDER = Path(__file__).resolve().parents[1] / "build" / "lighthouse"
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
CHOOSE = (max, min, min, min)
FORMS: dict[str, list[str]] = {"phone": [], "desktop": ["--preset=desktop"]}
FLAGS = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage"


def main() -> int:
    """Print one line per page and form; 1 when a score is below 100, performance aside."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a site that runs already")
    parser.add_argument("--bundle", type=Path, help="the bundle to serve (default: the newest at hand)")
    parser.add_argument("--runs", type=int, default=1, help="how often each page is measured")
    options = parser.parse_args()
    lighthouse, chromium = installed_lighthouse(), shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("There is no Chromium: apt-get install chromium")
    below = 0
    with site(options) as url:
        print(f"{'page':<10}{'form':<9}" + "".join(f"{name:>16}" for name in CATEGORIES) + "   of 100 each")
        for name, path in pages(url).items():
            for form, extra in FORMS.items():
                reports = [measure(lighthouse, chromium, f"{url}{path}", extra) for _ in range(options.runs)]
                scores = [choose(scores_of(reports, name)) for name, choose in zip(CATEGORIES, CHOOSE, strict=True)]
                report = max(reports, key=lambda one: one["categories"]["performance"]["score"] or 0)
                print(f"{name:<10}{form:<9}" + "".join(f"{score:>16}" for score in scores), flush=True)
                below += sum(score < 100 for score in scores[1:])
                for complaint in complaints(report):
                    print(f"           {complaint}")
    return min(below, 1)


def scores_of(reports: list[dict[str, Any]], category: str) -> list[int]:
    """Return a category's score of each report."""
    return [round(100 * (report["categories"][category]["score"] or 0)) for report in reports]


def installed_lighthouse() -> Path:
    """Return the command, fetched from npm when it is not there yet."""
    command = FOLDER / "node_modules" / ".bin" / "lighthouse"
    if not command.exists():
        if shutil.which("npm") is None:
            sys.exit("There is no npm: apt-get install npm")
        FOLDER.mkdir(parents=True, exist_ok=True)
        print(f"Fetching {LIGHTHOUSE} from npm …")
        install = [
            "npm",
            "install",
            "--no-audit",
            "--no-fund",
            "--no-package-lock",
            "--prefix",
            str(FOLDER),
            LIGHTHOUSE,
        ]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    return command


@contextmanager
def site(options: argparse.Namespace) -> Iterator[str]:
    """Give the address of the running site, or of one that lives as long as the context."""
    if options.url:
        yield options.url.rstrip("/")
        return
    bundle = options.bundle or newest_bundle(bundle_folders())
    if bundle is None:
        sys.exit("No bundle is at hand: name one with --bundle, or run `make site` once, which trains a small one")
    with tempfile.TemporaryDirectory() as folder, Services() as services:
        running = LocalSite.on_free_port(Path(folder), preferred=0)
        running.start(services)
        publish(bundle, server=running.url, token=running.token)
        yield running.url


def pages(url: str) -> dict[str, str]:
    """Return the addresses to measure, with films that the site knows."""
    films = [httpx.get(f"{url}/suggest", params={"q": title}).json()["films"][0]["id"] for title in ("star", "king")]
    return {
        "start": "/",
        "results": f"/?seed={films[0]}:5&seed={films[1]}:4&taste=0.5",
        "film": f"/films/{films[0]}",
        "list": "/list",
        "privacy": "/privacy",
        "model": "/model/",
    }


def measure(lighthouse: Path, chromium: str, url: str, extra: list[str]) -> dict[str, Any]:
    """Return Lighthouse's report on one page."""
    command = [str(lighthouse), url, "--quiet", "--output=json", f"--chrome-flags={FLAGS}", *extra]
    command.append(f"--only-categories={','.join(CATEGORIES)}")
    environment = os.environ | {"CHROME_PATH": chromium}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=300)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def complaints(report: dict[str, Any]) -> list[str]:
    """Return what pulled a score down, most of it first, performance by its own metrics."""
    found = []
    for category in CATEGORIES:
        for reference in report["categories"][category]["auditRefs"]:
            audit = report["audits"][reference["id"]]
            if reference["weight"] and audit["score"] is not None and audit["score"] < 0.9:
                found.append((-reference["weight"], f"{category}: {audit['title']} {audit.get('displayValue', '')}"))
    return [text for _, text in sorted(found)]


if __name__ == "__main__":
    sys.exit(main())
