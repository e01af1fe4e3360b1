"""Ratings in S3: brought to this machine once, and again only when they changed there."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nightreel.recommend.layouts import README, SUPPORTED, DatasetError

_WANTED = {name for _, ratings, titles, *_ in SUPPORTED for name in (ratings, titles)} | {"links.csv", *README}
_STATE = ".objects.json"


def is_remote(place: str) -> bool:
    """Say whether a place of ratings is in S3 rather than on this machine."""
    return place.startswith("s3://")


def fetch_objects(client: Any, place: str, *, cache: Path) -> Path:
    """Return the local copy of `s3://bucket/key`, a file, or `s3://bucket/folder/`, of which what a layout needs.

    `client` is boto3's for S3. What is cached is taken when size and ETag are the same there still. DatasetError when
    nothing is there; the client's own errors when S3 can not be asked.
    """
    parts = urlsplit(place)
    bucket, key = parts.netloc, parts.path.lstrip("/")
    if not bucket:
        raise DatasetError(f"{place} names no bucket; expected s3://bucket/folder/ or s3://bucket/file.csv")
    found = _objects(client, bucket, key)
    if not found:
        raise DatasetError(f"there is nothing at {place} that could be ratings; expected a file or a folder of them")
    # The last part is the set's name, where no file of it says another.
    home = cache / "s3" / hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()[:16] / (Path(key).name or bucket)
    state = {name: [entry["Key"], entry["Size"], entry["ETag"]] for name, entry in found.items()}
    if not _is_current(home, state):
        _download(client, bucket, state, home)
    return home / next(iter(found)) if key in {entry["Key"] for entry in found.values()} else home


def _objects(client: Any, bucket: str, key: str) -> dict[str, Mapping[str, Any]]:
    """What to fetch, by its path in the local copy."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
    there = [entry for page in pages for entry in page.get("Contents", []) if not entry["Key"].endswith("/")]
    for entry in there:
        if entry["Key"] == key:
            return {Path(key).name: entry}
    folder = key.rstrip("/") + "/" if key else ""
    below = {entry["Key"].removeprefix(folder): entry for entry in there if entry["Key"].startswith(folder)}
    if all(name.endswith(".parquet") for name in below):
        return below
    return {name: entry for name, entry in below.items() if name.split("/")[0] in _WANTED}


def _is_current(home: Path, state: Mapping[str, Any]) -> bool:
    try:
        return bool(json.loads((home / _STATE).read_text()) == state)
    except (OSError, ValueError):
        return False


def _download(client: Any, bucket: str, state: Mapping[str, Any], home: Path) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching.", dir=home.parent) as scratch:
        draft = Path(scratch) / "draft"
        for name, (key, _, etag) in state.items():
            target = draft / name
            if not target.resolve().is_relative_to(draft.resolve()):
                raise DatasetError(f"the object {key} has a name that leaves its folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            # A night's upload may replace it right now: the copy must be of what was listed.
            body = client.get_object(Bucket=bucket, Key=key, IfMatch=etag)["Body"]
            with target.open("wb") as file:
                shutil.copyfileobj(body, file)
        (draft / _STATE).write_text(json.dumps(state))
        shutil.rmtree(home, ignore_errors=True)
        draft.rename(home)
