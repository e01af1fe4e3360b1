"""Send a bundle to the site and make it the one that is served."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from nightreel.bundle.errors import BundleError, PublishError, PublishRefusedError
from nightreel.bundle.reader import sha256_of, validate_bundle
from nightreel.bundle.reports import report_path
from nightreel.bundle.schema import BundleMetadata

CONTENT_TYPE = "application/vnd.apache.arrow.file"
TIMEOUT = httpx.Timeout(120, connect=10)


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What the site serves now, what it served before, and whether the upload was new to it."""

    sha256: str
    run_id: str
    movies: int
    previous: str | None
    uploaded: bool


def publish(path: str | os.PathLike[str], *, server: str, token: str) -> Publication:
    """Upload a bundle under its digest, then activate it; repeating it is harmless.

    A report beside the bundle (model.report.html beside model.arrow) goes along, after the model serves: it is for
    people to read and must not keep a good model waiting. BundleError when the file is no valid bundle (nothing is
    sent), PublishError when the site says no.
    """
    source = Path(path)
    validate_bundle(source)
    digest = sha256_of(source)
    with httpx.Client(
        base_url=server.rstrip("/"), headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT
    ) as site:
        stored = _upload(site, source, digest)
        active = _answer(site, "POST", f"/api/v1/bundles/{digest}/activate")
        report = report_path(source)
        if report.is_file():
            _send_report(site, report, digest)
    return Publication(
        sha256=digest,
        run_id=str(stored.json().get("run_id", "")),
        movies=int(stored.json().get("movies", 0)),
        previous=active.json().get("previous"),
        uploaded=stored.status_code == httpx.codes.CREATED,
    )


def fetch_published(*, server: str) -> BundleMetadata | None:
    """The metadata of the bundle that the site serves, None while it serves none; PublishError otherwise."""
    with httpx.Client(base_url=server.rstrip("/"), timeout=TIMEOUT) as site:
        answer = _ask(site, "GET", "/api/v1/model")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        content = _checked(answer).json().get("metadata")
    try:
        return BundleMetadata.from_mapping(content)
    except BundleError as error:
        raise PublishError(f"{server} serves a model whose metadata we can not read: {error}") from error


def _upload(site: httpx.Client, source: Path, digest: str) -> httpx.Response:
    headers = {
        "Content-Type": CONTENT_TYPE,
        "Content-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(digest)).decode()}:",
    }
    with source.open("rb") as body:  # streamed, with the length that httpx reads off the file
        return _answer(site, "PUT", f"/api/v1/bundles/{digest}", content=body, headers=headers)


def _send_report(site: httpx.Client, report: Path, digest: str) -> None:
    url = f"/api/v1/bundles/{digest}/report"
    with report.open("rb") as body:
        answer = _ask(site, "PUT", url, content=body, headers={"Content-Type": "text/html; charset=utf-8"})
    if not answer.is_success:
        raise PublishError(
            f"the model serves, but the site refused its report with {answer.status_code}: {_detail(answer)}"
        )


def _answer(site: httpx.Client, method: str, url: str, **request: Any) -> httpx.Response:
    """Return a good JSON answer; PublishError otherwise."""
    return _checked(_ask(site, method, url, **request))


def _ask(site: httpx.Client, method: str, url: str, **request: Any) -> httpx.Response:
    """Return whatever the site answers; PublishError when it does not."""
    try:
        return site.request(method, url, **request)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise PublishError(f"{site.base_url} did not answer {method} {url}: {error or type(error).__name__}") from error


def _checked(response: httpx.Response) -> httpx.Response:
    asked = f"{response.request.method} {response.request.url}"
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise PublishRefusedError(
            f"the site refused the token of {asked} ({response.status_code}): {_detail(response)} (give the site's "
            "current token to whoever publishes, then publish again: nothing has to be trained anew)"
        )
    if not response.is_success:
        raise PublishError(f"the site refused {asked} with {response.status_code}: {_detail(response)}")
    if not isinstance(_json(response), dict):
        raise PublishError(f"{asked} was answered with something other than JSON: is it Nightreel's site?")
    return response


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _detail(response: httpx.Response) -> str:
    """Return the sentence of an RFC 9457 problem, or the start of whatever else came."""
    problem = _json(response)
    if isinstance(problem, dict):
        return str(problem.get("detail") or problem.get("title") or problem)
    return response.text[:200].strip() or response.reason_phrase
