from __future__ import annotations

import pytest

from nightreel.recommend.ratings import DatasetError, find_layout
from nightreel.recommend.titles import Movie, display_title, read_movies, split_title


@pytest.mark.parametrize(
    ("text", "title", "year"),
    [
        ("Matrix, The (1999)", "The Matrix", 1999),
        ("Seven Samurai (The Magnificent Seven) (Shichinin no samurai) (1954)", "Seven Samurai", 1954),
        ("Amelie (Fabuleux destin d'Amélie Poulain, Le) (2001)", "Amelie", 2001),
        ("Avventura, L' (Adventure, The) (1960)", "L'Avventura", 1960),
        ("Man of No Importance, A (1994)", "A Man of No Importance", 1994),
        ("Corrina, Corrina (1994)", "Corrina, Corrina", 1994),
        ("(500) Days of Summer (2009)", "(500) Days of Summer", 2009),
        (
            "Birdman: Or (The Unexpected Virtue of Ignorance) (2014)",
            "Birdman: Or (The Unexpected Virtue of Ignorance)",
            2014,
        ),
        ("Assembly (Ji jie hao) (2007) ", "Assembly", 2007),
        ("Death Note: Desu nôto (2006–2007)", "Death Note: Desu nôto", 2006),
        ("1984 (1984)", "1984", 1984),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", 1968),
        ("Babylon 5", "Babylon 5", None),
        ("Postino, Il", "Il Postino", None),
        ("(1999)", "(1999)", 1999),
    ],
)
def test_display_title(text, title, year):
    assert display_title(text) == (title, year)


@pytest.mark.parametrize(
    ("text", "alternates"),
    [
        (
            "Seven Samurai (The Magnificent Seven) (Shichinin no samurai) (1954)",
            ("Shichinin no samurai", "The Magnificent Seven"),
        ),
        ("Amelie (Fabuleux destin d'Amélie Poulain, Le) (2001)", ("Le Fabuleux destin d'Amélie Poulain",)),
        ("Se7en (a.k.a. Seven) (1995)", ("Seven",)),
        ("Samurai Assassin (Samurai) (1965)", ("Samurai",)),
        ("Birdman: Or (The Unexpected Virtue of Ignorance) (2014)", ()),
        ("Solaris (Solaris) (1972)", ()),
        ("Toy Story (1995)", ()),
    ],
)
def test_split_title_keeps_the_other_names(text, alternates):
    assert split_title(text)[1] == alternates


def test_read_movies_csv_with_links(tmp_path):
    (tmp_path / "ratings.csv").touch()
    (tmp_path / "movies.csv").write_text(
        "movieId,title,genres\n1,Toy Story (1995),Adventure|Children\n"
        '7,"Usual Suspects, The (1995)",(no genres listed)\n',
        "utf-8",
    )
    (tmp_path / "links.csv").write_text("movieId,imdbId,tmdbId\n1,0114709,862\n7,0114814,\n99,1,2\n")
    assert read_movies(find_layout(tmp_path)) == {
        1: Movie(title="Toy Story", year=1995, genres=("Adventure", "Children"), imdb_id="0114709", tmdb_id="862"),
        7: Movie(title="The Usual Suspects", year=1995, imdb_id="0114814"),
    }


def test_read_movies_100k_in_latin_1(tmp_path):
    (tmp_path / "u.data").touch()
    flags = "|".join(["0"] * 3 + ["1", "1", "1"] + ["0"] * 13)
    (tmp_path / "u.item").write_bytes(f"1|Misérables, Les (1995)|01-Jan-1995||http://x|{flags}\n".encode("latin-1"))
    movie = read_movies(find_layout(tmp_path))[1]
    assert movie == Movie(title="Les Misérables", year=1995, genres=("Animation", "Children", "Comedy"))


def test_read_movies_recbole_by_its_header(tmp_path):
    (tmp_path / "ml-100k.inter").touch()
    (tmp_path / "ml-100k.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "12\tUsual Suspects, The\t1995\tCrime Thriller\n8\tBabe\t1995\tChildren's Comedy\n"
        "267\tunkonwn\tunkonwn\tunknown\n",
        "utf-8",
    )
    assert read_movies(find_layout(tmp_path)) == {
        12: Movie(title="The Usual Suspects", year=1995, genres=("Crime", "Thriller")),
        8: Movie(title="Babe", year=1995, genres=("Children", "Comedy")),
        267: Movie(title="unkonwn"),
    }


def test_read_movies_names_the_entry_that_is_broken(tmp_path):
    (tmp_path / "ratings.csv").touch()
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,Heat (1995),Crime\nx,Jaws (1975),Horror\n")
    with pytest.raises(DatasetError, match=r"movies\.csv near entry 2 is not MovieLens CSV"):
        read_movies(find_layout(tmp_path))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Heat\u00a0Wave (1995)", "Heat Wave"),
        ("He\u200eat\n (1995)", "Heat"),
        ("\x07", "Untitled"),
        ("x" * 900, "x" * 500),
    ],
)
def test_display_title_is_one_printable_line(text, shown):
    assert display_title(text)[0] == shown
