"""
The other table of v1: ``message``, one row is one step of the model or a remark.

Each is read with its parts, which may be written after it: a row that does not tell
yet what it is stays open, as a step does until it is over.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Collection, Iterator
from itertools import islice
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
from opencode_exporter.tables.rows import MessageRows
from opencode_exporter.tables.table import (
    LOOKS,
    WITHOUT_BOUNDS,
    Bounds,
    Intake,
    Taken,
    as_bytes,
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
_ASKED: Final = ("tool", "synthetic", "retry")
"""Words of the JSON of larger parts that are read; of others only that they are there."""


class StepTable(MessageRows):
    """``message`` of v1: one row is one message, read with its parts."""

    name: ClassVar[str] = "message"
    generation: ClassVar[str] = "v1"
    _COLUMNS = "rowid, id, session_id, time_created, time_updated, CAST(data AS BLOB)"
    _SELECT = f"SELECT {_COLUMNS} FROM message"
    _CAREFULLY = f"SELECT {as_bytes(_COLUMNS, 'id', 'session_id')} FROM message"
    # Long texts, thoughts and files need not leave SQLite.  Not sorted here: SQLite
    # would keep all data until the last row, and may write them to a file.
    _PARTS = (
        f"SELECT message_id, rowid, time_updated, CASE WHEN octet_length(data) < {_SMALL} OR "
        + " OR ".join(f"instr(CAST(data AS BLOB), CAST('\"{word}\"' AS BLOB))" for word in _ASKED)
        + " THEN CAST(data AS BLOB) END FROM part "
        "WHERE message_id IN (SELECT value FROM json_each(?))"
    )
    # Parts come after their message and leave it as it is; and after a while without
    # any it is over all the same.
    _SIZE = (
        "octet_length(data) + (SELECT count(*) FROM part WHERE part.message_id = message.id) "
        "+ (time_updated <= ?) * 1099511627776"
    )

    def read_again(self, ids: list[str]) -> Taken:
        """Read rows that were open and have changed, or that are asked for, in their order."""
        where = "WHERE id IN (SELECT value FROM json_each(?)) ORDER BY rowid"
        with self._reader.transaction():  # a message and its parts are of one moment
            rows = self._reader.query(f"{self._CAREFULLY} {where}", (json.dumps(ids),))
            return self._take(rows, WITHOUT_BOUNDS, ids)

    def _take(self, cursor: apsw.Cursor, bounds: Bounds, known: Collection[str]) -> Taken:
        """Return what the rows say; their parts are read for some rows at a time."""
        now = self._clock.now_ms()
        newest: deque[Anchor] = deque(maxlen=DENSE)
        told: list[_Told] = []
        size = 0
        while len(told) < bounds.rows:
            rows = list(islice(cursor, min(LOOKS, bounds.rows - len(told))))
            newest.extend(Anchor(row[0], shown(row[1]), integer(row[3])) for row in rows)
            parts, read = self._parts([shown(row[1]) for row in rows])
            told += self._told(rows, parts, now)
            size += read + sum(len(row[5] or b"") for row in rows)
            if len(rows) < LOOKS or size >= bounds.bytes:
                break
            if self._clock.monotonic() >= bounds.until:
                break
        cursor.close()
        intake = Intake(self.name, self.generation, now, known)
        self._add(intake, told, now)
        intake.chunk.rows = len(told)
        return Taken(intake.chunk, [*newest])

    def _parts(self, ids: list[str]) -> tuple[dict[str, _Parts], int]:
        """Return the parts of some messages, in their order, and how many bytes were read."""
        found: defaultdict[str, _Parts] = defaultdict(list)
        size = 0
        for message_id, rowid, at, data in self._reader.query(self._PARTS, (json.dumps(ids),)):
            found[message_id].append((rowid, at, parse_part(data)))
            if data is not None:
                size += len(data)
        for parts in found.values():
            parts.sort(key=_ROWID)
        return found, size

    def _told(
        self, rows: list[tuple[Any, ...]], parts: dict[str, _Parts], now: int
    ) -> Iterator[_Told]:
        for _, row_id, session_id, created, updated, data in rows:
            name, session = text(row_id), text(session_id)
            usable = isinstance(data, bytes) and name is not None and session is not None
            ours = parts.get(shown(row_id), ())
            row = MessageRow(
                shown(row_id),
                integer(created),
                integer(updated),
                data if usable else b"",
                max((integer(at) for _, at, _ in ours), default=0),
            )
            if not usable:
                yield row, Rejection(row.id, "shape")
                continue
            where = self._sessions.get(session or "")
            try:
                yield row, step_or_remark(row, [part for *_, part in ours], where, now)
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


def _is_over(event: Step | Remark | Rejection) -> bool:
    return isinstance(event, Rejection) or event.is_over
