"""Fit the library implicit once and print what it took as JSON; `benchmarks.als` starts it in a Python that has it."""

import json
import sys
import time

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares


def main() -> None:
    """Read the settings from the command line, fit and measure."""
    settings = json.loads(sys.argv[1])
    rows = pq.read_table(settings["data"], columns=["userId", "movieId", "rating"])
    rows = rows.filter(pc.greater_equal(rows["rating"], 4))
    users, movies = rows["userId"].to_numpy(), rows["movieId"].to_numpy()
    likes = sp.csr_matrix((np.ones(len(users), np.float32), (users, movies)))
    model = AlternatingLeastSquares(
        factors=settings["rank"],
        iterations=settings["iterations"],
        regularization=0.03,
        alpha=1.0,
        use_cg=settings["solver"] != "Cholesky",
        random_state=7,
    )
    processor, wall = time.process_time(), time.monotonic()
    model.fit(likes, show_progress=False)
    took = {"wall": time.monotonic() - wall, "processor": time.process_time() - processor, "likes": len(users)}
    print("RESULT " + json.dumps(took))


if __name__ == "__main__":
    main()
