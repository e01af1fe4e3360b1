"""Where ratings and movies lie on disk, and in which form: MovieLens' layouts are told apart, others described."""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TextIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from nightreel.recommend.errors import DatasetError

__all__ = [
    "MOVIE_FIELDS",
    "OWN",
    "RATING_FIELDS",
    "README",
    "SUPPORTED",
    "DatasetError",
    "Layout",
    "Table",
    "find_layout",
    "parse_columns",
    "rows_of",
]

Form = Literal["csv", "parquet"]
README = ("README.txt", "README")
RATING_FIELDS, MOVIE_FIELDS = ("user", "movie", "rating", "time"), ("movie", "title", "year", "genres")
CSV = "MovieLens CSV"
OWN = "own columns"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A file of rows, or a folder of Parquet parts, and which of its columns mean something to us.

    `columns` has our names for the columns that are there, with theirs; `positions`, for CSV, the places of these.
    """

    path: Path
    form: Form = "csv"
    separator: str = ","
    header: bool = True
    columns: Mapping[str, str] = field(default_factory=dict)
    positions: Mapping[str, int] = field(default_factory=dict)

    @property
    def parts(self) -> list[Path]:
        """The file itself, or the files of the folder, in the order of their names."""
        if self.path.is_dir():
            return [part for part in sorted(self.path.rglob("*")) if part.is_file() and part.name[0] not in "._"]
        return [self.path]

    def open_text(self) -> TextIO:
        """Open a text file, compressed or not, as UTF-8, or as Latin-1 when it is not that."""
        encoding = "utf-8-sig"
        try:
            with self._open(encoding) as file:
                while file.read(1 << 20):
                    pass
        except UnicodeDecodeError:
            encoding = "latin-1"
        return self._open(encoding)

    def _open(self, encoding: str) -> TextIO:
        if self.path.suffix == ".gz":
            return cast(TextIO, gzip.open(self.path, "rt", encoding=encoding, newline=""))
        return self.path.open(encoding=encoding, newline="")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A set of ratings: the ratings themselves, what the movies are called, and links to other catalogues."""

    name: str
    source: Table
    titles: Table | None = None
    links: Path | None = None

    @property
    def ratings(self) -> Path:
        """The file (or the folder of Parquet parts) with the ratings."""
        return self.source.path

    @property
    def location(self) -> Path:
        """What to call this set by: its folder, or for one's own data the ratings themselves."""
        return self.ratings if self.name == OWN else self.ratings.parent

    @property
    def readme(self) -> Path | None:
        """What tells which data set it is, where there is such a file."""
        there = [self.ratings.with_name(name) for name in README if self.ratings.with_name(name).is_file()]
        return there[0] if there and self.name != OWN else None

    @property
    def files(self) -> dict[str, Path]:
        """What the job reads, by its path beside the ratings, and nothing else that may lie there."""
        known = [self.titles.path if self.titles else None, self.links, self.readme]
        shipped = {path.name: path for path in known if path is not None}
        for part in self.source.parts:
            shipped[str(part.relative_to(self.ratings.parent))] = part
        return shipped

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hex over the ratings and the movies file: names this very data."""
        digest = hashlib.sha256()
        for path in [*self.source.parts, *(self.titles.parts if self.titles else [])]:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


LAST_ID_1M = 3952
_PLAIN = {"user": 0, "movie": 1, "rating": 2, "time": 3}
SUPPORTED = (
    (CSV, "ratings.csv", "movies.csv", ",", True),
    ("MovieLens Parquet", "ratings.parquet", "movies.csv", ",", True),
    ("MovieLens 1M", "ratings.dat", "movies.dat", "::", False),  # or 10M
    ("MovieLens 100K", "u.data", "u.item", "\t", False),
    ("RecBole MovieLens 100K", "ml-100k.inter", "ml-100k.item", "\t", True),
)
_PARQUET = {"user": "userId", "movie": "movieId", "rating": "rating", "time": "timestamp"}


def find_layout(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    movies: Path | None = None,
    movie_columns: Mapping[str, str] | None = None,
) -> Layout:
    """Recognise MovieLens' layout of a folder, or take one's own file as `columns` describe it.

    DatasetError when the folder has none of the supported layouts or a named column is not there.
    """
    if columns:
        return _own_layout(path, columns, movies, movie_columns)
    if movies or movie_columns:
        raise DatasetError("a movies file of one's own needs the ratings' columns too: --columns user=…,movie=…")
    if path.is_file() or path.suffix == ".parquet":
        raise DatasetError(f"{path} is no folder: name what is in it by --columns user=…,movie=…,rating=…,time=…")
    if not path.is_dir():
        raise DatasetError(f"there is no folder {path}; expected one with {_supported()}")
    for name, ratings, titles, separator, header in SUPPORTED:
        if (path / ratings).exists():
            return _movielens(path, name, ratings, titles, separator, header=header)
    raise DatasetError(f"{path} has no ratings that can be read; expected {_supported()}")


def _movielens(path: Path, name: str, ratings: str, titles: str, separator: str, *, header: bool) -> Layout:
    if not (path / titles).is_file():
        raise DatasetError(f"{path} has {ratings} but no {titles} beside it, which names the movies")
    if name == "MovieLens 1M" and _highest_id(path / titles) > LAST_ID_1M:
        name = "MovieLens 10M"
    links = path / "links.csv"
    if ratings.endswith(".parquet"):
        source = Table(path=path / ratings, form="parquet", columns=_PARQUET)
        _refuse_missing(source, _parquet_names(source))
    else:
        source = Table(path=path / ratings, separator=separator, header=header, positions=_PLAIN)
    return Layout(
        name=name,
        source=source,
        titles=Table(path=path / titles, separator=separator, header=header),
        links=links if titles == "movies.csv" and links.is_file() else None,
    )


def _highest_id(titles: Path) -> int:
    """1M and 10M have the same files in the same form, but 10M goes on where the movies of 1M end."""
    with titles.open("rb") as file:
        ids = [line.split(b"::", 1)[0] for line in file]
    return max((int(found) for found in ids if found.isdigit()), default=0)


def _supported() -> str:
    return " or ".join(f"{ratings} and {movies} ({name})" for name, ratings, movies, *_ in SUPPORTED)


def parse_columns(text: str, *, fields: Sequence[str], needed: Sequence[str]) -> dict[str, str]:
    """Read `user=customer,movie=film`; DatasetError for an unknown, a repeated or a missing name."""
    pairs = [part.split("=", 1) for part in text.split(",") if part.strip()]
    found = {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}
    usage = ",".join(f"{name}=…" if name in needed else f"[{name}=…]" for name in fields)
    if len(found) != len(pairs) or not all(found.values()) or not set(found) <= set(fields):
        raise DatasetError(f"the columns {text!r} cannot be understood; expected {usage}")
    if missing := [name for name in needed if name not in found]:
        raise DatasetError(f"the columns {text!r} do not say which is the {' and the '.join(missing)}: {usage}")
    return found


def _own_layout(
    path: Path, columns: Mapping[str, str], movies: Path | None, movie_columns: Mapping[str, str] | None
) -> Layout:
    if movies and not movie_columns:
        raise DatasetError(f"name what is in {movies} by --movie-columns movie=…,title=…")
    if movie_columns and not movies:
        raise DatasetError("--movie-columns describe a file that --movies names: give both")
    titles = _own_table(movies, movie_columns) if movies and movie_columns else None
    return Layout(name=OWN, source=_own_table(path, columns), titles=titles)


def _own_table(path: Path, columns: Mapping[str, str]) -> Table:
    if not path.exists():
        raise DatasetError(f"there is no file {path}")
    if path.is_dir() or path.suffix == ".parquet":
        table = Table(path=path, form="parquet", columns=columns)
        _refuse_missing(table, _parquet_names(table))
        return table
    plain = Table(path=path)
    try:
        with plain.open_text() as file:
            line = file.readline()
    except (OSError, EOFError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    separator = max(",;\t|", key=line.count)
    names = [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
    table = Table(path=path, separator=separator, columns=columns)
    _refuse_missing(table, names)
    positions = {ours: names.index(theirs) for ours, theirs in columns.items()}
    return Table(path=path, separator=separator, columns=columns, positions=positions)


def _parquet_names(table: Table) -> list[str]:
    if not table.parts:
        raise DatasetError(f"the folder {table.path} is empty; expected Parquet files")
    try:
        return list(pq.read_schema(table.parts[0]).names)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{table.parts[0]} is no Parquet file: {error}") from error


def _refuse_missing(table: Table, names: Sequence[str]) -> None:
    missing = [theirs for theirs in table.columns.values() if theirs not in names]
    if missing:
        there = ", ".join(names) or "none"
        raise DatasetError(f"{table.path} has no column {' and no column '.join(missing)}; it has {there}")


def rows_of(table: Table) -> Iterator[list[str]]:
    """Read the described columns of a table of one's own as text, in the order of `columns`; "" for no value."""
    if table.form == "parquet":
        for part in table.parts:
            for batch in pq.ParquetFile(part).iter_batches(columns=list(table.columns.values())):
                names = [batch.column(theirs).to_pylist() for theirs in table.columns.values()]
                yield from ([_as_text(value) for value in row] for row in zip(*names, strict=True))
        return
    with table.open_text() as file:
        rows = csv.reader(file, delimiter=table.separator)
        next(rows, None)
        for row in rows:
            yield [row[place] if place < len(row) else "" for place in table.positions.values()]


def _as_text(value: object) -> str:
    if isinstance(value, list):
        return "|".join(map(str, value))
    return "" if value is None else str(value)
