"""What a bundle holds: the Arrow schema of its rows and the metadata beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Self

import pyarrow as pa

from nightreel.bundle.errors import BundleError
from nightreel.bundle.taste_path import TastePath

__all__ = ["METADATA_KEY", "SCHEMA_VERSION", "BundleError", "BundleMetadata", "bundle_schema"]

SCHEMA_VERSION = 3
READABLE_VERSIONS = (SCHEMA_VERSION, SCHEMA_VERSION - 1)
"""A reader accepts its own version and the one before it. 3 added `kinship` to the slider's path."""

METADATA_KEY = b"nightreel"
VERSION_KEY = b"nightreel.schema_version"


@dataclass(frozen=True, kw_only=True)
class BundleMetadata:
    """Where a bundle comes from and how good it is.

    `dataset` has name, fingerprint, licence and the counts of ratings, users and movies; `evaluation` has one
    mapping per model, ours and each baseline; `taste` is a stored `TastePath`; `created` is ISO 8601 in UTC.
    `details` is what the report shows and nothing depends on, such as `timings`; a bundle may have none.
    """

    schema_version: int = SCHEMA_VERSION
    run_id: str
    created: str
    dataset: Mapping[str, Any]
    parameters: Mapping[str, Any]
    versions: Mapping[str, str]
    evaluation: Sequence[Mapping[str, Any]]
    taste: Mapping[str, Any]
    code_revision: str
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def taste_path(self) -> TastePath:
        """The slider's path; BundleError when the stored form is wrong."""
        return TastePath.from_mapping(self.taste)

    def to_schema_metadata(self) -> dict[bytes, bytes]:
        """Return the Arrow schema's metadata: the version by itself, for any reader to find, and all as JSON."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, allow_nan=False)
        return {VERSION_KEY: str(self.schema_version).encode(), METADATA_KEY: text.encode()}

    @classmethod
    def from_schema_metadata(cls, metadata: Mapping[bytes, bytes] | None) -> Self:
        """Read the Arrow schema's metadata; BundleError for no bundle or one of an unknown version."""
        found = dict(metadata or {})
        if VERSION_KEY not in found:
            raise BundleError("this Arrow file is no bundle: it has no nightreel.schema_version")
        version = found[VERSION_KEY].decode(errors="replace")
        if version not in {str(known) for known in READABLE_VERSIONS}:
            known = ", ".join(map(str, READABLE_VERSIONS))
            raise BundleError(f"the bundle has schema version {version}; this Nightreel reads {known}: update it")
        try:
            content = json.loads(found[METADATA_KEY])
            told = content["schema_version"]
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise BundleError(f"the bundle's metadata cannot be read: {error!r}") from error
        if type(told) is not int or str(told) != version:
            raise BundleError(f"the bundle's metadata says schema version {told!r}, its file says {version}")
        return cls.from_mapping(content)

    @classmethod
    def from_mapping(cls, content: Any) -> Self:
        """Read the metadata's JSON form; BundleError when a part is missing."""
        try:
            optional = {one.name for one in fields(cls) if one.default_factory is not MISSING}
            return cls(
                **{
                    one.name: content[one.name]
                    for one in fields(cls)
                    if one.name in content or one.name not in optional
                }
            )
        except (KeyError, TypeError) as error:
            raise BundleError(f"the bundle's metadata cannot be read: {error!r}") from error


def bundle_schema(*, factors: int, neighbours: int) -> pa.Schema:
    """Return the schema of the rows for f factors and k neighbours (one row per movie, in index order)."""
    return pa.schema(
        [
            pa.field("movie_id", pa.int64(), nullable=False),
            pa.field("title", pa.string(), nullable=False),
            pa.field("year", pa.int16()),
            pa.field("genres", pa.list_(pa.string()), nullable=False),
            pa.field("imdb_id", pa.string()),
            pa.field("tmdb_id", pa.string()),
            pa.field("rating_count", pa.int32(), nullable=False),
            pa.field("mean_rating", pa.float32(), nullable=False),
            pa.field("embedding", pa.list_(pa.float32(), factors), nullable=False),
            pa.field("prior", pa.float32(), nullable=False),
            pa.field("residual", pa.float32(), nullable=False),
            pa.field("neighbour_ids", pa.list_(pa.int32(), neighbours), nullable=False),
            pa.field("neighbour_scores", pa.list_(pa.float32(), neighbours), nullable=False),
            pa.field("alternate_titles", pa.list_(pa.string()), nullable=False),
        ]
    )
