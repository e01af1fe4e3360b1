from __future__ import annotations

from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from moto import mock_aws
from typer.testing import CliRunner

from nightreel.cli import model
from nightreel.cli.access import Access
from nightreel.cli.ratings_source import Source
from nightreel.recommend.layouts import DatasetError


def invoke(*words):
    app = typer.Typer()
    model.register(app)
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(word) for word in words])


def test_generate_writes_a_folder_and_says_that_nobody_gave_it(tmp_path):
    out = tmp_path / "made"
    result = invoke("data", "generate", "--out", out, "--ratings", 3_000, "--format", "parquet")
    assert result.exit_code == 0, result.output
    assert "3,000 generated ratings" in result.output
    assert "Nobody gave them" in result.output
    assert pq.read_table(out / "ratings.parquet").num_rows == 3_000


def test_generate_refuses_a_folder_in_use(tmp_path):
    (tmp_path / "mine").touch()
    result = invoke("data", "generate", "--out", tmp_path)
    assert isinstance(result.exception, DatasetError)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def source(**given: str) -> Source:
    return Source(**{"ratings": None, "columns": None, "movies": None, "movie_columns": None, **given})


def test_source_of_ones_own_tells_the_job_where_it_lies(tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("who,film\n")
    films = tmp_path / "films.parquet"
    pq.write_table(pa.table({"id": [1], "name": ["Heat"]}), films)
    own = source(
        ratings=str(file), columns="user=who,movie=film", movies=str(films), movie_columns="movie=id,title=name"
    )
    layout = own.layout(Access())
    assert set(layout.files) == {"mine.csv", "films.parquet"}
    assert own.arguments("there/mine.csv", "there/films.parquet") == [
        *("--ratings", "there/mine.csv"),
        *("--columns", "user=who,movie=film"),
        *("--movies", "there/films.parquet"),
        *("--movie-columns", "movie=id,title=name"),
    ]


def test_source_in_s3_is_fetched(monkeypatch, tmp_path):
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("NIGHTREEL_CACHE", str(tmp_path))
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="films")
        for name in ("ratings.csv", "movies.csv"):
            s3.put_object(Bucket="films", Key=f"ml/{name}", Body=b"x")
        layout = source(ratings="s3://films/ml").layout(Access(region="us-east-1"))
        assert layout.name == "MovieLens CSV"
        assert layout.ratings.is_relative_to(Path(tmp_path))
        with pytest.raises(DatasetError, match="s3://no-such-bucket/ml cannot be read"):
            source(ratings="s3://no-such-bucket/ml").layout(Access(region="us-east-1"))
