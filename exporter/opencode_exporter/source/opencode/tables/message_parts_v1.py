"""
The parts of v1's messages, for some messages at a time.

A message says nothing without its parts.  Of a long part only what is asked for leaves
SQLite; parts on a damaged page are left out.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from operator import itemgetter
from typing import Any, Final, NamedTuple

import apsw

from opencode_exporter.decode.opencode.v1.shapes import OTHER_PART, Part, parse_part
from opencode_exporter.source.opencode.reader import LARGEST, Reader
from opencode_exporter.source.opencode.tables.large import any_data, condensed, is_large, number_of

_ROWID: Final = itemgetter(0)

Parts = list[tuple[int, Any, Part]]
"""Parts of a message, each with its rowid and when it last changed, ms."""

_SMALL: Final = 2000
"""Bytes of a part that is read without a look at what it holds: measured."""
_WHOLE_BYTES: Final = 8_000_000
"""Bytes of parts that are kept at once: of fewer messages, or of one message condensed."""
_MOST: Final = 10_000
"""Parts of a message, after which of others but `_STEPS` it is kept that they are there."""
_STEPS: Final = ("step-start", "step-finish")
_ASKED: Final = ('"tool"', '"step-', '"compaction"', '"synthetic"', '"retry"')
"""What is in the JSON of larger parts that are read; of others only that they are there."""


class Portion(NamedTuple):
    """The parts of the next messages."""

    messages: int  # how many
    found: dict[str, Parts | None]  # None: the index is damaged, and not even that is known
    bytes: int  # read


class _TooMuchError(Exception):
    """The parts of some messages are too much to be kept at once."""


class MessageParts:
    """What ``part`` says of messages."""

    # Long texts, thoughts and files need not leave SQLite.  Not sorted here: SQLite
    # would keep all data until the last row, and may write them to a file.
    _READ = (
        f"WHEN octet_length(data) < {_SMALL} OR "
        + " OR ".join(f"instr(CAST(data AS BLOB), CAST('{word}' AS BLOB))" for word in _ASKED)
        + " THEN CAST(data AS BLOB) END, octet_length(data) FROM part WHERE"
    )
    _CAREFULLY = (
        f"SELECT message_id, rowid, {number_of('time_updated')}, "
        f"CASE WHEN octet_length(data) > {LARGEST} THEN NULL {_READ}"
    )
    _OF_MESSAGES = "message_id IN (SELECT value FROM json_each(?))"
    _FAST = f"SELECT message_id, rowid, time_updated, CASE {_READ} {_OF_MESSAGES}"

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def of(self, ids: list[str]) -> Iterator[Portion]:
        """Yield the parts of messages, in their order: of as many at a time as can be kept."""
        try:
            found, size = self._of(ids)
        except _TooMuchError:
            half = len(ids) // 2
            yield from self.of(ids[:half])
            yield from self.of(ids[half:])
        else:
            yield Portion(len(ids), found, size)

    def _of(self, ids: list[str]) -> tuple[dict[str, Parts | None], int]:
        """
        Return the parts of messages, and how many bytes were read.

        Raises:
            _TooMuchError: They are too many to be kept, and of more than one message.
        """
        given = json.dumps(ids)
        found: dict[str, Parts | None] = {}
        try:
            try:
                parts, size = self._parts(self._FAST, given)
            except apsw.TooBigError:
                parts, size = self._parts(f"{self._CAREFULLY} {self._OF_MESSAGES}", given)
            found.update(parts)
        except apsw.CorruptError:
            self._reader.hurt().look_in_vain("part")
            size = 0
            for one in ids:
                ask = partial(self._one, one)
                found[one], read = self._reader.spared("part", ask, (None, 0))
                size += read
        return found, size

    def _one(self, message: str) -> tuple[Parts, int]:
        """Return those parts of a message that can be read."""
        sql = "SELECT rowid FROM part WHERE message_id = ?"
        found: Parts = []
        size = 0
        for (rowid,) in sorted(self._reader.query(sql, (message,))):
            read = partial(self._parts, f"{self._CAREFULLY} rowid = ?", rowid)
            parts, more = self._reader.spared("part", read, (None, 0))
            found += parts.get(message, []) if parts else []
            size += more
        return found, size

    def _parts(self, sql: str, value: object) -> tuple[dict[str, Parts], int]:
        found: defaultdict[str, Parts] = defaultdict(list)
        size = kept = 0
        for message_id, rowid, at, data, length in self._reader.query(sql, (value,)):
            if is_large(data, length):
                data = any_data(self._reader, "part", rowid)  # noqa: PLW2901
            if data is not None:
                size += length
                kept += len(data)
                if kept > _WHOLE_BYTES:
                    if len(found) > 1:
                        raise _TooMuchError
                    if len(data) > _SMALL:
                        data = condensed("part", data)  # noqa: PLW2901
            part, others = parse_part(data), found[message_id]
            is_beyond = len(others) >= _MOST and part.type not in _STEPS
            others.append((rowid, at, OTHER_PART if is_beyond else part))
        for parts in found.values():
            parts.sort(key=_ROWID)
        return found, size
