from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nightreel.bundle.reader import Bundle, open_bundle
from nightreel.bundle.schema import BundleMetadata
from nightreel.bundle.writer import write_bundle
from nightreel.recommend.queries import QueryError, answer, read_queries
from nightreel.recommend.taste_model import RELATIVE_PATH


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Four movies, ids 10 to 40: 10 and 20 belong together, so do 30 and 40; 40 is the most popular."""
    path = tmp_path / "model.arrow"
    metadata = BundleMetadata(
        run_id="r",
        created="2026-01-01T00:00:00Z",
        dataset={"name": "made"},
        parameters={},
        versions={},
        evaluation=[],
        taste=RELATIVE_PATH.to_mapping(),
        code_revision="unknown",
    )
    columns = {
        "movie_id": [10, 20, 30, 40],
        "title": list("abcd"),
        "year": [None] * 4,
        "genres": [[]] * 4,
        "imdb_id": [None] * 4,
        "tmdb_id": [None] * 4,
        "rating_count": [1] * 4,
        "mean_rating": [4.0] * 4,
        "embedding": np.array([[0.3, 0], [0.3, 0], [0, 0.3], [0, 0.3]]),
        "prior": [0.2, 0.2, 0.2, 0.3],
        "residual": [0.0] * 4,
        "neighbour_ids": np.array([[1], [0], [3], [2]]),
        "neighbour_scores": np.ones((4, 1)),
    }
    write_bundle(path, columns=columns, metadata=metadata)
    return open_bundle(path)


def ask(bundle, *lines, top=3, taste=0.5):
    return list(answer(bundle, read_queries(lines), top=top, taste=taste))


def test_answer_puts_what_belongs_together_first(bundle):
    assert ask(bundle, '{"query": 7, "movies": [10]}') == [{"query": 7, "movies": [20, 40, 30]}]


def test_answer_heeds_the_rating(bundle):
    assert ask(bundle, '{"query": 1, "movies": [10], "ratings": [1]}')[0]["movies"] == [40, 30, 20]


def test_answer_leaves_out_and_names_unknown_movies(bundle):
    result = ask(bundle, '{"query": 1, "movies": [10, 99]}')[0]
    assert result == {"query": 1, "movies": [20, 40, 30], "unknown": [99]}


def test_answer_without_any_known_movie_is_what_is_popular(bundle):
    assert ask(bundle, '{"query": 1, "movies": [99]}', top=1, taste=0.0)[0]["movies"] == [40]


def test_answer_counts_a_movie_once_with_its_last_rating(bundle):
    twice = ask(bundle, '{"query": 1, "movies": [10, 10], "ratings": [5, 1]}')
    assert twice == ask(bundle, '{"query": 1, "movies": [10], "ratings": [1]}')


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"query": 1}',
        '{"movies": [1]}',
        '{"query": 1, "movies": [1], "ratings": [5, 4]}',
        '{"query": 1, "movies": ["x"]}',
    ],
)
def test_read_queries_names_the_bad_line(line):
    with pytest.raises(QueryError, match="line 2 is no query"):
        list(read_queries(['{"query": 0, "movies": [1]}', line]))


@pytest.mark.parametrize("movies", ['"31"', "[1.9]", "[true]", '["5"]', "[1e400]", "7"])
def test_read_queries_refuses_movies_that_are_no_ids(movies):
    with pytest.raises(QueryError, match="line 1 is no query"):
        list(read_queries([f'{{"query": 1, "movies": {movies}}}']))


def test_read_queries_names_the_line_of_a_wrong_rating():
    with pytest.raises(QueryError, match=r"line 2 .*between"):
        list(read_queries(['{"query": 1, "movies": [1]}', '{"query": 2, "movies": [1], "ratings": [7]}']))
