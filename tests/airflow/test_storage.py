from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from nightreel.airflow.storage import Bucket, StorageError


@pytest.fixture(autouse=True)
def _s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    extra = '{"conn_type": "aws", "login": "a", "password": "b", "extra": {"region_name": "us-east-1"}}'
    monkeypatch.setenv("AIRFLOW_CONN_NIGHTREEL_AWS", extra)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="films")
        for key in ("in/ratings.csv", "in/movies.csv", "other/ratings.csv"):
            s3.put_object(Bucket="films", Key=key, Body=key.encode())
        yield


def test_download_brings_what_is_below_the_prefix(tmp_path: Path) -> None:
    assert Bucket("s3://films/in", "nightreel_aws").download(tmp_path) == 2
    assert (tmp_path / "ratings.csv").read_text() == "in/ratings.csv"
    assert {path.name for path in tmp_path.iterdir()} == {"ratings.csv", "movies.csv"}


def test_download_brings_what_has_changed(tmp_path: Path) -> None:
    bucket = Bucket("s3://films/in/", "nightreel_aws")
    bucket.download(tmp_path)
    boto3.client("s3", region_name="us-east-1").put_object(Bucket="films", Key="in/ratings.csv", Body=b"new")
    bucket.download(tmp_path)
    assert (tmp_path / "ratings.csv").read_text() == "new"


def test_a_prefix_without_files_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="holds no file"):
        Bucket("s3://films/nothing", "nightreel_aws").download(tmp_path)


def test_a_key_that_would_leave_the_folder_is_refused(tmp_path: Path) -> None:
    boto3.client("s3", region_name="us-east-1").put_object(Bucket="films", Key="bad/../../x", Body=b"")
    with pytest.raises(StorageError, match="would leave the folder"):
        Bucket("s3://films/bad", "nightreel_aws").download(tmp_path)


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
