"""
The parts of v1's messages, for some messages at a time.

A message says nothing without its parts.  Of a long part only what is asked for leaves
SQLite; parts on a damaged page are left out, and noted.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from operator import itemgetter
from typing import Any, Final, NamedTuple

import apsw

from opencode_exporter.decode.opencode.v1.rows import FoundPart
from opencode_exporter.decode.opencode.v1.shapes import OTHER_PART, OddPart, Part, parse_part
from opencode_exporter.decode.values import Unusable
from opencode_exporter.source.opencode.reader import LARGEST, Reader
from opencode_exporter.source.opencode.tables.large import (
    NEED_CARE,
    check_ids,
    condensed,
    is_large,
    large_data,
    name_of,
    number_of,
)
from opencode_exporter.source.opencode.tables.table import integer, shown, text

PART_TABLE: Final = "part"
_ROWID: Final = itemgetter(0)

_SMALL: Final = 2000
"""Bytes of a part that is read without a look at what it holds: measured."""
WHOLE_BYTES: Final = 8_000_000
"""Bytes of parts that are kept at once: of fewer messages, or of one message condensed."""
MOST: Final = 10_000
"""Parts of a message, after which of others but `_STEPS` it is kept that they are there."""
_STEPS: Final = ("step-start", "step-finish")
_ASKED: Final = ('"tool"', '"step-', '"compaction"', '"synthetic"', '"retry"')
"""What is in the JSON of larger parts that are read; of others only that they are there."""
BROKEN: Final = "unicode(data) IS NOT 123 OR substr(CAST(data AS BLOB), -1) IS NOT x'7D'"
"""SQL: whether a part is no JSON object: it is set aside, and counted."""


class Portion(NamedTuple):
    """The parts of the next messages."""

    messages: int  # how many
    found: dict[str, list[FoundPart] | None]  # None: the index is damaged: nobody knows
    heavy: set[str]  # messages of which not all calls are kept
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
        + f" OR {BROKEN} THEN CAST(data AS BLOB) END, octet_length(data) FROM part WHERE"
    )
    _CAREFULLY = (
        f"SELECT {name_of('message_id')}, rowid, {name_of('id')}, {name_of('session_id')}, "
        f"{number_of('time_created')}, {number_of('time_updated')}, "
        f"CASE WHEN octet_length(data) > {LARGEST} THEN NULL {_READ}"
    )
    _OF_MESSAGES = "message_id IN (SELECT value FROM json_each(?))"
    _FAST = (
        "SELECT message_id, rowid, id, session_id, time_created, time_updated, "
        f"CASE {_READ} {_OF_MESSAGES}"
    )

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def of(self, ids: list[str]) -> Iterator[Portion]:
        """Yield the parts of messages, in their order: of as many at a time as can be kept."""
        try:
            yield self._of(ids)
        except _TooMuchError:
            half = len(ids) // 2
            yield from self.of(ids[:half])
            yield from self.of(ids[half:])

    def _of(self, ids: list[str]) -> Portion:
        """
        Return the parts of messages.

        Raises:
            _TooMuchError: They are too many to be kept, and of more than one message.
        """
        given = json.dumps(ids)
        reading = _Reading(self._reader)
        try:
            try:
                reading.take(self._reader.query(self._FAST, (given,)))
            except NEED_CARE:
                reading = _Reading(self._reader)
                sql = f"{self._CAREFULLY} {self._OF_MESSAGES}"
                reading.take(self._reader.query(sql, (given,)))
        except apsw.CorruptError:
            self._reader.hurt().look_in_vain("part")
            reading = _Reading(self._reader)
            for one in ids:
                self._take_one(reading, one)
        return reading.portion(len(ids))

    def _take_one(self, reading: _Reading, message: str) -> None:
        """Take those parts of a message that can be read; note the others."""
        sql = "SELECT rowid FROM part WHERE message_id = ?"
        ask = partial(self._rows, sql, message)
        rowids = self._reader.spared("part", ask, None)
        if rowids is None:  # the index is damaged
            reading.found[message] = None
            return
        for (rowid,) in sorted(rowids):
            try:
                reading.take(self._reader.query(f"{self._CAREFULLY} rowid = ?", (rowid,)))
            except apsw.CorruptError:
                self._reader.hurt().pass_over("part", rowid, rowid)

    def _rows(self, sql: str, value: object) -> list[Any]:
        return self._reader.query(sql, (value,)).fetchall()


class _Reading:
    """Takes rows of parts until they are too much to be kept."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.found: defaultdict[str, list[FoundPart] | None] = defaultdict(list)
        self.heavy: set[str] = set()
        self._bytes = self._kept = 0

    def take(self, rows: apsw.Cursor) -> None:
        """
        Take some rows.

        Raises:
            _TooMuchError: They are too many to be kept, and of more than one message.
        """
        for message_id, rowid, *names, created, updated, data, length in rows:
            name = shown(message_id)
            others = self.found[name]
            if others is None:
                continue
            part = self._part(rowid, names, data, length)
            is_beyond = len(others) >= MOST
            if is_beyond:
                self.heavy.add(name)
                part = part if part.type in _STEPS else OTHER_PART
            part_id, session = map(shown, names)
            others.append(
                FoundPart(
                    rowid,
                    part_id,
                    session,
                    integer(created),
                    integer(updated),
                    integer(length),
                    part,
                )
            )

    def _part(self, rowid: int, names: list[Any], data: Any, length: Any) -> Part:
        """Return a part; one that cannot be read, with the cause for which it is set aside."""
        check_ids(*names)
        if None in map(text, names):
            return OddPart(problem="json")
        if is_large(data, length):
            try:
                data = large_data(self._reader, "part", rowid)
            except Unusable as err:
                return OddPart(problem=err.cause)
        if data is None:
            return OTHER_PART if isinstance(length, int) else OddPart(problem="shape")
        self._bytes += length
        self._kept += len(data)
        if self._kept > WHOLE_BYTES:
            if len(self.found) > 1:
                raise _TooMuchError
            if len(data) > _SMALL:
                data = condensed("part", data)
        return parse_part(data)

    def portion(self, messages: int) -> Portion:
        """Return what was taken of some messages."""
        for parts in self.found.values():
            if parts is not None:
                parts.sort(key=_ROWID)
        return Portion(messages, dict(self.found), self.heavy, self._bytes)
