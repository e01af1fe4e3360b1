from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from nightreel.bundle.framing import check_not_packed
from nightreel.bundle.reader import content_digest, open_bundle, validate_bundle
from nightreel.bundle.schema import METADATA_KEY, SCHEMA_VERSION, VERSION_KEY, BundleError


def rewrite(path, *, batch=None, metadata=None, batches=1, options=None):
    """Write the file again as a stranger might, around the writer's checks."""
    original = open_bundle(path).batch
    batch = batch or original
    if metadata is None:
        metadata = original.schema.metadata
    batch = batch.replace_schema_metadata(metadata)
    other = path.with_name("other.arrow")
    with pa.ipc.new_file(other, batch.schema, options=options) as writer:
        for _ in range(batches):
            writer.write_batch(batch)
    return other


def with_column(path, name, values):
    batch = open_bundle(path).batch
    columns = [
        values if field.name == name else column for field, column in zip(batch.schema, batch.columns, strict=True)
    ]
    fields = [pa.field(f.name, c.type) for f, c in zip(batch.schema, columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, metadata=batch.schema.metadata))


def test_open_bundle_gives_read_only_views_of_the_mapped_file(write):
    bundle = open_bundle(write())
    for values in (bundle.movie_ids, bundle.prior, bundle.embedding, bundle.neighbour_ids, bundle.neighbour_scores):
        assert not values.flags.owndata
        assert not values.flags.writeable
    assert bundle.embedding.shape == (6, 3)
    assert bundle.embedding.dtype == np.float32
    assert bundle.neighbour_ids.dtype == np.int32


def test_open_bundle_reads_texts_and_finds_rows(write):
    bundle = open_bundle(write())
    assert len(bundle) == 6
    assert bundle.titles[2] == "Movie 2"
    assert bundle.years[:2] == [1995, None]
    assert bundle.genres[2] == ["Comedy", "War"]
    assert bundle.imdb_ids[:2] == ["0114709", None]
    assert bundle.tmdb_ids[0] is None
    assert bundle.row_of(12) == 2
    assert bundle.row_of(99) is None


def test_views_outlive_the_bundle_and_its_file(write):
    path = write()
    prior = open_bundle(path).prior
    expected = prior.copy()
    path.unlink()
    np.testing.assert_array_equal(prior, expected)


def test_open_bundle_names_a_missing_file(tmp_path):
    with pytest.raises(BundleError, match="there is no bundle at"):
        open_bundle(tmp_path / "none.arrow")


@pytest.mark.parametrize("keep", [0, 10, 200, -200, -10])
def test_open_bundle_refuses_a_file_cut_short(write, keep):
    path = write()
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BundleError, match="not a whole Arrow file"):
        open_bundle(path)


def test_open_bundle_refuses_an_unknown_schema_version(write):
    path = write()
    future = open_bundle(path).batch.schema.metadata | {VERSION_KEY: str(SCHEMA_VERSION + 1).encode()}
    with pytest.raises(BundleError, match=f"schema version {SCHEMA_VERSION + 1}; this Nightreel reads"):
        open_bundle(rewrite(path, metadata=future))


def test_open_bundle_reads_the_version_before_its_own(write):
    path = write()
    stored = json.loads(open_bundle(path).batch.schema.metadata[METADATA_KEY]) | {"schema_version": 2}
    assert "kinship" not in repr(stored["taste"])
    metadata = {VERSION_KEY: b"2", METADATA_KEY: json.dumps(stored).encode()}
    path_of_2 = validate_bundle(rewrite(path, metadata=metadata)).metadata.taste_path
    assert path_of_2.kinship_columns == 0
    assert {point.kinship for point in path_of_2.points} == {1.0}


def test_open_bundle_refuses_two_versions_that_differ(write):
    path = write()
    metadata = open_bundle(path).batch.schema.metadata | {VERSION_KEY: b"2"}
    with pytest.raises(BundleError, match="says schema version 3, its file says 2"):
        open_bundle(rewrite(path, metadata=metadata))


def test_alternate_titles_come_as_they_were_written(write):
    written = [["Shichinin no samurai"], [], [], [], [], []]
    assert validate_bundle(write(alternate_titles=written)).alternate_titles == written


@pytest.mark.parametrize("titles", [[" "], ["a\nb"], ["x"] * 21])
def test_validate_bundle_refuses_strange_alternate_titles(write, titles):
    with pytest.raises(BundleError, match="column alternate_titles"):
        write(alternate_titles=[titles, [], [], [], [], []])


def test_open_bundle_refuses_an_arrow_file_that_is_no_bundle(write):
    with pytest.raises(BundleError, match="no bundle"):
        open_bundle(rewrite(write(), metadata={}))


def test_open_bundle_refuses_two_batches(write):
    with pytest.raises(BundleError, match="2 record batches"):
        open_bundle(rewrite(write(), batches=2))


def test_open_bundle_refuses_another_type(write):
    path = write()
    batch = with_column(path, "prior", pa.array(np.zeros(6)))
    with pytest.raises(BundleError, match="column prior is double; expected float"):
        open_bundle(rewrite(path, batch=batch))


def test_open_bundle_refuses_a_missing_column(write):
    path = write()
    batch = open_bundle(path).batch.drop_columns(["embedding"])
    with pytest.raises(BundleError, match="column embedding is missing"):
        open_bundle(rewrite(path, batch=batch))


def test_open_bundle_refuses_compression(write):
    path = write(title=["a long and compressible title " * 15] * 6)
    compressed = pa.ipc.IpcWriteOptions(compression="zstd")
    with pytest.raises(BundleError, match="compressed"):
        open_bundle(rewrite(path, options=compressed))


def test_validate_bundle_accepts_what_the_writer_wrote(write):
    assert len(validate_bundle(write())) == 6


def test_validate_bundle_refuses_nulls_in_numbers(write):
    path = write()
    batch = with_column(path, "prior", pa.array([None] * 6, pa.float32()))
    with pytest.raises(BundleError, match="column prior has 6 nulls"):
        validate_bundle(rewrite(path, batch=batch))


def test_validate_bundle_refuses_string_offsets_beyond_the_data(write):
    path = write()
    offsets = np.array([0, 1, 10**6, 3, 4, 5, 6], np.int32)
    titles = pa.Array.from_buffers(pa.string(), 6, [None, pa.py_buffer(offsets), pa.py_buffer(b"abcdef")])
    with pytest.raises(BundleError, match="malformed"):
        validate_bundle(rewrite(path, batch=with_column(path, "title", titles)))


def test_content_digest_ignores_the_run_and_sees_the_model(write):
    digest = content_digest(write())
    assert content_digest(write(metadata_changes={"run_id": "another", "created": "2027"})) == digest
    assert content_digest(write(residual=np.ones(6))) != digest


@pytest.mark.parametrize("title", ["x" * 501, "line\nbreak", "\x00", "\u202egnp"])
def test_validate_bundle_refuses_titles_that_are_none(write, title):
    path = write()
    batch = with_column(path, "title", pa.array([title, *"bcdef"]))
    with pytest.raises(BundleError, match="column title"):
        validate_bundle(rewrite(path, batch=batch))


@pytest.mark.parametrize("movie_id", [-5, 10**18, 2**63 - 1])
def test_validate_bundle_refuses_ids_that_can_be_no_seed(write, movie_id):
    path = write()
    batch = with_column(path, "movie_id", pa.array([movie_id, 2, 3, 4, 5, 6], pa.int64()))
    with pytest.raises(BundleError, match="column movie_id"):
        validate_bundle(rewrite(path, batch=batch))


@pytest.mark.parametrize("packing", ["lz4", "zstd"])
def test_open_refuses_a_packed_file_before_it_is_unpacked(write, tmp_path, packing):
    zeros = pa.record_batch({"zeros": pa.array(np.zeros(2**24, np.int64))})
    good = pa.ipc.open_file(write()).schema
    packed = tmp_path / "packed.arrow"
    with pa.ipc.new_file(
        packed, zeros.schema.with_metadata(good.metadata), options=pa.ipc.IpcWriteOptions(compression=packing)
    ) as file:
        file.write_batch(zeros)
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(BundleError, match="compressed"):
        open_bundle(packed)
    assert pa.default_memory_pool().max_memory() == before


def test_open_refuses_dictionaries(write, tmp_path):
    batch = pa.record_batch({"title": pa.array(["a", "b"]).dictionary_encode()})
    path = tmp_path / "dictionary.arrow"
    schema = batch.schema.with_metadata(pa.ipc.open_file(write()).schema.metadata)
    with pa.ipc.new_file(path, schema) as file:
        file.write_batch(batch.replace_schema_metadata(schema.metadata))
    with pytest.raises(BundleError, match="dictionaries"):
        open_bundle(path)


@pytest.mark.parametrize("cut", [0, 6, 10, 11, 500])
def test_frame_that_leads_nowhere_is_refused(write, cut):
    body = write().read_bytes()
    for broken in (body[:cut], body[:8] + body[-cut:] if cut else b"", bytes([255]) * cut + b"\xff\xff\xff\x7fARROW1"):
        with pytest.raises(BundleError, match="whole Arrow file"):
            check_not_packed(memoryview(broken), name="a file")
