"""The site on PostgreSQL: what DATABASE_URL means, the migrations, and the same answers as on SQLite."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.database import database
from tests.web.postgres import Postgres, programs, running_postgres

ROOT = Path(__file__).resolve().parents[2]
ASKED_ALIKE = [f"tests/web/test_{name}.py" for name in ("search", "visitors", "publishing", "films", "model_pages")]
INDEXED = "EXPLAIN SELECT pk FROM (SELECT id AS pk, names FROM recommender_movie) AS m WHERE {}"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    if programs() is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    with running_postgres() as server:
        yield server


def _manage(url: str, folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "DATABASE_URL": url, "NIGHTREEL_SITE_DEBUG": "1", "NIGHTREEL_SITE_DATA": str(folder)}
    command = [sys.executable, str(ROOT / "web/manage.py"), *arguments]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def _ask(postgres: Postgres, name: str, sql: str) -> str:
    return postgres.run("psql", "-h", str(postgres.folder), "-U", "site", "-d", name, "-Atc", sql).stdout


def test_without_a_url_it_is_sqlite(tmp_path):
    assert database("", folder=tmp_path)["NAME"] == tmp_path / "db.sqlite3"


def test_a_url_is_taken_apart(tmp_path):
    found = database("postgresql://me:p%40ss@db:5433/site?sslmode=require", folder=tmp_path)
    named = [found[key] for key in ("USER", "PASSWORD", "HOST", "PORT", "NAME")]
    assert (named, found["OPTIONS"]["sslmode"]) == (["me", "p@ss", "db", "5433", "site"], "require")


@pytest.mark.parametrize(
    "url", ["mysql://me:hidden@db/site", "postgresql://me:hidden@db", "postgresql://me:hidden@db:x/s"]
)
def test_a_url_of_no_use_is_refused_without_its_password(tmp_path, url):
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL") as caught:
        database(url, folder=tmp_path)
    assert "hidden" not in str(caught.value)


def test_migrations_go_forward_back_and_forward_with_movies_in_the_table(postgres, tmp_path):
    url = postgres.create("moved")
    _manage(url, tmp_path, "migrate", "recommender", "0001")
    columns = "(dataset, movie_id, title, genres, search_key, rating_count)"
    _ask(postgres, "moved", f"INSERT INTO recommender_movie {columns} VALUES ('d', 1, 'Heat', '[]', 'heat', 5)")
    _manage(url, tmp_path, "migrate")
    _manage(url, tmp_path, "migrate", "recommender", "0010")
    _manage(url, tmp_path, "migrate")
    assert _ask(postgres, "moved", "SELECT names FROM recommender_movie").strip() == "|heat|"


def test_search_for_pieces_of_names_has_an_index(postgres, tmp_path):
    url = postgres.create("indexed")
    _manage(url, tmp_path, "migrate")
    plans = [
        _ask(postgres, "indexed", f"SET enable_seqscan = off; {INDEXED.format(condition)}")
        for condition in ("names::text LIKE '%matrix%'", "REPLACE(names, ' ', '')::text LIKE '%walle%'")
    ]
    assert ["movies_by_trigrams" in plans[0], "movies_by_trigrams_unspaced" in plans[1]] == [True, True]


@pytest.mark.timeout(600)
def test_the_tests_of_what_asks_the_database_pass_as_on_sqlite(postgres):
    environment = {**os.environ, "DATABASE_URL": postgres.create("asked")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *ASKED_ALIKE]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
