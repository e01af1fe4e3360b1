from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from nightreel.bundle.reader import open_bundle, sha256_of
from nightreel.bundle.schema import BundleError


def test_write_bundle_returns_the_digest_of_one_uncompressed_batch(write):
    path = write()
    file = pa.ipc.open_file(path)
    assert file.num_record_batches == 1
    assert path.stat().st_size > file.get_batch(0).nbytes
    assert open_bundle(path).metadata.run_id == "test-run"
    assert len(sha256_of(path)) == 64


def test_write_bundle_twice_gives_the_same_bytes(write):
    first = write().read_bytes()
    assert write().read_bytes() == first


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("movie_id", np.ones(6), "names a movie twice"),
        ("prior", np.array([0, 0, np.nan, 0, 0, 0]), "prior has a number that is not finite .first at row 2"),
        ("embedding", np.full((6, 3), np.inf), "embedding has a number that is not finite"),
        ("residual", np.full(6, -1.0), "negative variance"),
        ("rating_count", np.full(6, -1), "negative count"),
        ("mean_rating", np.full(6, 5.5), "0 to 5 stars"),
        ("neighbour_ids", np.tile([6, 7], (6, 1)), "leaves the rows 0 to 5"),
        ("neighbour_ids", np.tile([0, 1], (6, 1)), "its own neighbour .first at row 0"),
        ("neighbour_ids", np.array([[1, 1]] + [[0, 0]] * 5), "names a neighbour twice"),
        ("neighbour_scores", np.tile([0.1, 0.2], (6, 1)), "not sorted"),
        ("neighbour_scores", np.tile([3.0, 0.2], (6, 1)), "outside of -1 to 1"),
        ("neighbour_scores", np.full((6, 3), 0.1), "differ in length"),
        ("embedding", np.zeros(6), "wrong shape or type"),
        ("title", ["Heat", " ", "A", "B", "C", "D"], "printable characters .first wrong at row 1"),
        ("title", ["Heat"], "differ in length"),
    ],
)
def test_write_bundle_refuses_and_leaves_no_file(write, tmp_path, column, value, sentence):
    with pytest.raises(BundleError, match=sentence):
        write(**{column: value})
    assert list(tmp_path.iterdir()) == []


def test_write_bundle_keeps_the_old_file_when_the_new_one_is_refused(write):
    path = write()
    before = path.read_bytes()
    with pytest.raises(BundleError):
        write(prior=np.full(6, np.nan))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"run_id": ""}, "run_id must be"),
        ({"evaluation": ["x"]}, "evaluation must be"),
        ({"taste": {}}, "taste is not a path"),
        ({"taste": {"offset": 0, "points": []}}, "rise from 0 to 1"),
    ],
)
def test_write_bundle_refuses_metadata(write, change, sentence):
    with pytest.raises(BundleError, match=sentence):
        write(metadata_changes=change)
