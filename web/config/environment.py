"""What the site reads from its environment, each variable in one place."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

PREFIX = "NIGHTREEL_SITE_"
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
HALF_A_GIBIBYTE = 512 * 1024**2


def text(name: str, default: str = "") -> str:
    """Return NIGHTREEL_SITE_<name>, or what the file of NIGHTREEL_SITE_<name>_FILE holds, or the default."""
    return _given(PREFIX + name) or default


def database_url() -> str:
    """Return DATABASE_URL, or what the file of DATABASE_URL_FILE holds, or "" for SQLite."""
    return _given("DATABASE_URL")


def _given(variable: str) -> str:
    """Return a variable's value; the file that <variable>_FILE names stands in, for secrets that no process shows."""
    if value := os.environ.get(variable, "").strip():
        return value
    file = os.environ.get(f"{variable}_FILE", "").strip()
    try:
        return Path(file).read_text().strip() if file else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{variable}_FILE is {file!r}, which can not be read: {error}") from error


def flag(name: str, *, default: bool) -> bool:
    """Return a switch; ImproperlyConfigured for a word that is neither on nor off."""
    word = text(name, "on" if default else "off").lower()
    if word in {"1", "on", "true", "yes"}:
        return True
    if word in {"0", "off", "false", "no"}:
        return False
    raise ImproperlyConfigured(f"{PREFIX}{name} is {word!r}; set it to 1 or 0")


def number(name: str, *, default: int) -> int:
    """Return a whole number ≥ 0; ImproperlyConfigured for anything else."""
    digits = text(name, str(default))
    if not digits.isascii() or not digits.isdigit():
        raise ImproperlyConfigured(f"{PREFIX}{name} is {digits!r}; set it to a whole number")
    return int(digits)


def words(name: str, default: str = "") -> list[str]:
    """Return what stands between commas, without blanks around it."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def hosts() -> list[str]:
    """Return the host names that the site answers to, this machine's own by default."""
    return words("HOSTS", ",".join(LOOPBACK_HOSTS))


def is_loopback(host: str) -> bool:
    """Say whether a host name can only mean this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def data_folder() -> Path:
    """Return the folder of the database and the bundles."""
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return Path(text("DATA", str(home / "nightreel" / "site"))).expanduser().absolute()


def prepare_data_folder() -> None:
    """Make the data folder for this user alone, because SQLite makes its file but no folder."""
    data_folder().mkdir(mode=0o700, parents=True, exist_ok=True)


def token_sha256(name: str) -> str:
    """Return the SHA-256 of a token in hex, "" when there is none: the token itself is not kept."""
    token = text(name)
    return hashlib.sha256(token.encode()).hexdigest() if token else ""


def log_format(*, debug: bool) -> str:
    """Return how log lines look: "json" for machines, "text" for people, who are the default in debug."""
    word = text("LOG_FORMAT", "text" if debug else "json").lower()
    if word not in {"json", "text"}:
        raise ImproperlyConfigured(f"{PREFIX}LOG_FORMAT is {word!r}; set it to json or text")
    return word


def secret_key(*, debug: bool) -> str:
    """Return Django's secret key; in debug a fixed one stands in, else "" which `config.checks` refuses."""
    return text("SECRET_KEY", "insecure-and-only-for-development" if debug else "")
