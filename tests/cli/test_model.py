from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from nightreel.bundle.reader import validate_bundle
from nightreel.bundle.schema import BundleError
from nightreel.cli import local_training, model, site
from nightreel.cli.output import UsageError
from nightreel.recommend.ratings import DatasetError


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    model.register(made)
    return made


def run(app, *words, ok=True):
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(word) for word in words])
    if ok:
        assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def ratings(tmp_path_factory) -> Path:
    """Twelve users of each of two crowds; each likes nine of ten movies of their crowd."""
    folder = tmp_path_factory.mktemp("ratings")
    lines = ["userId,movieId,rating,timestamp"]
    lines += [
        f"{user},{100 * (user % 2) + movie},5.0,{user}"
        for user in range(24)
        for movie in range(10)
        if movie != user // 2 % 10
    ]
    (folder / "ratings.csv").write_text("\n".join(lines) + "\n")
    movies = [f"{movie},Film {movie} (2001),Drama" for movie in (*range(10), *range(100, 110))]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *movies]) + "\n")
    return folder


@pytest.fixture(scope="module")
def bundle(ratings, tmp_path_factory) -> Path:
    """A bundle trained by the command itself, with spark-submit."""
    made = typer.Typer()
    model.register(made)
    out = tmp_path_factory.mktemp("bundle") / "model.arrow"
    result = run(made, "train", "--ratings", ratings, "--out", out, "--rank", 4, "--iterations", 3, "--memory", "1g")
    assert "wrote" in result.output
    assert "cosine of factors" in result.output
    return out


@pytest.mark.spark
@pytest.mark.timeout(300)
def test_train_writes_a_bundle_of_this_checkout(bundle):
    trained = validate_bundle(bundle)
    assert len(trained) == 20
    assert trained.metadata.parameters["rank"] == 4
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", trained.metadata.code_revision)


@pytest.mark.spark
def test_recommend_answers_every_query(app, bundle, tmp_path):
    queries, answers = tmp_path / "q.jsonl", tmp_path / "a.jsonl"
    queries.write_text('{"query": 3, "movies": [1, 2, 77]}\n{"query": 4, "movies": [105], "ratings": [4]}\n')
    result = run(app, "recommend", bundle, "--queries", queries, "--top", 5, "--taste", "0.3", "--out", answers)
    assert "1 seed movies were unknown" in result.output
    first, second = [json.loads(line) for line in answers.read_text().splitlines()]
    assert (first["query"], second["query"]) == (3, 4)
    assert len(first["movies"]) == 5
    assert max(first["movies"]) < 100 <= min(second["movies"])
    assert set(first) == {"query", "movies"}


@pytest.mark.spark
def test_recommend_refuses_an_unknown_taste(app, bundle, tmp_path):
    queries = tmp_path / "q.jsonl"
    queries.write_text("")
    result = run(app, "recommend", bundle, "--queries", queries, "--taste", "wild", "--out", tmp_path / "a", ok=False)
    assert isinstance(result.exception, ValueError)
    assert "familiar, balanced, curious, adventurous" in str(result.exception)


@pytest.mark.spark
def test_bundle_show_and_validate(app, bundle):
    shown = run(app, "bundle", "show", bundle).output
    assert "Nightreel, balanced" in shown
    facts = json.loads(run(app, "bundle", "show", bundle, "--json").output)
    assert facts["movies"] == 20
    assert len(facts["content_digest"]) == 64
    assert "is valid: 20 movies" in run(app, "bundle", "validate", bundle).output


@pytest.mark.spark
@pytest.mark.timeout(300)
def test_train_fails_with_the_jobs_own_sentence(app, ratings, tmp_path, capfd):
    out = tmp_path / "model.arrow"
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,2.0,9\n")
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,Heat (1995),Crime\n")
    result = run(app, "train", "--ratings", tmp_path, "--out", out, "--memory", "1g", ok=False)
    assert result.exit_code == 1
    assert "train_similarity: no rating reaches 4.0 stars" in result.stderr
    assert not out.exists()


def test_train_names_a_missing_folder(app, tmp_path):
    result = run(app, "train", "--ratings", tmp_path / "none", "--out", tmp_path / "m", ok=False)
    assert isinstance(result.exception, DatasetError)


def test_bundle_validate_refuses_what_is_no_bundle(app, tmp_path):
    (tmp_path / "x").write_bytes(b"no")
    assert isinstance(run(app, "bundle", "validate", tmp_path / "x", ok=False).exception, BundleError)


def test_publish_needs_a_token(app, tmp_path, monkeypatch):
    monkeypatch.delenv("NIGHTREEL_SITE_TOKEN", raising=False)
    result = run(app, "publish", tmp_path / "x", "--server", "http://127.0.0.1:9", ok=False)
    assert isinstance(result.exception, UsageError)
    assert "--token-file" in str(result.exception)


def publish_to_nowhere(app, *words):
    return run(app, "publish", __file__, "--server", "http://127.0.0.1:9", *words, ok=False)


def test_publish_takes_the_token_from_a_file(app, tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(site, "publish_bundle", lambda file, *, server, token: sent.append(token) or 1 / 0)
    (tmp_path / "token").write_text("from a file\n")
    publish_to_nowhere(app, "--token-file", tmp_path / "token")
    monkeypatch.setenv("NIGHTREEL_SITE_TOKEN", "from the environment")
    publish_to_nowhere(app)
    assert sent == ["from a file", "from the environment"]


def test_publish_warns_of_a_token_that_everybody_can_read(app, monkeypatch, caplog):
    monkeypatch.setattr(site, "publish_bundle", lambda file, *, server, token: 1 / 0)
    publish_to_nowhere(app, "--token", "secret")
    assert "list of processes" in caplog.text
    assert "secret" not in caplog.text
    assert "--token " not in run(app, "publish", "--help").output


def test_publish_refuses_two_tokens(app, tmp_path):
    error = publish_to_nowhere(app, "--token", "secret", "--token-file", tmp_path / "x").exception
    assert "--token and --token-file" in str(error)


def test_train_needs_a_token_before_it_trains_for_a_site(app, tmp_path, monkeypatch):
    monkeypatch.delenv("NIGHTREEL_SITE_TOKEN", raising=False)
    result = run(app, "train", "--out", tmp_path / "m", "--remote-server", "http://127.0.0.1:9", ok=False)
    assert isinstance(result.exception, UsageError)


def test_data_list_shows_what_is_cached(app, tmp_path, monkeypatch):
    monkeypatch.setenv("NIGHTREEL_CACHE", str(tmp_path))
    (tmp_path / "ml-100k").mkdir()
    output = run(app, "data", "list").output
    assert "ml-32m" in output
    assert "32,000,204" in output
    assert "yes" in output


def test_spark_submit_says_that_java_is_missing(monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(local_training.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="needs Java 17"):
        local_training.spark_submit()


def test_job_file_says_that_a_checkout_is_needed(tmp_path):
    with pytest.raises(ValueError, match="from a checkout"):
        local_training.job_file(tmp_path)
