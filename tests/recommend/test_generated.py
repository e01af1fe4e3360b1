from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightreel.recommend import generated
from nightreel.recommend.datasets import licence_of, name_of
from nightreel.recommend.generated import World, write_world
from nightreel.recommend.layouts import DatasetError, find_layout
from nightreel.recommend.movie_files import read_movies

WORLD = World(ratings=40_000, users=1_000, movies=2_000, seed=3)


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch):
    monkeypatch.setattr(generated, "BLOCK_ROWS", 9_000)


def rows(world: World) -> pa.Table:
    return pa.Table.from_batches([world.block(number) for number in range(world.blocks)])


@pytest.fixture(scope="module")
def table() -> pa.Table:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generated, "BLOCK_ROWS", 9_000)
        assert WORLD.blocks == 5
        return rows(WORLD)


def test_generated_ratings_are_as_many_as_asked_for(table):
    assert table.num_rows == 40_000
    assert len(np.unique(table["userId"])) == 1_000
    pairs = table["userId"].to_numpy().astype(np.int64) * 10_000 + table["movieId"].to_numpy()
    assert len(np.unique(pairs)) == 40_000
    assert set(table["rating"].to_pylist()) <= {half / 2 for half in range(1, 11)}
    assert table["movieId"].to_numpy().min() >= 1
    assert table["movieId"].to_numpy().max() <= 2_000


def test_generated_popularity_follows_a_power_law(table):
    counts = np.sort(np.bincount(table["movieId"].to_numpy(), minlength=2_001))[::-1]
    assert counts[:200].sum() > 0.6 * counts.sum()
    assert np.bincount(table["userId"].to_numpy())[1:].min() >= 20


def test_generated_tastes_are_planted(table):
    """Who rates a movie is nearer to it than who does not, and likes it the more the nearer it is."""
    users, movies, stars = (table[name].to_numpy() for name in ("userId", "movieId", "rating"))
    sums = np.zeros((1_001, generated.FACTORS))
    np.add.at(sums, users, WORLD.movie_factors[movies - 1])
    own = sums / np.bincount(users, minlength=1_001).clip(1)[:, None]
    near = np.einsum("rf,rf->r", own[users], WORLD.movie_factors[movies - 1])
    strangers = np.einsum("rf,rf->r", own[np.roll(users, 7_000)], WORLD.movie_factors[movies - 1])
    assert near.mean() > strangers.mean() + 0.05
    assert np.corrcoef(near, stars)[0, 1] > 0.2


def test_generated_ratings_repeat_by_their_seed(table):
    assert rows(World(ratings=40_000, users=1_000, movies=2_000, seed=3)).equals(table)
    assert not rows(World(ratings=40_000, users=1_000, movies=2_000, seed=4)).equals(table)


def test_a_block_does_not_depend_on_those_before_it(table):
    fresh = World(ratings=40_000, users=1_000, movies=2_000, seed=3)
    last = pa.Table.from_batches([fresh.block(4)])
    assert last.equals(table.slice(40_000 - last.num_rows))


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_write_world_makes_a_layout_that_says_what_it_is(tmp_path, form):
    assert list(write_world(WORLD, tmp_path / "out", form=form))[-1] == 40_000
    layout = find_layout(tmp_path / "out")
    assert name_of(layout) == "generated"
    assert "nobody gave them" in licence_of(name_of(layout))
    assert len(read_movies(layout).movies) == 2_000
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.txt", "movies.csv", f"ratings.{form}"]


def test_write_world_gives_both_forms_the_same_rows(tmp_path, table):
    for form in ("csv", "parquet"):
        list(write_world(WORLD, tmp_path / form, form=form))
    assert pq.read_table(tmp_path / "parquet" / "ratings.parquet").equals(table)
    lines = (tmp_path / "csv" / "ratings.csv").read_text().splitlines()
    first = table.slice(0, 1).to_pylist()[0]
    assert lines[0].replace('"', "") == "userId,movieId,rating,timestamp"
    user, movie, rating, time = lines[1].split(",")
    assert (int(user), int(movie), float(rating), int(time)) == tuple(first.values())


def test_write_world_leaves_no_half_a_file(tmp_path):
    writing = write_world(WORLD, tmp_path / "out", form="csv")
    next(writing)
    writing.close()
    assert not list((tmp_path / "out").glob("*ratings*"))


def test_write_world_refuses_a_folder_in_use_and_an_unknown_form(tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(DatasetError, match="is not empty"):
        next(write_world(WORLD, tmp_path, form="csv"))
    with pytest.raises(DatasetError, match="supported are csv and parquet"):
        next(write_world(WORLD, tmp_path / "out", form="json"))


@pytest.mark.parametrize("shape", [(100, 10, 800), (10_000, 10, 800), (10, 1, 3)])
def test_a_world_that_can_not_be_is_refused(shape):
    ratings, users, movies = shape
    with pytest.raises(DatasetError, match="can not be: expected 4 movies or more"):
        World(ratings=ratings, users=users, movies=movies)


@pytest.mark.parametrize("ratings", [1_000, 100_000, 32_000_000, 10**9])
def test_like_movielens_has_room_for_every_size(ratings):
    world = World.like_movielens(ratings, users=None, movies=None, seed=1)
    assert world.ratings == ratings
