"""
Parts of v1 without a message: no message brings them.

There are hardly any; they are found in the index of the messages' parts, some thousand
messages at a time, so that nobody looks at each part for them.
"""

from __future__ import annotations

import json
from typing import Final

import apsw

from opencode_exporter.source.opencode.reader import Reader

_MOST: Final = 500
_MESSAGES: Final = 5000

Sized = tuple[int, int | None]
"""Rowid of a row, and the bytes of its data."""


def orphans(reader: Reader, wanted: str) -> list[Sized] | None:
    """
    Return the parts without a message; None where only a look at each part tells.

    Args:
        reader: The open source.
        wanted: SQL that tells which parts are asked for.
    """
    try:
        gone = _gone_messages(reader)
        if len(gone) > _MOST or not all(isinstance(name, str) for name in gone):
            return None
        sql = (
            "SELECT rowid, octet_length(data) FROM part "
            f"WHERE message_id IN (SELECT value FROM json_each(?)) AND {wanted} LIMIT {_MOST + 1}"
        )
        rows = reader.query(sql, (json.dumps(gone),))
        found: list[Sized] = [(rowid, size) for rowid, size in rows]
    except (UnicodeDecodeError, apsw.CorruptError):
        return None
    return sorted(found) if len(found) <= _MOST else None


def _gone_messages(reader: Reader) -> list[object]:
    """Return the messages that parts name and that are not there: at most some hundred."""
    gone: list[object] = []
    where, values = "", tuple[object, ...]()
    while True:
        sql = (
            "SELECT i, (SELECT 1 FROM message WHERE id = i) FROM (SELECT DISTINCT "
            f"message_id AS i FROM part {where} ORDER BY 1 LIMIT {_MESSAGES})"
        )
        found = reader.query(sql, values).fetchall()
        gone += [name for name, is_there in found if not is_there]
        if len(found) < _MESSAGES or len(gone) > _MOST:
            return gone
        where, values = "WHERE message_id > ?", (found[-1][0],)
