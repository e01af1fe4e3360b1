"""Fit MLlib's ALS to likes, as fast as MLlib goes, and sum up what the users' factors say."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame

import preferences
from nightreel.recommend.lists import matrix
from nightreel.recommend.population import describe_movies, share_variance, span_of
from nightreel.recommend.progress import told

LIKES_PER_BLOCK = 500_000


class JobError(RuntimeError):
    """Training cannot go on; the sentence says why and what to change."""


@dataclass(frozen=True)
class Factors:
    """A fit: movie ids ascending, ALS' factors of movies and E by the users' likes (m, f), prior and D (m,)."""

    movie_ids: npt.NDArray[np.int64]
    items: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]
    prior: npt.NDArray[np.float32]
    residual: npt.NDArray[np.float32]


def block_count(likes: int) -> int:
    """Return into how many blocks of users, and of movies, that many likes are cut.

    MLlib's 10 suit no size. By the likes and not by the cores, so that the same data start alike on every cluster.
    """
    return 2 + likes // LIKES_PER_BLOCK


def fit(likes: DataFrame, options: argparse.Namespace) -> Factors:
    """Factorise user, movie and like, place the users in the movies' span and describe the movies by it."""
    count = likes.count()
    if not count or not likes.where("like = 1").limit(1).count():
        raise JobError(f"no rating reaches {options.like_threshold} stars; lower --like-threshold")
    blocks = block_count(count)
    als = ALS(
        rank=options.rank,
        maxIter=options.iterations,
        regParam=options.reg,
        alpha=options.alpha,
        seed=options.seed,
        implicitPrefs=True,
        userCol="user",
        itemCol="movie",
        ratingCol="like",
        numUserBlocks=blocks,
        numItemBlocks=blocks,
        checkpointInterval=-1,  # would need a directory that every node shares
    )
    with told(likes.sparkSession.sparkContext, als_in_words(options.iterations, blocks=blocks)):
        model = als.fit(likes)
    found = model.itemFactors.toArrow().sort_by("id")
    if len(found) < 2:
        raise JobError("only one movie is liked by anybody; a model needs two at least")
    movie_ids = found["id"].to_numpy().astype(np.int64)
    items = matrix(found["features"].combine_chunks())
    basis = span_of(items)
    moments = preferences.sum_moments(likes, movie_ids, basis, groups=blocks)
    liking = preferences.describe_liking(likes, movie_ids)
    shared, alone = share_variance(basis, moments.covariance, liking.variance)
    return Factors(movie_ids, items, describe_movies(basis, shared), liking.prior, alone.astype(np.float32))


def als_in_words(iterations: int, *, blocks: int) -> Callable[[int, int, int], str]:
    """Say which iteration ALS is in: it starts a few jobs to prepare and then two per iteration, one for each side."""
    return lambda jobs, done, tasks: (
        f"ALS: iteration {min((jobs - 2) // 2, iterations)} of {iterations} on {blocks} × {blocks} blocks"
        if jobs >= 4
        else ""
    )
