from __future__ import annotations

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightreel.recommend.layouts import DatasetError, find_layout
from ratings_input import load_ratings

pytestmark = pytest.mark.spark


def layouts(folder: Path, rows: list[tuple[int, int, float]]) -> list[Path]:
    """Write the same ratings in every MovieLens layout."""
    made = {name: folder / name for name in ("csv", "100k", "recbole", "dat", "parquet")}
    for path in made.values():
        path.mkdir()
    header = "userId,movieId,rating,timestamp\n"
    (made["csv"] / "ratings.csv").write_text(header + "".join(f"{u},{m},{r},9\n" for u, m, r in rows))
    (made["csv"] / "movies.csv").touch()
    tabbed = "".join(f"{u}\t{m}\t{int(r)}\t9\n" for u, m, r in rows)
    (made["100k"] / "u.data").write_text(tabbed)
    (made["100k"] / "u.item").touch()
    typed = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    (made["recbole"] / "ml-100k.inter").write_text(typed + tabbed)
    (made["recbole"] / "ml-100k.item").touch()
    (made["dat"] / "ratings.dat").write_text("".join(f"{u}::{m}::{r:g}::9\n" for u, m, r in rows))
    (made["dat"] / "movies.dat").touch()
    users, movies, stars = zip(*rows, strict=True)
    columns = {"userId": users, "movieId": movies, "rating": stars, "timestamp": [9] * len(rows)}
    pq.write_table(
        pa.table({name: list(values) for name, values in columns.items()}), made["parquet"] / "ratings.parquet"
    )
    (made["parquet"] / "movies.csv").touch()
    return list(made.values())


def read(spark, layout, tmp_path) -> list[tuple[int, int, float]]:
    rows = load_ratings(spark, layout, aside=tmp_path / "aside.csv").rows.collect()
    return sorted((row["user"], row["movie"], row["rating"]) for row in rows)


def test_load_ratings_reads_every_layout_alike(spark, tmp_path, small_world):
    for folder in layouts(tmp_path, small_world):
        assert read(spark, find_layout(folder), tmp_path) == sorted(small_world), folder


def own(tmp_path: Path, text: str, **columns: str):
    file = tmp_path / "mine.csv"
    file.write_bytes(text.encode())
    return find_layout(file, columns=columns)


def test_load_ratings_keeps_the_last_of_two_and_counts_them(spark, tmp_path):
    text = "u,m,r,t\n1,1,2.0,50\n1,1,5.0,70\n1,1,3.0,60\n2,1,1,1\n"
    layout = own(tmp_path, text, user="u", movie="m", rating="r", time="t")
    assert read(spark, layout, tmp_path) == [(1, 1, 5.0), (2, 1, 1.0)]
    assert load_ratings(spark, layout, aside=tmp_path / "aside.csv").repeated == 2


def test_load_ratings_understands_written_times(spark, tmp_path):
    text = "u,m,r,t\n1,1,2.0,2026-01-02 10:00:00\n1,1,5.0,2025-12-31T23:00:00\n1,1,4.0,yesterday\n"
    assert read(spark, own(tmp_path, text, user="u", movie="m", rating="r", time="t"), tmp_path) == [(1, 1, 2.0)]


def test_load_ratings_takes_plays_for_likes(spark, tmp_path):
    assert read(spark, own(tmp_path, "\ufefffilm;who\n7;1\n8;1\n", user="who", movie="film"), tmp_path) == [
        (1, 7, 5.0),
        (1, 8, 5.0),
    ]


def test_load_ratings_numbers_users_who_are_named(spark, tmp_path):
    layout = own(tmp_path, "u,m\nzoe,1\n12,1\n bob ,2\nbob,3\n,4\n", user="u", movie="m")
    assert read(spark, layout, tmp_path) == [(0, 1, 5.0), (1, 2, 5.0), (1, 3, 5.0), (2, 1, 5.0)]


NO_MOVIE = "without a movie's number (0 to 2147483647)"
ODD = {
    "x,1,5,9": "without a user",
    ",1,5,9": "without a user",
    "1,2.5,5,9": NO_MOVIE,
    "1,3000000000,5,9": NO_MOVIE,
    "1,-1,5,9": NO_MOVIE,
    "1,1,five,9": "without a rating",
    "1,1,NaN,9": "without a rating",
    "1,1,,": "without a rating",
    "1,1,11,9": "with a rating outside of 0.5 to 5 stars",
    "1,1,0,9": "with a rating outside of 0.5 to 5 stars",
}


def test_load_ratings_keeps_odd_rows_aside(spark, tmp_path):
    (tmp_path / "movies.csv").touch()
    lines = ["userId,movieId,rating,timestamp", "1,1,5.0,9", *ODD, "1,1"]
    (tmp_path / "ratings.csv").write_text("\n".join(lines) + "\n")
    aside = tmp_path / "aside.csv"
    loaded = load_ratings(spark, find_layout(tmp_path), aside=aside)
    assert (loaded.found, loaded.rejected_rows, loaded.rows.count()) == (12, 11, 1)
    assert loaded.rejected["without a rating"] == 4
    assert f"2 {'without a user'}" in loaded.summary
    with aside.open(newline="") as file:
        _, *rows = csv.reader(file)
    assert {row[1]: row[2] for row in rows} == ODD
    assert {row[0] for row in rows} == {"ratings.csv"}


def test_load_ratings_removes_what_another_run_kept_aside(spark, tmp_path):
    aside = tmp_path / "aside.csv"
    aside.touch()
    load_ratings(spark, own(tmp_path, "u,m\n1,1\n", user="u", movie="m"), aside=aside)
    assert not aside.exists()


def test_load_ratings_without_a_usable_row_keeps_all_aside(spark, tmp_path):
    aside = tmp_path / "aside.csv"
    with pytest.raises(DatasetError, match=r"no usable rating \(2 without a movie's number"):
        load_ratings(spark, own(tmp_path, "u,m\n1,a\n1,b\n", user="u", movie="m"), aside=aside)
    assert len(aside.read_text().splitlines()) == 3
