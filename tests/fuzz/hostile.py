"""What somebody would send who means harm, or whose disk is failing: bundles, addresses, headers."""

from __future__ import annotations

import io
import json
from typing import Any
from urllib.parse import quote

import pyarrow as pa
from hypothesis import strategies as st

from nightreel.bundle.schema import METADATA_KEY

# A fixed alphabet: controls, accents, scripts, joiners, directions, astral planes and lone surrogates. To draw from all
# of Unicode would cost more than to answer.
LETTERS = "aAzZ09 %&=+#?;:/\\\\'\"<>{}[]()|~^*_-.,!@$`\0\t\r\n\x1b\x7f\x85\xa0éßøŁıſ²½٣१ñ"
LETTERS += "\u0301\u200b\u200d\u202e\u2028\ufeff\uffff"
LETTERS += "映画фильмשלוםمرحبا한글ไทย🎬👩\u200d🚀𝟙\U0010ffff"
SURROGATES = "\ud800\udfff"
TEXT = st.text(LETTERS, max_size=30)
HARMFUL_TEXT = st.one_of(
    st.text(LETTERS + SURROGATES, max_size=40),
    st.sampled_from(
        ["", "\x00", "'; DROP TABLE recommender_movie; --", "<script>alert(1)</script>", "../../etc/passwd", "%00", "٣"]
    ),
    st.sampled_from(["1:5", "100:5", "100:nan", "-1", "9" * 40, "1e999", "null", "{}", "[]", "NaN", "inf", "0x10"]),
)
JSON_VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=8,
)


def flipped(body: bytes) -> st.SearchStrategy[bytes]:
    """Some bytes of a good bundle changed."""

    def change(changes: list[tuple[int, int]]) -> bytes:
        changed = bytearray(body)
        for place, value in changes:
            changed[place] = value
        return bytes(changed)

    places = st.integers(0, len(body) - 1)
    return st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=12).map(change)


def flipped_at_the_ends(body: bytes) -> st.SearchStrategy[bytes]:
    """Bytes changed where Arrow keeps its lengths and offsets: in the schema at the start and the footer at the end."""
    ends = st.one_of(st.integers(0, 2000), st.integers(len(body) - 6000, len(body) - 1))

    def change(changes: list[tuple[int, int]]) -> bytes:
        changed = bytearray(body)
        for place, value in changes:
            changed[place % len(body)] = value
        return bytes(changed)

    return st.lists(st.tuples(ends, st.integers(0, 255)), min_size=1, max_size=6).map(change)


def cut_and_glued(body: bytes) -> st.SearchStrategy[bytes]:
    """A piece left out, doubled, or put elsewhere."""
    places = st.tuples(*[st.integers(0, len(body))] * 3)
    return places.map(sorted).map(lambda cuts: body[: cuts[0]] + body[cuts[1] :] + body[cuts[0] : cuts[2]])


def with_strange_metadata(body: bytes) -> st.SearchStrategy[bytes]:
    """A whole Arrow file whose metadata says something else."""
    batch = pa.ipc.open_file(body).get_batch(0)
    metadata = dict(batch.schema.metadata)
    content = json.loads(metadata[METADATA_KEY])
    replaced = st.tuples(st.sampled_from(sorted(content)), JSON_VALUE).map(lambda pair: content | dict([pair]))
    added = st.tuples(st.sampled_from(["dataset", "evaluation", "parameters", "versions"]), TEXT, JSON_VALUE)

    def with_entry(entry: tuple[str, str, Any]) -> dict[str, Any]:
        part, name, value = entry
        here = content[part]
        return content | {part: [*here, {name: value}] if isinstance(here, list) else here | {name: value}}

    def rewritten(said: Any) -> bytes:
        return arrow_file(batch.replace_schema_metadata(metadata | {METADATA_KEY: json.dumps(said).encode()}))

    return st.one_of(replaced, added.map(with_entry), JSON_VALUE).map(rewritten)


def with_a_strange_column(body: bytes) -> st.SearchStrategy[bytes]:
    """A whole Arrow file in which one column holds other values, or is of another type."""
    batch = pa.ipc.open_file(body).get_batch(0)
    rows = batch.num_rows
    numbers = st.sampled_from(["movie_id", "rating_count", "mean_rating", "prior", "residual", "year"])
    values = st.one_of(st.integers(-(2**15), 2**15 - 1), st.floats(width=32))

    def with_number(change: tuple[str, int, Any]) -> bytes:
        name, row, value = change
        index = batch.schema.get_field_index(name)
        column = batch.column(index).to_pylist()
        kind = batch.schema.field(index).type
        try:
            column[row] = int(value) if pa.types.is_integer(kind) else float(value)
            return arrow_file(batch.set_column(index, batch.schema.field(index), pa.array(column, type=kind)))
        except (ValueError, OverflowError, pa.ArrowException):
            return body[:row]

    def with_title(change: tuple[int, str]) -> bytes:
        row, title = change
        index = batch.schema.get_field_index("title")
        column = batch.column(index).to_pylist()
        column[row] = title
        return arrow_file(batch.set_column(index, batch.schema.field(index), pa.array(column, type=pa.string())))

    def with_type(change: tuple[int, pa.DataType]) -> bytes:
        index, kind = change
        column = pa.nulls(rows, kind)
        return arrow_file(batch.set_column(index, pa.field(batch.schema.names[index], kind), column))

    row = st.integers(0, rows - 1)
    kinds = st.sampled_from(
        [pa.string(), pa.int8(), pa.float64(), pa.list_(pa.int32()), pa.list_(pa.float32(), 3), pa.binary(), pa.bool_()]
    )
    return st.one_of(
        st.tuples(numbers, row, values).map(with_number),
        st.tuples(row, TEXT).map(with_title),
        st.tuples(st.integers(0, batch.num_columns - 1), kinds).map(with_type),
    )


def compressed(body: bytes) -> st.SearchStrategy[bytes]:
    """The bundle packed, with bytes changed in it: what unpacks it must not be trusted with that."""
    batch = pa.ipc.open_file(body).get_batch(0)
    packed = [arrow_file(batch, compression=name) for name in ("lz4", "zstd")]
    return st.one_of(*[st.one_of(st.just(file), flipped(file)) for file in packed])


def arrow_file(batch: pa.RecordBatch, *, compression: str | None = None) -> bytes:
    """A batch as a file."""
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def bundles(body: bytes) -> st.SearchStrategy[bytes]:
    """Hostile bundles made from a good one."""
    return st.one_of(
        flipped(body),
        flipped_at_the_ends(body),
        cut_and_glued(body),
        with_strange_metadata(body),
        with_a_strange_column(body),
        compressed(body),
        st.binary(max_size=200),
        st.binary(max_size=100).map(lambda middle: b"ARROW1\0\0" + middle + b"ARROW1"),
    )


NAMES = st.one_of(
    st.sampled_from(["seed", "taste", "n", "q", "as_of", "after", "limit", "page", "genre", "seen", "decade"]),
    st.sampled_from(["without", "fame", "hide", "surprise", "mine", "draw"]),
    st.sampled_from(["title1", "title2", "rating1", "movie1", "asked1", "title5", "csrfmiddlewaretoken"]),
    TEXT,
)
NEARLY_RIGHT = st.tuples(
    st.sampled_from(["seed", "seed", "seed", "taste", "n", "decade", "fame", "hide", "surprise", "genre"]),
    st.sampled_from(
        ["100:5", "101:nan", "102:5e", "100:٥", "103:inf", "104:1_0", "9:-1", "100:5.", "0x64:5", "1e3", "nan"]
    ),
)
RAW_QUERY = st.binary(max_size=80).map(lambda raw: quote(raw, safe="&=;+%"))
QUERY = st.one_of(
    RAW_QUERY,
    st.lists(NEARLY_RIGHT, min_size=1, max_size=5).map(lambda pairs: "&".join(f"{n}={quote(v)}" for n, v in pairs)),
    st.lists(st.tuples(NAMES, HARMFUL_TEXT), max_size=7).map(
        lambda pairs: "&".join(
            f"{quote(name, errors='surrogatepass')}={quote(value, errors='surrogatepass')}" for name, value in pairs
        )
    ),
)
PATHS = st.one_of(
    st.sampled_from(
        ["/", "/model/", "/api/", "/metrics", "/readyz", "/staff/models/", "/admin/login/", "/admin/", "/privacy"]
    ),
    st.sampled_from(["/answers", "/suggest", "/list", "/robots.txt", "/remember/consent", "/remember/ratings"]),
    st.sampled_from(["/films/", "/posters/"]).flatmap(
        lambda start: HARMFUL_TEXT.map(lambda text: start + quote(text, safe="", errors="surrogatepass"))
    ),
    st.sampled_from(["/api/v1/movies", "/api/v1/recommendations", "/api/v1/model", "/api/v1/ratings", "/api/movies"]),
    HARMFUL_TEXT.map(lambda text: f"/api/v1/movies/{quote(text, safe='', errors='surrogatepass')}/similar"),
    HARMFUL_TEXT.map(lambda text: f"/api/v1/bundles/{quote(text, safe='', errors='surrogatepass')}"),
    HARMFUL_TEXT.map(lambda text: f"/staff/models/{quote(text, safe='', errors='surrogatepass')}/report/"),
    HARMFUL_TEXT.map(lambda text: f"/{quote(text, errors='surrogatepass')}"),
)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE"])
LATIN = st.text("".join(map(chr, set(range(256)) - {10, 13})), max_size=60)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *["host", "authorization", "content-digest", "content-type", "cookie", "if-none-match", "accept"],
            *["accept-encoding", "origin", "referer", "x-forwarded-proto", "x-forwarded-host", "range", "expect"],
            *["transfer-encoding", "content-length", "user-agent", "x-requested-with", "te", "forwarded"],
        ]
    ),
    st.one_of(
        LATIN,
        HARMFUL_TEXT.map(lambda text: text.encode(errors="replace").decode("latin-1")),
        st.sampled_from(
            ["Bearer", "Bearer ", "Bearer x", "Basic eDp5", "bearer " + "a" * 5000, '"*"', "*", 'W/"a",,"b"']
        ),
        st.sampled_from(
            ["sha-256=:AAAA:", "sha-256=::", "sha-256=:" + "A" * 43 + "=:", "-1", "1" * 30, "application/json"]
        ),
        st.sampled_from(["sessionid=x; csrftoken=y", "bytes=0-0", "testserver", "testserver:99999", "[::1", "null"]),
    ),
    max_size=5,
)
