"""The taste model of a few likes, factorised by their singular values in place of ALS."""

from __future__ import annotations

import numpy as np

from nightreel.recommend.population import Moments, describe_movies, span_of
from nightreel.recommend.ratings import Likes
from nightreel.recommend.taste_model import TasteModel, path_for


def model_of(likes: Likes, rank: int = 4) -> tuple[np.ndarray, TasteModel]:
    """Return movie factors (m, rank) and the model built on them."""
    dense = np.zeros((likes.user_count, likes.movie_count))
    dense[likes.users, likes.movies] = 1
    factors = np.linalg.svd(dense, full_matrices=False)[2][:rank].T.astype(np.float32)
    basis = span_of(factors)
    moments = Moments.of_likes(basis, users=likes.users, movies=likes.movies, values=np.ones(len(likes)))
    embedding = describe_movies(basis, moments.covariance)
    active = likes.activity > 0
    prior = (dense[active].T @ (1 / likes.activity[active]) / (1 / likes.activity[active]).sum()).astype(np.float32)
    path = path_for(embedding, kinship_columns=0)
    return factors, TasteModel(embedding=embedding, prior=prior, residual=np.zeros_like(prior), path=path)
