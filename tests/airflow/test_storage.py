from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from nightreel.airflow.storage import Bucket


@pytest.fixture(autouse=True)
def _s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    extra = '{"conn_type": "aws", "login": "a", "password": "b", "extra": {"region_name": "us-east-1"}}'
    monkeypatch.setenv("AIRFLOW_CONN_NIGHTREEL_AWS", extra)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with mock_aws():
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="films")
        yield


def test_upload_keeps_the_paths(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "driver").write_text("done")
    bucket = Bucket("s3://films/runs/1", "nightreel_aws")
    assert bucket.upload(tmp_path, [tmp_path / "logs" / "driver"]) == 1
    assert bucket.upload(tmp_path, [tmp_path / "logs" / "driver"]) == 1  # once more
    s3 = boto3.client("s3", region_name="us-east-1")
    assert s3.get_object(Bucket="films", Key="runs/1/logs/driver")["Body"].read() == b"done"


def test_a_place_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no place in S3"):
        Bucket("/tmp", "nightreel_aws").console("eu-central-1")
