from __future__ import annotations

import numpy as np
import pytest

from nightreel.recommend.ratings import Likes


@pytest.fixture
def checkerboard() -> Likes:
    """Two crowds of 30 users and ten movies each; every user leaves one of their crowd's movies out."""
    pairs = [
        (user, movie)
        for user in range(60)
        for movie in range(10 * (user % 2), 10 * (user % 2) + 10)
        if movie % 10 != 9 - int(np.sqrt(user // 2))
    ]
    users, movies = np.array(pairs).T
    return Likes.from_pairs(users, movies, user_count=60, movie_count=20)
