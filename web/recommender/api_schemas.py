"""The shapes of the API's answers and parameters, each with an example: what /api/v1/openapi.json is made of.

Answers are built as plain dictionaries; these classes document them, and tests hold the two together.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar

from ninja import Field, Schema
from pydantic import ConfigDict, WithJsonSchema

from nightreel.recommend.taste_model import DEFAULT_TASTE, TASTES
from recommender.questions import (
    DEFAULT_COUNT,
    FAMES,
    FEWEST_SEEDS,
    LARGEST_DRAW,
    LONGEST_NAME,
    MOST_COUNT,
    MOST_HIDDEN,
    MOST_NAMES,
    MOST_SEEDS,
)
from recommender.search import LONGEST_QUERY

SHA256_PATTERN = "^[0-9a-f]{64}$"
MODEL_ID = "1f2e" * 16
MOVIE: dict[str, Any] = {"movie_id": 1, "title": "Toy Story", "year": 1995, "genres": ["Animation", "Comedy"]}


# Parameters are taken as they come and documented as they should be: our own sentences refuse the rest.
Typed = Annotated[str, WithJsonSchema({"type": "string", "maxLength": LONGEST_QUERY})]
Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Cursor = Annotated[str, WithJsonSchema({"type": "string"})]
Limit = Annotated[str, WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 10_000, "default": 1000})]
Seeds = Annotated[
    list[str],
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "pattern": r"^[0-9]{1,18}:([1-4](\.[0-9]{1,3})?|5(\.0{1,3})?)$"},
            "minItems": FEWEST_SEEDS,
            "maxItems": MOST_SEEDS,
            "uniqueItems": True,
        }
    ),
]
Count = Annotated[
    str, WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MOST_COUNT, "default": DEFAULT_COUNT})
]
Taste = Annotated[
    str,
    WithJsonSchema(
        {
            "anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "enum": list(TASTES)}],
            "default": DEFAULT_TASTE,
        }
    ),
]
GenreNames = Annotated[
    list[str],
    WithJsonSchema(
        {"type": "array", "items": {"type": "string", "maxLength": LONGEST_NAME}, "maxItems": MOST_NAMES},
    ),
]
Decades = Annotated[
    list[str],
    WithJsonSchema(
        {"type": "array", "items": {"type": "integer", "minimum": 1000, "maximum": 2990, "multipleOf": 10}},
    ),
]
Fame = Annotated[str, WithJsonSchema({"type": "integer", "minimum": min(FAMES), "maximum": max(FAMES), "default": 0})]
Hidden = Annotated[str, WithJsonSchema({"type": "string", "pattern": "^([0-9]{1,18}(,[0-9]{1,18})*)?$"})]
Draw = Annotated[str, WithJsonSchema({"type": "integer", "minimum": 0, "maximum": LARGEST_DRAW})]


class SearchQuery(Schema):
    """What was typed."""

    q: Typed = Field(
        "",
        description="A title or the beginning of one; articles, accents and small typos are forgiven.",
        examples=["matrix"],
    )


class RecommendQuery(Schema):
    """One to five films that somebody knows, or a made-up taste, and which films may be named."""

    seed: Seeds = Field(
        default_factory=list,
        description="`ID:RATING`, repeated: a film and how it was liked, from 1 (hated) to 5 (loved).",
        examples=[["1:5", "364:4"]],
    )
    taste: Taste = Field("", description="From 0 (familiar) to 1 (adventurous), or one of the names.", examples=[0.5])
    n: Count = Field("", description="How many films to name.", examples=[10])
    genre: GenreNames = Field(
        default_factory=list,
        description="Only films that have one of these genres; repeated. `/api/v1/model` names those there are.",
        examples=[["Comedy", "Animation"]],
    )
    without: GenreNames = Field(
        default_factory=list, description="Only films that have none of these genres; repeated.", examples=[["Horror"]]
    )
    decade: Decades = Field(
        default_factory=list,
        description="Only films of these decades, each by its first year; repeated.",
        examples=[[1990, 2000]],
    )
    fame: Fame = Field(
        "",
        description="2: only the best known films that hold a third of all ratings; 1: those that hold two thirds; "
        "-1: all but the third; -2: all but the two thirds; 0: all films.",
        examples=[0],
    )
    hide: Hidden = Field(
        "",
        description=f"Ids with commas, {MOST_HIDDEN:,} at most: films to leave out, seen ones for instance.",
        examples=["318,296"],
    )
    surprise: Draw = Field(
        "",
        description="Instead of seeds: a taste drawn by chance, the same one for the same number, as in `surprise=7`.",
    )


class CountQuery(Schema):
    """How many."""

    n: Count = Field("", description="How many films to name.", examples=[10])


class ExportQuery(Schema):
    """Which snapshot, and from where on."""

    as_of: Moment = Field(
        "",
        description="The moment of the snapshot, now by default, never in the future.",
        examples=["2026-01-01T00:00:00Z"],
    )
    after: Cursor = Field("", description="The `next` of the page before; the first page has none.", examples=[""])
    limit: Limit = Field("", description="Ratings on one page.", examples=[1000])


class Shape(Schema):
    """An answer: exactly these fields."""

    model_config = ConfigDict(extra="forbid")


class MovieOut(Shape):
    """A film."""

    movie_id: int = Field(description="Its id in the data set that the model was trained on.")
    title: str
    year: int | None
    genres: list[str]

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": MOVIE})


class FoundOut(Shape):
    """What a search found, best match first."""

    model: str = Field(pattern=SHA256_PATTERN, examples=[MODEL_ID], description="Id of the model that answered.")
    movies: list[MovieOut]


class SimilarMovieOut(MovieOut):
    """A film and how its lovers overlap with another's."""

    similarity: float = Field(ge=-1, le=1, description="Correlation of the predicted preferences.", examples=[0.87])

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {**MOVIE, "similarity": 0.87}})


class SimilarOut(Shape):
    """The films that are liked by the same people, the most similar first."""

    model: str = Field(pattern=SHA256_PATTERN, examples=[MODEL_ID])
    movie: MovieOut
    similar: list[SimilarMovieOut]


class SeedOut(Shape):
    """A film that was named, and its rating."""

    movie_id: int
    rating: float = Field(ge=1, le=5, examples=[5.0])


class BecauseOut(SeedOut):
    """What one seed said about a film."""

    title: str = Field(examples=["Aladdin"])
    share: float = Field(ge=-1, le=1, description="Its part of the score; below 0: in spite of it.", examples=[0.4])


class RecommendedOut(MovieOut):
    """A film, its score and the parts that the score is the sum of."""

    score: float = Field(examples=[0.91])
    because: list[BecauseOut]
    popularity_share: float = Field(ge=-1, le=1, description="The part of what everybody likes.", examples=[0.2])

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                **MOVIE,
                "score": 0.91,
                "because": [{"movie_id": 588, "title": "Aladdin", "rating": 5.0, "share": 0.8}],
                "popularity_share": 0.2,
            }
        },
    )


class RecommendationsOut(Shape):
    """The answer to a question, best first."""

    model: str = Field(pattern=SHA256_PATTERN, examples=[MODEL_ID])
    taste: float = Field(ge=0, le=1, examples=[0.5])
    seeds: list[SeedOut]
    surprise: int | None = Field(description="The drawn taste that was asked for.", examples=[None])
    passed: int = Field(ge=0, description="How many films pass the filters.", examples=[9321])
    recommendations: list[RecommendedOut]


class ModelOut(Shape):
    """The model that serves, and everything that its bundle says about itself."""

    sha256: str = Field(pattern=SHA256_PATTERN, examples=[MODEL_ID])
    run_id: str = Field(examples=["scheduled__2026-01-01T03:00:00+00:00"])
    created: str = Field(examples=["2026-01-01T03:20:00Z"])
    activated: datetime
    movies: int = Field(ge=2, examples=[9742])
    genres: list[str] = Field(description="What `genre` and `without` may name.", examples=[["Animation", "Comedy"]])
    decades: list[int] = Field(description="What `decade` may name.", examples=[[1990, 2000]])
    dataset: dict[str, Any] = Field(examples=[{"name": "ml-latest-small", "ratings": 100_836, "users": 610}])
    evaluation: list[dict[str, Any]] = Field(examples=[[{"model": "Nightreel, balanced", "ndcg": 0.44}]])
    metadata: dict[str, Any]


class BundleOut(Shape):
    """A bundle that was taken in."""

    sha256: str = Field(pattern=SHA256_PATTERN, examples=[MODEL_ID])
    run_id: str = Field(examples=["scheduled__2026-01-01T03:00:00+00:00"])
    movies: int = Field(ge=2, examples=[9742])


class ListedBundleOut(BundleOut):
    """A bundle as the list has it."""

    uploaded: datetime
    serves: bool = Field(description="Whether it answers visitors now.")
    kept: bool = Field(description="Whether its file is still here, so that it can be activated.")
    refused: str = Field(description="Why its last activation failed; empty when it did not.", examples=[""])


class BundlesOut(Shape):
    """The bundles that came last, newest first."""

    bundles: list[ListedBundleOut]


class ActivatedOut(Shape):
    """What serves now, and what served before."""

    sha256: str = Field(pattern=SHA256_PATTERN, examples=[MODEL_ID])
    previous: str | None = Field(examples=["2e1f" * 16])


class RatingOut(Shape):
    """One rating of a visitor who agreed that it is learnt from."""

    visitor_id: str = Field(description="Anonymous, and never the id of a user of the data set.", examples=["v-7c1e"])
    movie_id: int = Field(examples=[1])
    rating: float = Field(ge=0.5, le=5, examples=[4.0])
    given_at: datetime


class RatingsOut(Shape):
    """One page of the snapshot; `next` leads to the following page and is null on the last."""

    as_of: datetime
    ratings: list[RatingOut]
    next: str | None = Field(examples=[None])


class ProblemOut(Shape):
    """A refusal (RFC 9457): what happened, what is supported, what to do next."""

    title: str
    status: int
    detail: str

    model_config: ClassVar = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"title": "Bad Request", "status": 400, "detail": "n='0' is not a whole number from 1 to 50."}
        },
    )
