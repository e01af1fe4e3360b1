from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import environment

WEB = Path(__file__).parents[2] / "web"


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in an environment in which only these variables of the site are set."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("NIGHTREEL_SITE", "DJANGO"))}
    site = {f"NIGHTREEL_SITE_{key}": value for key, value in variables.items()}
    python_path = os.pathsep.join([str(WEB), str(WEB.parent)])
    return subprocess.run(
        [sys.executable, *command],
        env=inherited | site | {"PYTHONPATH": python_path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_site_refuses_to_start_without_a_secret_key(tmp_path):
    done = run("-c", "import config.wsgi", DATA=str(tmp_path))
    assert done.returncode != 0
    assert "NIGHTREEL_SITE_SECRET_KEY is not set. Set it to" in done.stderr


def test_management_refuses_to_start_without_a_secret_key(tmp_path):
    done = run(str(WEB / "manage.py"), "check", DATA=str(tmp_path))
    assert done.returncode != 0
    assert "nightreel.E001" in done.stderr


def test_site_starts_in_debug_without_a_secret_key(tmp_path):
    done = run("-c", "import config.wsgi", DATA=str(tmp_path), DEBUG="1")
    assert done.returncode == 0, done.stderr


def test_deployment_checks_are_clean(tmp_path):
    production = {"SECRET_KEY": "".join(map(chr, range(48, 123))), "HOSTS": "movies.example", "TOKEN": "x" * 32}
    done = run(str(WEB / "manage.py"), "check", "--deploy", "--fail-level=INFO", DATA=str(tmp_path), **production)
    assert done.returncode == 0, done.stderr


def test_deployment_checks_warn_of_a_short_token(tmp_path):
    production = {"SECRET_KEY": "".join(map(chr, range(48, 123))), "HOSTS": "movies.example", "TOKEN": "short"}
    done = run(str(WEB / "manage.py"), "check", "--deploy", "--fail-level=WARNING", DATA=str(tmp_path), **production)
    assert "nightreel.W001" in done.stderr


def test_migrations_are_complete(tmp_path):
    done = run(str(WEB / "manage.py"), "makemigrations", "--check", "--dry-run", DATA=str(tmp_path), DEBUG="1")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("host", ["127.0.0.1", "127.77.0.2", "localhost", "site.localhost", "[::1]"])
def test_is_loopback(host):
    assert environment.is_loopback(host)


@pytest.mark.parametrize(
    "host", ["movies.example", "10.0.0.1", "*", ".example.org", "localhost.example.org", "0.0.0.0"]
)
def test_is_not_loopback(host):
    assert not environment.is_loopback(host)


@pytest.mark.parametrize(("word", "expected"), [("1", True), ("On", True), ("0", False), ("false", False), ("", True)])
def test_flag_reads_words(monkeypatch, word, expected):
    monkeypatch.setenv("NIGHTREEL_SITE_TLS", word)
    assert environment.flag("TLS", default=True) is expected


def test_flag_refuses_other_words(monkeypatch):
    monkeypatch.setenv("NIGHTREEL_SITE_TLS", "perhaps")
    with pytest.raises(ImproperlyConfigured, match="NIGHTREEL_SITE_TLS"):
        environment.flag("TLS", default=True)


def test_number_refuses_words(monkeypatch):
    monkeypatch.setenv("NIGHTREEL_SITE_MAX_BUNDLE_BYTES", "512M")
    with pytest.raises(ImproperlyConfigured, match="whole number"):
        environment.number("MAX_BUNDLE_BYTES", default=1)
