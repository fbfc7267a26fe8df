"""
The other table of v1: ``message``, one row is one step of the model or a remark.

Each is read with its parts, which may be written after it: a row that does not tell
yet what it is stays open, as a step does until it is over.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Collection, Iterator
from operator import itemgetter
from typing import Any, ClassVar, Final

import apsw

from opencode_exporter.batch import DENSE, Anchor, OpenRow
from opencode_exporter.decode.parts_v1 import Part, parse_part
from opencode_exporter.decode.steps_v1 import (
    SETTLED_MS,
    MessageRow,
    step_or_remark,
)
from opencode_exporter.decode.values import Unusable
from opencode_exporter.events import Invocation, Rejection, Remark, Step
from opencode_exporter.reader import LARGEST
from opencode_exporter.tables.large import (
    DATA,
    any_data,
    condensed,
    is_large,
    large_data,
    name_of,
    number_of,
)
from opencode_exporter.tables.rows import FoundRow, MessageRows
from opencode_exporter.tables.table import (
    LOOKS,
    Bounds,
    Intake,
    Taken,
    integer,
    shown,
    states,
    text,
)

_ROWID: Final = itemgetter(0)

_Told = tuple[MessageRow, Step | Remark | Rejection]
"""A row, and what it says."""

_Parts = list[tuple[int, Any, Part]]
"""Parts of a message, each with its rowid and when it last changed, ms."""

_SMALL: Final = 2000
"""Bytes of a part that is read without a look at what it holds: measured."""
_WHOLE_BYTES: Final = 8_000_000
"""Bytes of parts that are kept at once as they are read; further ones are condensed."""
_ASKED: Final = ("tool", "synthetic", "retry")
"""Words of the JSON of larger parts that are read; of others only that they are there."""


class StepTable(MessageRows):
    """``message`` of v1: one row is one message, read with its parts."""

    name: ClassVar[str] = "message"
    generation: ClassVar[str] = "v1"
    _SELECT = (
        "SELECT rowid, id, session_id, time_created, time_updated, CAST(data AS BLOB), "
        "octet_length(data) FROM message"
    )
    _CAREFULLY = (
        f"SELECT rowid, {name_of('id')}, {name_of('session_id')}, {number_of('time_created')}, "
        f"{number_of('time_updated')}, {DATA}, octet_length(data) FROM message"
    )
    # Long texts, thoughts and files need not leave SQLite.  Not sorted here: SQLite
    # would keep all data until the last row, and may write them to a file.
    _READ = (
        f"WHEN octet_length(data) < {_SMALL} OR "
        + " OR ".join(f"instr(CAST(data AS BLOB), CAST('\"{word}\"' AS BLOB))" for word in _ASKED)
        + " THEN CAST(data AS BLOB) END, octet_length(data) FROM part "
        "WHERE message_id IN (SELECT value FROM json_each(?))"
    )
    _PARTS = f"SELECT message_id, rowid, time_updated, CASE {_READ}"
    _PARTS_CAREFULLY = (
        f"SELECT message_id, rowid, {number_of('time_updated')}, "
        f"CASE WHEN octet_length(data) > {LARGEST} THEN NULL {_READ}"
    )
    # Parts come after their message and leave it as it is; and after a while without
    # any it is over all the same.
    _SIZE = (
        "octet_length(data) + (SELECT count(*) FROM part WHERE part.message_id = message.id) "
        "+ (time_updated <= ?) * 1099511627776"
    )

    def read_again(self, ids: list[str]) -> Taken:
        """Read rows that were open and have changed, or that are asked for, in their order."""
        with self._reader.transaction():  # a message and its parts are of one moment
            return super().read_again(ids)

    def _take(self, rows: Iterator[FoundRow], bounds: Bounds, known: Collection[str]) -> Taken:
        """Return what the rows say; their parts are read for some rows at a time."""
        now = self._clock.now_ms()
        newest: deque[Anchor] = deque(maxlen=DENSE)
        told: list[_Told] = []
        size = 0
        while len(told) < bounds.rows:
            some, read = _some(rows, min(LOOKS, bounds.rows - len(told)))
            if not some:
                break
            newest.extend(Anchor(row[0], shown(row[1]), integer(row[3])) for row in some)
            parts, more = self._parts([shown(row[1]) for row in some])
            told += self._told(some, parts, now)
            size += read + more
            if size >= bounds.bytes or self._clock.monotonic() >= bounds.until:
                break
        intake = Intake(self.name, self.generation, now, known)
        self._add(intake, told, now)
        intake.chunk.rows = len(told)
        return Taken(intake.chunk, [*newest])

    def _parts(self, ids: list[str]) -> tuple[dict[str, _Parts], int]:
        """Return the parts of some messages, in their order, and how many bytes were read."""
        try:
            return self._parts_by(self._PARTS, ids)
        except apsw.TooBigError:
            return self._parts_by(self._PARTS_CAREFULLY, ids)

    def _parts_by(self, sql: str, ids: list[str]) -> tuple[dict[str, _Parts], int]:
        found: defaultdict[str, _Parts] = defaultdict(list)
        size = 0
        for message_id, rowid, at, data, length in self._reader.query(sql, (json.dumps(ids),)):
            if is_large(data, length):
                data = any_data(self._reader, "part", rowid)  # noqa: PLW2901
            if data is not None:
                size += length
                if size > _WHOLE_BYTES and len(data) > _SMALL:
                    data = condensed("part", data)  # noqa: PLW2901
            found[message_id].append((rowid, at, parse_part(data)))
        for parts in found.values():
            parts.sort(key=_ROWID)
        return found, size

    def _told(self, rows: list[FoundRow], parts: dict[str, _Parts], now: int) -> Iterator[_Told]:
        for rowid, row_id, session_id, created, updated, data, size in rows:
            name, session = text(row_id), text(session_id)
            ours = parts.get(shown(row_id), ())
            row = MessageRow(
                shown(row_id),
                integer(created),
                integer(updated),
                max((integer(at) for _, at, _ in ours), default=0),
            )
            try:
                if name is None or session is None:
                    raise Unusable("shape")  # noqa: TRY301  # as the decoder does
                if is_large(data, size):
                    data = large_data(self._reader, self.name, rowid)  # noqa: PLW2901
                if not isinstance(data, bytes):
                    raise Unusable("shape")  # noqa: TRY301
                where, said = self._sessions.get(session), [part for *_, part in ours]
                yield row, step_or_remark(row, data, said, where, now)
            except Unusable as err:
                yield row, Rejection(row.id, err.cause)

    def _add(self, intake: Intake, told: list[_Told], now: int) -> None:
        """Take in what was told, in its order; open rows with the state to compare later."""
        still_open = [row.id for row, event in told if not _is_over(event)]
        found = self._states(still_open, now) if still_open else {}
        for row, event in told:
            updated, size = found.get(row.id, (row.updated, 0))
            wake = (row.updated or row.created) + SETTLED_MS
            intake.add(
                row.id,
                updated,
                size,
                0,
                [event],
                final=_is_over(event),
                wake=wake if wake > now else 0,
            )

    def states(self, ids: list[str]) -> dict[str, tuple[int, int]]:
        """Return (updated, size) of the rows that still exist; parts add to the size."""
        return self._states(ids, self._clock.now_ms())

    def _states(self, ids: list[str], now: int) -> dict[str, tuple[int, int]]:
        return states(self._reader, self.name, ids, self._SIZE, (now - SETTLED_MS,))

    def went_on(self, call: Invocation, row: OpenRow, now: int) -> bool:
        """Say no: rows of this table have no calls of their own."""
        del call, row, now
        return False


def _some(rows: Iterator[FoundRow], most: int) -> tuple[list[FoundRow], int]:
    """Return the next rows, and their bytes: few rows where these are many."""
    found: list[FoundRow] = []
    size = 0
    for row in rows:
        found.append(row)
        size += integer(row[6])
        if len(found) >= most or size >= LARGEST:
            break
    return found, size


def _is_over(event: Step | Remark | Rejection) -> bool:
    return isinstance(event, Rejection) or event.is_over
