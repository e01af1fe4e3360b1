"""A database of an earlier release, brought up to this one, serves the same model and has the same ratings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.made_bundles import IDS, MOVIES, make_bundle
from tests.web.postgres import Postgres, programs, running_postgres

ROOT = Path(__file__).resolve().parents[2]
EARLIER = ["0001_initial", "0002_tokens_and_refusals", "0010_visitor_side"]
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    if programs() is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return ""
    name = "".join(letter for letter in request.node.name if letter.isalnum())[-50:].lower()
    return str(request.getfixturevalue("postgres").create(name))


def manage(url: str, folder: Path, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NIGHTREEL_SITE", "DJANGO"))}
    environment |= {
        "DATABASE_URL": url,
        "NIGHTREEL_SITE_DEBUG": "1",
        "NIGHTREEL_SITE_DATA": str(folder),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, str(ROOT / "web" / "manage.py"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("earlier", EARLIER)
def test_a_database_of_an_earlier_release_serves_on(url: str, tmp_path: Path, earlier: str) -> None:
    made = make_bundle(tmp_path / "model.arrow")
    bundle = (tmp_path / "model.arrow").rename(tmp_path / f"{made.sha256}.arrow")
    site = tmp_path / "site"
    manage(url, site, "migrate", "--verbosity=0", "recommender", earlier)
    manage(url, site, "shell", "--no-imports", "-c", _call(f"fill({earlier!r}, Path({str(bundle)!r}))"))
    manage(url, site, "migrate", "--verbosity=0")
    facts = json.loads(manage(url, site, "shell", "--no-imports", "-c", _call("tell()")).splitlines()[-1])
    first = IDS[MOVIES[0][0]]
    assert facts == {
        "model": made.sha256,
        "found": ["Aladdin (1992)", "Aladdin and the King of Thieves (1996)"],
        "ratings": [[first, 4]] if earlier >= "0010" else [],
    }


def _call(what: str) -> str:
    return f"from pathlib import Path\nfrom tests.deploy.as_it_was import fill, tell\n{what}"
