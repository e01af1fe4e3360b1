from __future__ import annotations

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightreel.recommend.layouts import DatasetError, find_layout, parse_columns

LAYOUTS = [
    ("ratings.csv", "movies.csv", "MovieLens CSV"),
    ("ratings.dat", "movies.dat", "MovieLens 1M"),
    ("u.data", "u.item", "MovieLens 100K"),
    ("ml-100k.inter", "ml-100k.item", "RecBole MovieLens 100K"),
]


@pytest.mark.parametrize(("ratings", "movies", "name"), LAYOUTS)
def test_find_layout_recognises(tmp_path, ratings, movies, name):
    (tmp_path / ratings).touch()
    (tmp_path / movies).touch()
    assert find_layout(tmp_path).name == name


@pytest.mark.parametrize(("ratings", "movies", "name"), LAYOUTS)
def test_find_layout_names_missing_movies(tmp_path, ratings, movies, name):
    (tmp_path / ratings).touch()
    with pytest.raises(DatasetError, match=f"has {ratings} but no {movies}"):
        find_layout(tmp_path)


def test_find_layout_says_what_is_supported(tmp_path):
    with pytest.raises(
        DatasetError, match=r"ratings\.csv and movies\.csv .* or ratings\.dat .* or u\.data and u\.item"
    ):
        find_layout(tmp_path)
    with pytest.raises(DatasetError, match="there is no folder"):
        find_layout(tmp_path / "none")


def test_fingerprint_changes_with_either_file(tmp_path):
    (tmp_path / "ratings.csv").write_text("a")
    (tmp_path / "movies.csv").write_text("b")
    layout = find_layout(tmp_path)
    first = layout.fingerprint
    (tmp_path / "movies.csv").write_text("c")
    second = layout.fingerprint
    (tmp_path / "ratings.csv").write_text("d")
    assert len({first, second, layout.fingerprint}) == 3


def test_find_layout_tells_10m_from_1m(tmp_path):
    (tmp_path / "ratings.dat").touch()
    (tmp_path / "movies.dat").write_text("3952::Contender, The (2000)::Drama\n")
    assert find_layout(tmp_path).name == "MovieLens 1M"
    (tmp_path / "movies.dat").write_text("65133::Blackadder (1999)::Comedy\n1::Toy Story (1995)::Comedy\n")
    assert find_layout(tmp_path).name == "MovieLens 10M"


def test_find_layout_takes_parquet_for_movielens(tmp_path):
    columns = {"userId": [1], "movieId": [2], "rating": [3.5], "timestamp": [4]}
    (tmp_path / "movies.csv").touch()
    (tmp_path / "ratings.parquet").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "ratings.parquet" / "part-0.parquet")
    layout = find_layout(tmp_path)
    assert layout.name == "MovieLens Parquet"
    assert set(layout.files) == {"movies.csv", "ratings.parquet/part-0.parquet"}


def test_files_are_those_that_are_read_alone(tmp_path):
    for name in ("ratings.csv", "movies.csv", "links.csv", "README.txt", "tags.csv", "secret"):
        (tmp_path / name).touch()
    assert set(find_layout(tmp_path).files) == {"ratings.csv", "movies.csv", "links.csv", "README.txt"}


OWN = {"user": "who", "movie": "film"}


@pytest.mark.parametrize("line", ["film;who;x", "film,who,x", "film\twho\tx", "film|who|x"])
def test_own_csv_is_read_by_its_header(tmp_path, line):
    file = tmp_path / "mine.csv"
    file.write_text(line + "\n", "utf-8-sig")
    layout = find_layout(file, columns=OWN)
    assert (layout.source.positions, layout.source.separator) == ({"user": 1, "movie": 0}, line[4])
    assert layout.location == file


def test_own_csv_may_be_compressed(tmp_path):
    file = tmp_path / "mine.csv.gz"
    file.write_bytes(gzip.compress(b"who,film\n"))
    assert find_layout(file, columns=OWN).source.positions == {"user": 0, "movie": 1}


def test_own_data_name_a_missing_column(tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("who,movie\n")
    with pytest.raises(DatasetError, match=r"mine\.csv has no column film; it has who, movie"):
        find_layout(file, columns=OWN)
    pq.write_table(pa.table({"who": [1]}), tmp_path / "mine.parquet")
    with pytest.raises(DatasetError, match=r"mine\.parquet has no column film; it has who"):
        find_layout(tmp_path / "mine.parquet", columns=OWN)


def test_own_data_without_columns_say_how_to_name_them(tmp_path):
    file = tmp_path / "mine.csv"
    file.touch()
    with pytest.raises(DatasetError, match="no folder: name what is in it by --columns"):
        find_layout(file)
    with pytest.raises(DatasetError, match=r"there is no file .*none\.csv"):
        find_layout(tmp_path / "none.csv", columns=OWN)
    with pytest.raises(DatasetError, match=r"name what is in .* by --movie-columns"):
        find_layout(file, columns=OWN, movies=file)
    with pytest.raises(DatasetError, match="a file that --movies names"):
        find_layout(file, columns=OWN, movie_columns=OWN)


def test_own_parquet_that_is_none_is_refused(tmp_path):
    file = tmp_path / "mine.parquet"
    file.write_text("x")
    with pytest.raises(DatasetError, match="is no Parquet file"):
        find_layout(file, columns=OWN)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("user=a", "do not say which is the movie"),
        ("user=a,movie=b,stars=c", "cannot be understood; expected user=…,movie=…,\\[rating=…\\]"),
        ("user=a,movie", "cannot be understood"),
        ("user=a,user=b,movie=c", "cannot be understood"),
    ],
)
def test_parse_columns_refuses(text, sentence):
    with pytest.raises(DatasetError, match=sentence):
        parse_columns(text, fields=("user", "movie", "rating"), needed=("user", "movie"))


def test_parse_columns_reads():
    assert parse_columns("movie=b, user=a", fields=("user", "movie"), needed=("user",)) == {"movie": "b", "user": "a"}
