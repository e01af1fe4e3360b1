"""Filters, hidden films, more and surprise: each answer is what the whole catalogue gives, not a leftover of ten."""

from __future__ import annotations

import numpy as np
import pytest
from django.http import QueryDict

from recommender.answers import answer, similar
from recommender.questions import Filters, Question, QuestionError, Seed
from tests.web.made_bundles import IDS, MOVIES

pytestmark = pytest.mark.django_db
TOY, MATRIX, AMELIE = IDS["Toy Story"], IDS["The Matrix"], IDS["Amélie"]
YEARS = {100 + row: year for row, (_, year, _) in enumerate(MOVIES)}
GENRES = {100 + row: genres for row, (_, _, genres) in enumerate(MOVIES)}


def ask(model, **changes):
    fields = {"seeds": (Seed(movie_id=TOY, rating=5),), "count": 50}
    return answer(model, Question(**(fields | changes)))


def ids(found):
    return [entry.movie.movie_id for entry in found.recommendations]


def test_without_filters_all_but_the_seed_pass(model):
    found = ask(model)
    assert found.passed == len(MOVIES) - 1
    assert sorted(ids(found)) == [movie_id for movie_id in YEARS if movie_id != TOY]


def test_genres_in_and_out(model):
    kept = {movie_id for movie_id, genres in GENRES.items() if "Drama" in genres}
    assert set(ids(ask(model, filters=Filters(genres=("Drama",))))) == kept
    kept = {movie_id for movie_id, genres in GENRES.items() if "Drama" not in genres} - {TOY}
    assert set(ids(ask(model, filters=Filters(without=("Drama",))))) == kept
    either = Filters(genres=("Drama", "Sci-Fi"), without=("Sci-Fi",))
    assert {GENRES[movie_id][0] for movie_id in ids(ask(model, filters=either))} == {"Drama"}


def test_decades(model):
    kept = {movie_id for movie_id, year in YEARS.items() if year and (1940 <= year < 1950 or 1990 <= year < 2000)}
    assert set(ids(ask(model, filters=Filters(decades=(1940, 1990))))) == kept - {TOY}


def test_fame_goes_by_the_share_of_all_ratings(model):
    counts = 1000 - 10 * np.arange(len(MOVIES))
    before = (np.cumsum(counts) - counts) / counts.sum()
    for fame, kept in ((2, before < 1 / 3), (1, before < 2 / 3), (-1, before >= 1 / 3), (-2, before >= 2 / 3)):
        expected = {100 + row for row in np.flatnonzero(kept).tolist()} - {TOY}
        assert set(ids(ask(model, filters=Filters(fame=fame)))) == expected


def test_films_of_equal_fame_stay_together(make, publish):
    model = publish(make(rating_count=[5] * len(MOVIES)))
    assert ask(model, filters=Filters(fame=2)).passed == len(MOVIES) - 1
    assert ask(model, filters=Filters(fame=-1)).passed == 0


def test_filters_choose_from_everything_and_not_from_ten(model):
    ten = ids(ask(model, count=10))
    dramas = ask(model, count=10, filters=Filters(genres=("Drama",)))
    assert len(dramas.recommendations) == 10
    assert not set(ids(dramas)) <= set(ten)


def test_an_unknown_genre_is_said_with_those_that_are_known(model):
    with pytest.raises(QuestionError, match="no genre of this model; it knows Animation, Children, Drama, Sci-Fi"):
        ask(model, filters=Filters(genres=("Musical",)))


def test_hidden_films_are_gone_and_the_rest_moves_up(model):
    first, second, *_ = ids(ask(model))
    assert first not in ids(ask(model, filters=Filters(hidden=(first, 999_999))))
    assert ids(ask(model, filters=Filters(hidden=(first,))))[0] == second


def test_the_link_names_only_hidden_films_that_matter(model):
    filters = Filters(genres=("Drama",), hidden=(AMELIE, MATRIX, 999_999))
    found = ask(model, filters=filters)
    assert found.link.filters.hidden == (AMELIE,)
    assert ids(answer(model, found.link)) == ids(found)


def test_shares_stay_exact_under_filters(model):
    for entry in ask(model, filters=Filters(decades=(1990,))).recommendations:
        whole = abs(entry.popularity_share) + sum(abs(because.share) for because in entry.because)
        assert whole == pytest.approx(1)


def test_a_surprise_repeats_itself(model):
    one, again, other = (ids(ask(model, seeds=(), draw=draw, count=10)) for draw in (1, 1, 2))
    assert one == again != other


def test_more_begins_with_what_was_there(model):
    assert ids(ask(model, count=20))[:10] == ids(ask(model, count=10))


def test_similar_films_share_their_kind(model):
    found = similar(model, MATRIX, count=5)
    assert len(found) == 5
    assert {GENRES[movie.movie_id][0] for movie, _ in found} == {"Sci-Fi"}
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


@pytest.mark.parametrize(
    "query",
    [
        "seed=1:5&seed=2:1.5&taste=0.25&genre=Drama&genre=Film-Noir&without=War&decade=1990&fame=-1&hide=3,4&n=20",
        "surprise=12&taste=1",
        "seed=1:5&taste=0.5",
    ],
)
def test_a_question_survives_its_link(query):
    assert Question.parse(QueryDict(query)).query_string() == query


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("fame=3", "fame='3' is not a whole number from -2"),
        ("fame=x", "fame='x'"),
        ("decade=1995", "decade='1995' is not the first year"),
        ("decade=²", "decade="),
        ("surprise=-1", "surprise='-1'"),
        ("surprise=1234567", "surprise="),
        ("hide=1,x", "hide: 'x' is no movie id"),
        (f"hide={'9' * 19}", "no movie id"),
        (f"hide={','.join(map(str, range(2001)))}", "2000 are the most"),
        (f"genre={'x' * 61}", "genre takes up to"),
        ("&".join(f"without={n}" for n in range(41)), "without takes up to"),
    ],
)
def test_a_question_that_cannot_be_answered_says_what_can(query, complaint):
    with pytest.raises(QuestionError, match=complaint):
        Question.parse(QueryDict(query))
