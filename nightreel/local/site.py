"""The site on this machine, served as in production but on loopback and plain HTTP."""

import secrets
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import httpx

from nightreel.local.services import Service, Services, answers, free_port

_WEB = Path(__file__).resolve().parents[2] / "web"


@dataclass(frozen=True, kw_only=True)
class LocalSite:
    """A site with a data folder, database and tokens of its own: one to upload, one to read visitors' ratings."""

    state: Path
    port: int
    workers: int = 2
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    export_token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @classmethod
    def on_free_port(cls, state: Path, *, preferred: int = 8000) -> "LocalSite":
        """A site on `preferred`, or on any port when that one is taken."""
        return cls(state=state, port=free_port(preferred))

    @property
    def url(self) -> str:
        """Where it is served."""
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def _environment(self) -> dict[str, str]:
        return {
            "NIGHTREEL_SITE_TOKEN": self.token,
            "NIGHTREEL_SITE_EXPORT_TOKEN": self.export_token,
            "NIGHTREEL_SITE_DATA": str(self.state),
            "NIGHTREEL_SITE_SECRET_KEY": secrets.token_urlsafe(50),
            "NIGHTREEL_SITE_HOSTS": "127.0.0.1,localhost",
        }

    def start(self, services: Services) -> None:
        """Make the database and serve; ServiceError when it does not come up."""
        self.state.mkdir(parents=True, exist_ok=True)
        services.run(self._service("migrate", [sys.executable, str(_WEB / "manage.py"), "migrate", "--verbosity", "0"]))
        gunicorn = [sys.executable, "-m", "gunicorn", "--chdir", str(_WEB), "--config", str(_WEB / "gunicorn.conf.py")]
        bind = ["--bind", f"127.0.0.1:{self.port}", "--workers", str(self.workers), "config.wsgi"]
        services.start(self._service("site", [*gunicorn, *bind]))
        services.await_true(lambda: answers(f"{self.url}/readyz"), what="the site", timeout=120)

    def _service(self, name: str, command: list[str]) -> Service:
        log = self.state / "logs" / f"{name}.log"
        return Service(name=name, command=command, log=log, environment=self._environment)

    def served_model(self) -> str | None:
        """The SHA-256 of the bundle that it serves; None when it serves none."""
        answer = httpx.get(f"{self.url}/api/v1/model", timeout=10, trust_env=False)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return str(answer.raise_for_status().json()["sha256"])
