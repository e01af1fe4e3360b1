"""Look at an Arrow file's frame before Arrow reads it, for it would unpack what is packed before it could be refused.

A file of a megabyte may hold gigabytes of packed zeros. Arrow's Python interface has no way to ask for it, so the four
tables on the way there are read as flatbuffers lay them out (Footer, Block, Message and RecordBatch in Arrow's File.fbs
and Message.fbs).
"""

from __future__ import annotations

import struct

from nightreel.bundle.errors import BundleError

MAGIC = b"ARROW1"
FOOTER_DICTIONARIES, FOOTER_BATCHES, MESSAGE_HEADER, BATCH_COMPRESSION = 2, 3, 2, 3
BLOCK_BYTES = 24
CONTINUATION = 0xFFFFFFFF


def check_not_packed(file: memoryview, *, name: str) -> None:
    """Raise BundleError for a file with packed batches or dictionaries, or whose frame leads nowhere."""
    try:
        footer = _footer(file)
        if _length(file, footer, FOOTER_DICTIONARIES):
            raise BundleError(f"{name} has dictionaries; a bundle has none, so that it can be mapped")
        for number in range(_length(file, footer, FOOTER_BATCHES)):
            blocks = _follow(file, _place(file, footer, FOOTER_BATCHES))
            (offset,) = _unpack("<q", file, blocks + 4 + number * BLOCK_BYTES)
            batch = _follow(file, _place(file, _message(file, offset), MESSAGE_HEADER))
            if _place(file, batch, BATCH_COMPRESSION):
                raise BundleError(f"{name} is compressed or misaligned; a bundle is neither, so that it can be mapped")
    except (struct.error, IndexError) as error:
        raise BundleError(f"{name} is not a whole Arrow file: its frame leads nowhere") from error


def _unpack(form: str, file: memoryview, place: int) -> tuple[int, ...]:
    if place < 0:
        raise IndexError(place)  # struct would count from the end
    return struct.unpack_from(form, file, place)


def _footer(file: memoryview) -> int:
    end = len(file) - len(MAGIC)
    if end < 4 or bytes(file[end:]) != MAGIC:
        raise IndexError(end)
    (size,) = _unpack("<i", file, end - 4)
    return _follow(file, end - 4 - size)


def _message(file: memoryview, offset: int) -> int:
    (first,) = _unpack("<I", file, offset)
    return _follow(file, offset + (8 if first == CONTINUATION else 4))


def _follow(file: memoryview, place: int) -> int:
    """Return where the offset at a place leads."""
    (offset,) = _unpack("<I", file, place)
    return place + offset


def _place(file: memoryview, table: int, field: int) -> int:
    """Return where a table's field lies, 0 when the table does not have it."""
    (back,) = _unpack("<i", file, table)
    vtable = table - back
    (size,) = _unpack("<H", file, vtable)
    if 4 + 2 * field + 2 > size:
        return 0
    (offset,) = _unpack("<H", file, vtable + 4 + 2 * field)
    return table + offset if offset else 0


def _length(file: memoryview, table: int, field: int) -> int:
    """Return how many entries a table's vector has."""
    place = _place(file, table, field)
    return _unpack("<I", file, _follow(file, place))[0] if place else 0
