from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nearest
import preferences
import train_similarity as job
from factors import JobError, als_in_words
from nightreel.bundle.reader import content_digest, validate_bundle
from nightreel.recommend.layouts import DatasetError, find_layout
from nightreel.recommend.population import HEAVY_RATERS, Moments, span_of
from nightreel.recommend.taste_model import DEFAULT_TASTE, TasteModel
from ratings_input import load_ratings

pytestmark = pytest.mark.spark


def options(folder: Path, out: Path, *extra: str):
    return job.parse(["--ratings", str(folder), "--out", str(out), "--rank", "4", "--iterations", "5", *extra])


@pytest.fixture(scope="module")
def trained(spark, csv_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "model.arrow"
    job.train(spark, options(csv_folder, out, "--run-id", "night-1", "--dataset", "made-up"))
    return validate_bundle(out)


def test_train_writes_what_it_read_and_how(trained, csv_folder, small_world):
    assert len(trained) == 30
    assert trained.metadata.run_id == "night-1"
    assert trained.metadata.dataset["name"] == "made-up"
    assert trained.metadata.dataset["ratings"] == len(small_world)
    assert trained.metadata.dataset["users"] == 80
    assert trained.metadata.parameters["rank"] == 4
    assert str(csv_folder) not in repr(trained.metadata)
    assert trained.titles[0] == "The Movie 1"
    assert trained.titles[trained.row_of(115)] == "Movie 115"  # it has ratings, but no line among the movies
    stars = [stars for _, movie, stars in small_world if movie == 7]
    row = trained.row_of(7)
    assert trained.rating_counts[row] == len(stars)
    assert trained.mean_ratings[row] == pytest.approx(np.mean(stars), rel=1e-6)


def test_train_learns_the_crowds(trained):
    model = TasteModel.from_bundle(trained)
    scores = model.score(seeds=[trained.row_of(1), trained.row_of(2)], ratings=[5, 5], taste=DEFAULT_TASTE)
    assert all(trained.movie_ids[row] < 100 for row in scores.top(10))
    assert (trained.movie_ids[trained.neighbour_ids[trained.row_of(101)][:10]] > 100).all()


def test_train_judges_itself_beside_the_baselines(trained):
    rows = {row["model"]: row for row in trained.metadata.evaluation}
    assert set(rows) >= {
        "Nightreel, balanced",
        "most popular",
        "ItemKNN",
        "ItemKNN, shrink 50",
        "EASE, λ 1000",
        "cosine of factors",
    }
    assert rows["Nightreel, balanced"]["users"] == 16
    assert rows["Nightreel, balanced"]["ndcg"] > rows["most popular"]["ndcg"] + 0.1


def test_train_twice_gives_the_same_content(spark, csv_folder, tmp_path):
    outs = [tmp_path / "a.arrow", tmp_path / "b.arrow", tmp_path / "c.arrow"]
    for out, seed in zip(outs, ("1", "1", "2"), strict=True):
        job.train(spark, options(csv_folder, out, "--no-evaluate", "--seed", seed))
    first, second, other = (content_digest(out) for out in outs)
    assert first == second != other


def write_ratings(folder: Path, *lines: str):
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *lines]) + "\n")
    (folder / "movies.csv").write_text("movieId,title,genres\n1,Heat (1995),Crime\n")
    return find_layout(folder)


def test_visitors_are_users_of_their_own_beside_the_data_set(spark, csv_folder, tmp_path):
    visitors = tmp_path / "visitors.csv"
    visitors.write_text("userId,movieId,rating,timestamp\n1000000000,1,5.0,1\n1000000000,2,1.0,1\n1000000001,1,5.0,1\n")
    base = load_ratings(spark, find_layout(csv_folder), aside=tmp_path / "aside.csv").rows
    both = job.with_visitors(base, visitors)
    assert both.count() - base.count() == 3
    assert both.select("user").distinct().count() - base.select("user").distinct().count() == 2
    assert job.with_visitors(base, None) is base


def test_als_tells_its_iterations():
    words = als_in_words(10, blocks=3)
    assert [words(jobs, 0, 0) for jobs in (0, 3)] == ["", ""]
    assert words(4, 0, 0) == "ALS: iteration 1 of 10 on 3 × 3 blocks"
    assert words(25, 0, 0) == "ALS: iteration 10 of 10 on 3 × 3 blocks"


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], r"no usable rating \(it is empty\)"),
        (["a,b,c,d"], r"no usable rating \(1 without a user\); expected user, movie, 0\.5 to 5 stars and time"),
        (["1,1,2.0,9", "2,1,3.0,9"], "no rating reaches 4.0 stars"),
        (["1,1,5.0,9", "2,1,5.0,9"], "only one movie is liked"),
    ],
)
def test_train_refuses_and_writes_nothing(spark, tmp_path, lines, sentence):
    write_ratings(tmp_path, *lines)
    out = tmp_path / "model.arrow"
    with pytest.raises((JobError, DatasetError), match=sentence):
        job.train(spark, options(tmp_path, out, "--no-evaluate"))
    assert not out.exists()


def test_train_keeps_odd_rows_aside_and_says_so(spark, csv_folder, tmp_path, capsys):
    folder = tmp_path / "odd"
    shutil.copytree(csv_folder, folder)
    with (folder / "ratings.csv").open("a") as file:
        file.write("9,x,5.0,1\n9,1,50,1\n")
    with (folder / "movies.csv").open("a") as file:
        file.write("y,Jaws (1975),Horror\n")
    out = tmp_path / "model.arrow"
    job.train(spark, options(folder, out, "--no-evaluate"))
    dataset = validate_bundle(out).metadata.dataset
    assert sum(dataset["rejected"].values()) == 2
    assert dataset["rejected_movies"] == 1
    with (tmp_path / "model.rejected.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert sorted(row[:2] for row in rows[1:]) == [
        ["movies.csv", "y,Jaws (1975),Horror"],
        ["ratings.csv", "9,1,50,1"],
        ["ratings.csv", "9,x,5.0,1"],
    ]
    assert "kept 3 rows aside in model.rejected.csv" in capsys.readouterr().out


def test_train_takes_columns_of_ones_own(spark, small_world, tmp_path):
    names = {"person": [f"p{user:03}" for user, *_ in small_world], "film": [movie for _, movie, _ in small_world]}
    pq.write_table(pa.table({**names, "stars": [stars for *_, stars in small_world]}), tmp_path / "mine.parquet")
    (tmp_path / "films.csv").write_text('id,name\n7,"Seven, The"\n')
    out = tmp_path / "model.arrow"
    own = ["--columns", "user=person,movie=film,rating=stars", "--movie-columns", "movie=id,title=name"]
    extra = [*own, "--movies", str(tmp_path / "films.csv"), "--no-evaluate"]
    job.train(spark, options(tmp_path / "mine.parquet", out, *extra))
    bundle = validate_bundle(out)
    assert bundle.metadata.dataset["users"] == 80
    assert bundle.titles[bundle.row_of(7)] == "The Seven"
    assert "person" not in repr(bundle.metadata)


@pytest.mark.parametrize("bad", [["--rank", "0"], ["--reg", "-1"], ["--like-threshold", "6"], ["--rank", "x"]])
def test_parse_refuses(tmp_path, bad, capsys):
    with pytest.raises(SystemExit) as stopped:
        options(tmp_path, tmp_path / "out", *bad)
    assert stopped.value.code == 2
    assert bad[0] in capsys.readouterr().err


def ratings_of(spark, layout):
    return load_ratings(spark, layout, aside=layout.ratings.parent / "aside.csv").rows


def likes_of(spark, folder: Path):
    ratings = ratings_of(spark, find_layout(folder)).persist()
    return ratings, preferences.graded(ratings, threshold=4, half=0.5).persist()


def test_graded_counts_likes_whole_and_what_is_a_star_below_half(spark, tmp_path):
    layout = write_ratings(tmp_path, *(f"1,{n},{stars},9" for n, stars in enumerate([5, 4, 3.5, 3, 2.5, 1])))
    rows = preferences.graded(ratings_of(spark, layout), threshold=4, half=0.5).collect()
    assert sorted((row["movie"], row["like"]) for row in rows) == [(0, 1.0), (1, 1.0), (2, 0.5), (3, 0.5)]


def test_sum_moments_agrees_with_numpy(spark, csv_folder):
    _, likes = likes_of(spark, csv_folder)
    pairs = likes.toArrow()
    ids, rows = np.unique(pairs["movie"].to_numpy(), return_inverse=True)
    basis = span_of(np.random.default_rng(1).normal(size=(len(ids), 3)))
    users, values = pairs["user"].to_numpy(), pairs["like"].to_numpy()
    expected = Moments.of_likes(basis, users=users, movies=rows, values=values)
    found = preferences.sum_moments(likes, ids, basis, groups=3)
    np.testing.assert_allclose(found.covariance, expected.covariance, atol=1e-9)
    assert found.weight == pytest.approx(expected.weight)


def test_the_prior_is_the_share_of_users_counted_by_their_likes(spark, tmp_path):
    layout = write_ratings(tmp_path, "1,1,5.0,9", "2,1,4.0,9", "2,2,5.0,9", "2,3,3.0,9")
    likes = preferences.graded(ratings_of(spark, layout), threshold=4, half=0.5)
    liking = preferences.describe_liking(likes, np.array([1, 2, 3]))
    np.testing.assert_allclose(liking.prior, [1.0, 1 / 3, 0.0], rtol=1e-6)


def test_the_variance_of_a_movies_likes_agrees_with_numpy(spark, csv_folder):
    _, likes = likes_of(spark, csv_folder)
    pairs = likes.toArrow()
    ids, rows = np.unique(pairs["movie"].to_numpy(), return_inverse=True)
    users, owners = np.unique(pairs["user"].to_numpy(), return_inverse=True)
    dense = np.zeros((len(users), len(ids)))
    dense[owners, rows] = pairs["like"].to_numpy()
    expected = np.cov(dense.T, aweights=dense.sum(axis=1) ** -HEAVY_RATERS, ddof=0)
    np.testing.assert_allclose(preferences.describe_liking(likes, ids).variance, np.diag(expected), atol=1e-12)


def test_describe_input_counts_stars(spark, tmp_path):
    layout = write_ratings(tmp_path, "1,1,2.0,50", "1,1,5.0,70", "1,1,3.0,60", "2,1,5.0,9", "2,2,0.5,9")
    facts = preferences.describe_input(ratings_of(spark, layout))
    assert facts == {"0.5": 1, "5": 2}


def test_a_search_trains_by_its_best_recipe_and_tells_the_table(spark, csv_folder, tmp_path, monkeypatch):
    # The stub stands for the fits; that a real one is judged the same way, the evaluation's own tests show.
    def evaluate(spark, likes, options, **_):
        return [{"taste": 0.0, "ndcg": options.alpha}, {"taste": 0.5, "tail_ndcg": 0.0}]

    monkeypatch.setattr(job, "evaluate_fit", evaluate)
    out = tmp_path / "model.arrow"
    job.train(spark, options(csv_folder, out, "--search", "4", "--no-evaluate"))
    metadata = validate_bundle(out).metadata
    parameters, table = metadata.parameters, metadata.details["search"]
    assert len(table) == len(out.with_suffix(".search.jsonl").read_text().splitlines()) == 4
    assert parameters["alpha"] == table[0]["alpha"] == max(row["alpha"] for row in table)
    assert str(tmp_path) not in repr(parameters)


def test_nearest_agrees_with_numpy_over_several_blocks(spark, monkeypatch):
    embedding = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)
    monkeypatch.setattr(nearest, "ROWS_PER_TASK", 7)
    ids, scores = nearest.nearest(spark, embedding, count=5)
    correlation = embedding @ embedding.T
    deviation = np.sqrt(np.diag(correlation))
    correlation /= np.outer(deviation, deviation)
    np.fill_diagonal(correlation, -np.inf)
    np.testing.assert_array_equal(ids, np.argsort(-correlation, axis=1)[:, :5])
    np.testing.assert_allclose(scores, -np.sort(-correlation, axis=1)[:, :5], rtol=1e-4)


def test_sample_likes_bounds_users_and_movies(spark, csv_folder, tmp_path, monkeypatch):
    ratings = ratings_of(spark, find_layout(csv_folder)).persist()
    counts = job.count_ratings(ratings)
    likes = preferences.graded(ratings, threshold=4, half=0.5)
    known, everything, _ = job.sample_likes(likes, counts, options(csv_folder, tmp_path / "out"))
    assert (len(known), everything.user_count) == (30, 80)
    monkeypatch.setattr(job, "JUDGED_RATINGS", 400)
    monkeypatch.setattr(job, "JUDGED_MOVIES", 10)
    known, sample, _ = job.sample_likes(likes, counts, options(csv_folder, tmp_path / "out"))
    assert len(known) == sample.movie_count == 10
    assert 0 < sample.user_count < 60


@pytest.mark.skipif(
    not os.environ.get("NIGHTREEL_TEST_DATA"), reason="NIGHTREEL_TEST_DATA names no folder with ml-latest-small"
)
@pytest.mark.timeout(400)
def test_three_disney_films_are_answered_with_films_for_children(spark, tmp_path):
    folder = Path(os.environ["NIGHTREEL_TEST_DATA"]) / "ml-latest-small"
    out = tmp_path / "model.arrow"
    job.train(spark, job.parse(["--ratings", str(folder), "--out", str(out), "--no-evaluate"]))
    bundle = validate_bundle(out)
    seeds = [bundle.row_of(movie) for movie in (1, 364, 588)]
    scores = TasteModel.from_bundle(bundle).score(seeds=seeds, ratings=[5, 5, 5], taste=DEFAULT_TASTE)
    top = scores.top(10)
    assert bundle.row_of(595) in top
    assert sum(bool({"Children", "Animation"} & set(bundle.genres[row])) for row in top) >= 4
    assert all(share > 0 for share in scores.reason(bundle.row_of(595)).seeds)
