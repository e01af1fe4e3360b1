"""Runs in implicit's own environment: fit its ALS to likes and score all movies for each query's seeds."""

import sys

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

given, answer, factors, regularisation, alpha = sys.argv[1:]
data = np.load(given)
users, movies, seeds = data["users"], data["movies"], data["seeds"]
shape = tuple(data["shape"].tolist())
likes = csr_matrix((np.ones(len(users), np.float32), (users, movies)), shape=shape)
model = AlternatingLeastSquares(
    factors=int(factors),
    regularization=float(regularisation),
    alpha=float(alpha),
    iterations=10,
    random_state=7,
    num_threads=1,
)
model.fit(likes, show_progress=False)
rows = np.repeat(np.arange(len(seeds)), seeds.shape[1])
asked = csr_matrix((np.ones(seeds.size, np.float32), (rows, seeds.ravel())), shape=(len(seeds), shape[1]))
folded = model.recalculate_user(np.arange(len(seeds)), asked)
np.save(answer, folded @ model.item_factors.T)
