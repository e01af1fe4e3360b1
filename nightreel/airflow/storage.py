"""Where a run's files are kept in S3, reached by Airflow's own connection."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
    def client(self) -> Any:
        """Boto3's client for S3."""
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        return S3Hook(aws_conn_id=self.aws_conn_id).conn

    def upload(self, root: Path, files: Iterable[Path]) -> int:
        """Copy files to their path below `root`, under the prefix; how many. Repeating it replaces them by the same."""
        bucket, prefix = self._place
        client = self.client
        count = 0
        for file in files:
            client.upload_file(str(file), bucket, prefix + file.relative_to(root).as_posix())
            count += 1
        return count

    def console(self, region: str) -> str:
        """The page of this place in AWS's console."""
        bucket, prefix = self._place
        return f"https://{region}.console.aws.amazon.com/s3/buckets/{bucket}?region={region}&prefix={prefix}"
