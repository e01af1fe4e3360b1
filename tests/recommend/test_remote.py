from __future__ import annotations

import boto3
import pytest
from moto import mock_aws

from nightreel.recommend.layouts import DatasetError, find_layout
from nightreel.recommend.remote import fetch_objects, is_remote

BUCKET = "films"


@pytest.fixture
def s3(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


def put(s3, **objects: str) -> None:
    for name, text in objects.items():
        s3.put_object(Bucket=BUCKET, Key=name.replace("__", "/").replace("_dot_", "."), Body=text.encode())


def test_fetch_objects_brings_a_folder_in_a_layout(s3, tmp_path):
    put(s3, ml__ratings_dot_csv="a", ml__movies_dot_csv="b", ml__secret="c", mlother__links_dot_csv="d")
    folder = fetch_objects(s3, f"s3://{BUCKET}/ml", cache=tmp_path)
    assert set(find_layout(folder).files) == {"ratings.csv", "movies.csv"}
    assert not (folder / "secret").exists()
    assert folder.name == "ml"


def test_fetch_objects_brings_a_file(s3, tmp_path):
    put(s3, mine_dot_csv="who,film", mine_dot_csv_dot_old="x")
    file = fetch_objects(s3, f"s3://{BUCKET}/mine.csv", cache=tmp_path)
    assert (file.name, file.read_text()) == ("mine.csv", "who,film")


def test_fetch_objects_brings_parts_of_parquet(s3, tmp_path):
    put(s3, p__a_dot_parquet="1", p__b_dot_parquet="2")
    folder = fetch_objects(s3, f"s3://{BUCKET}/p/", cache=tmp_path)
    assert sorted(path.name for path in folder.glob("*.parquet")) == ["a.parquet", "b.parquet"]


def test_fetch_objects_fetches_again_only_what_changed(s3, tmp_path):
    put(s3, mine_dot_csv="one")
    file = fetch_objects(s3, f"s3://{BUCKET}/mine.csv", cache=tmp_path)
    file.write_text("kept")
    assert fetch_objects(s3, f"s3://{BUCKET}/mine.csv", cache=tmp_path).read_text() == "kept"
    put(s3, mine_dot_csv="two")
    assert fetch_objects(s3, f"s3://{BUCKET}/mine.csv", cache=tmp_path).read_text() == "two"


@pytest.mark.parametrize("place", [f"s3://{BUCKET}/none", "s3:///x"])
def test_fetch_objects_says_that_nothing_is_there(s3, tmp_path, place):
    with pytest.raises(DatasetError, match=r"nothing at|names no bucket"):
        fetch_objects(s3, place, cache=tmp_path)


def test_fetch_objects_does_not_leave_its_folder(s3, tmp_path):
    s3.put_object(Bucket=BUCKET, Key="p/../../evil.parquet", Body=b"x")
    with pytest.raises(DatasetError, match="leaves its folder"):
        fetch_objects(s3, f"s3://{BUCKET}/p/", cache=tmp_path)


def test_is_remote():
    assert is_remote("s3://b/k")
    assert not is_remote("/data/s3")
