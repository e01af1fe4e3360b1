"""Files in S3, reached by Airflow's own connection."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class StorageError(RuntimeError):
    """A bucket does not hold what it should; the sentence says what was looked for."""


@dataclass(frozen=True)
class Bucket:
    """A prefix in a bucket, `s3://bucket/prefix`."""

    address: str
    aws_conn_id: str

    @property
    def _place(self) -> tuple[str, str]:
        name, _, prefix = self.address.removeprefix("s3://").partition("/")
        if not self.address.startswith("s3://") or not name:
            raise ValueError(f"{self.address!r} is no place in S3 such as s3://bucket/prefix")
        return name, f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    @property
    def _client(self) -> Any:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        return S3Hook(aws_conn_id=self.aws_conn_id).conn

    def download(self, folder: Path) -> int:
        """Copy all files below the prefix into `folder`, those alone that are not there yet; how many there are.

        Raises StorageError when there is none.
        """
        bucket, prefix = self._place
        client = self._client
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        found = [entry for page in pages for entry in page.get("Contents", []) if not entry["Key"].endswith("/")]
        if not found:
            raise StorageError(f"{self.address} holds no file: put the ratings there, or name another place")
        for entry in found:
            target = folder / entry["Key"].removeprefix(prefix)
            if not target.resolve().is_relative_to(folder.resolve()):
                raise StorageError(f"{self.address} holds {entry['Key']!r}, which would leave the folder")
            changed = entry["LastModified"].timestamp()
            if target.is_file() and target.stat().st_size == entry["Size"] and target.stat().st_mtime >= changed:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(target.name + ".part")
            client.download_file(bucket, entry["Key"], str(part))
            part.replace(target)
        return len(found)

    def upload(self, root: Path, files: Iterable[Path]) -> int:
        """Copy files to their path below `root`, under the prefix; how many. Repeating it replaces them by the same."""
        bucket, prefix = self._place
        client = self._client
        count = 0
        for file in files:
            client.upload_file(str(file), bucket, prefix + file.relative_to(root).as_posix())
            count += 1
        return count

    def console(self, region: str) -> str:
        """The page of this place in AWS's console."""
        bucket, prefix = self._place
        return f"https://{region}.console.aws.amazon.com/s3/buckets/{bucket}?region={region}&prefix={prefix}"
