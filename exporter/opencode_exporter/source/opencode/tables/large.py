"""
Large rows: what SQLite is asked of them, and how their data are read without loading them.

A connection loads no value above `LARGEST`: it raises `apsw.TooBigError`.  Whoever
meets that asks again by the statements made here, and gets such data condensed, a
window at a time.
"""

from __future__ import annotations

import io
from typing import Any, Final

import apsw

from opencode_exporter.decode.condense import Shape, condense
from opencode_exporter.decode.opencode import wanted
from opencode_exporter.decode.values import Unusable
from opencode_exporter.source.opencode.reader import LARGEST, Reader


class OddIdError(Exception):
    """An id is too long to be one, or a blob where it has to be found by itself."""


NEED_CARE: Final = (UnicodeDecodeError, apsw.TooBigError, OddIdError)
"""What reading a row raises that can be read carefully: an odd id, or too much of anything."""
DATA: Final = f"CASE WHEN octet_length(data) <= {LARGEST} THEN CAST(data AS BLOB) END"
"""The data of a row, NULL where they are too large."""
_LONGEST_NAME: Final = 4096  # those of OpenCode have 30 characters
_LONGEST_NUMBER: Final = 20
_SHAPES: Final[dict[str, Shape]] = {
    "part": wanted.PART,
    "message": wanted.MESSAGE,
    "session_message": wanted.SESSION_MESSAGE,
}


def name_of(column: str) -> str:
    """Return SQL for an id or a word as bytes; for one too long, bytes that are no UTF-8."""
    return (
        f"CASE WHEN octet_length({column}) > {_LONGEST_NAME} THEN CAST(x'FF' || rowid AS BLOB) "
        f"ELSE CAST({column} AS BLOB) END"
    )


def number_of(column: str) -> str:
    """Return SQL for a number; NULL where something long is in its place."""
    return f"CASE WHEN octet_length({column}) <= {_LONGEST_NUMBER} THEN {column} END"


def check_ids(*ids: Any) -> None:
    """
    Make sure that a row's ids can be kept: those of a thousand rows are in memory at once.

    Raises:
        OddIdError: One of them is longer than `name_of` returns any.
    """
    try:
        if sum(map(len, ids)) <= _LONGEST_NAME:  # nearly all
            return
    except TypeError:  # a number
        pass
    if any(isinstance(one, str | bytes) and len(one) > _LONGEST_NAME for one in ids):
        raise OddIdError


def is_large(data: bytes | None, size: object) -> bool:
    """Return whether data were not read because they are too large."""
    return data is None and isinstance(size, int) and size > LARGEST


def large_data(reader: Reader, table: str, rowid: int) -> bytes:
    """
    Return what is wanted of data that are too large to be read.

    Raises:
        Unusable: They are no JSON, or even that is too much.
    """
    with reader.stream(table, rowid) as read:
        return condense(read, _SHAPES[table])


def any_data(reader: Reader, table: str, rowid: int) -> bytes | None:
    """Return what is wanted of data that are too large, or None where that fails."""
    try:
        return large_data(reader, table, rowid)
    except Unusable:
        return None


def condensed(table: str, data: bytes) -> bytes:
    """Return what is wanted of data that were read; all of them where they are odd."""
    try:
        return condense(io.BytesIO(data).read, _SHAPES[table])
    except Unusable:
        return data
