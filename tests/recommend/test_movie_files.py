from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightreel.recommend.layouts import DatasetError, find_layout
from nightreel.recommend.movie_files import read_movies
from nightreel.recommend.titles import Movie


def test_read_movies_csv_with_links(tmp_path):
    (tmp_path / "ratings.csv").touch()
    (tmp_path / "movies.csv").write_text(
        "movieId,title,genres\n1,Toy Story (1995),Adventure|Children\n"
        '7,"Usual Suspects, The (1995)",(no genres listed)\n',
        "utf-8",
    )
    (tmp_path / "links.csv").write_text("movieId,imdbId,tmdbId\n1,0114709,862\n7,0114814,\n99,1,2\n")
    assert read_movies(find_layout(tmp_path)).movies == {
        1: Movie(title="Toy Story", year=1995, genres=("Adventure", "Children"), imdb_id="0114709", tmdb_id="862"),
        7: Movie(title="The Usual Suspects", year=1995, imdb_id="0114814"),
    }


def test_read_movies_100k_in_latin_1(tmp_path):
    (tmp_path / "u.data").touch()
    flags = "|".join(["0"] * 3 + ["1", "1", "1"] + ["0"] * 13)
    (tmp_path / "u.item").write_bytes(f"1|Misérables, Les (1995)|01-Jan-1995||http://x|{flags}\n".encode("latin-1"))
    movie = read_movies(find_layout(tmp_path)).movies[1]
    assert movie == Movie(title="Les Misérables", year=1995, genres=("Animation", "Children", "Comedy"))


def test_read_movies_recbole_by_its_header(tmp_path):
    (tmp_path / "ml-100k.inter").touch()
    (tmp_path / "ml-100k.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "12\tUsual Suspects, The\t1995\tCrime Thriller\n8\tBabe\t1995\tChildren's Comedy\n"
        "267\tunkonwn\tunkonwn\tunknown\n",
        "utf-8",
    )
    assert read_movies(find_layout(tmp_path)).movies == {
        12: Movie(title="The Usual Suspects", year=1995, genres=("Crime", "Thriller")),
        8: Movie(title="Babe", year=1995, genres=("Children", "Comedy")),
        267: Movie(title="unkonwn"),
    }


def test_read_movies_with_double_colons(tmp_path):
    (tmp_path / "ratings.dat").touch()
    text = "1::Toy Story (1995)::Animation|Children's\n8::Misérables, Les (1995)::Drama|Musical\n"
    (tmp_path / "movies.dat").write_bytes(text.encode("latin-1"))
    assert read_movies(find_layout(tmp_path)).movies == {
        1: Movie(title="Toy Story", year=1995, genres=("Animation", "Children")),
        8: Movie(title="Les Misérables", year=1995, genres=("Drama", "Musical")),
    }
    (tmp_path / "movies.dat").write_bytes(text.encode("utf-8"))
    assert read_movies(find_layout(tmp_path)).movies[8].title == "Les Misérables"


def test_read_movies_keeps_films_of_one_name_apart(tmp_path):
    (tmp_path / "ratings.csv").touch()
    (tmp_path / "movies.csv").write_text(
        "movieId,title,genres\n838,Emma (1996),Comedy\n26958,Emma (1996),Romance\n915,Sabrina (1954),Comedy\n"
        "7,Sabrina (1995),Comedy\n"
    )
    movies = read_movies(find_layout(tmp_path)).movies
    assert {number: (movie.title, movie.year) for number, movie in movies.items()} == {
        838: ("Emma", 1996),
        26958: ("Emma", 1996),
        915: ("Sabrina", 1954),
        7: ("Sabrina", 1995),
    }


def test_read_movies_keeps_odd_rows_aside(tmp_path):
    (tmp_path / "ratings.csv").touch()
    (tmp_path / "movies.csv").write_text(
        "movieId,title,genres\n1,Heat (1995),Crime\nx,Jaws (1975),Horror\n3,Alien\n1,Heat again (1995),Crime\n"
    )
    found = read_movies(find_layout(tmp_path))
    assert list(found.movies) == [1]
    assert [text for text, _ in found.rejected] == ["x,Jaws (1975),Horror", "3,Alien", "1,Heat again (1995),Crime"]
    assert found.rejected[2][1] == "movie 1 is there already"


def test_read_movies_refuses_a_file_without_a_usable_row(tmp_path):
    (tmp_path / "ratings.csv").touch()
    (tmp_path / "movies.csv").write_text("movieId,title,genres\nx,Jaws (1975),Horror\n")
    with pytest.raises(DatasetError, match=r"movies\.csv has no usable movie; the first row is 'x,Jaws"):
        read_movies(find_layout(tmp_path))


def own(tmp_path, movies, columns):
    ratings = tmp_path / "mine.csv"
    ratings.write_text("who,what\n1,2\n")
    return find_layout(ratings, columns={"user": "who", "movie": "what"}, movies=movies, movie_columns=columns)


def test_read_movies_of_ones_own(tmp_path):
    films = tmp_path / "films.csv"
    films.write_text("name;id;kind\nMatrix, The;5;Action, Sci-Fi\n;6;\n", "utf-8-sig")
    found = read_movies(own(tmp_path, films, {"movie": "id", "title": "name", "genres": "kind"}))
    assert found.movies == {5: Movie(title="The Matrix", genres=("Action", "Sci-Fi"))}
    assert found.rejected == [("6,,", "no movie of own columns: no title")]


def test_read_movies_of_ones_own_in_parquet(tmp_path):
    films = tmp_path / "films.parquet"
    rows = {"id": [5], "name": ["Heat"], "made": [1995], "kind": [["Crime", "Drama"]]}
    pq.write_table(pa.table(rows), films)
    columns = {"movie": "id", "title": "name", "year": "made", "genres": "kind"}
    assert read_movies(own(tmp_path, films, columns)).movies == {
        5: Movie(title="Heat", year=1995, genres=("Crime", "Drama"))
    }
