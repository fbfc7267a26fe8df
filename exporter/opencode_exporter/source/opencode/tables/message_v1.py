"""
The table of v1's messages: one row is one step of the model or a remark, with its parts.

A row that was not known brings its calls as well, which are rows of ``part``.  Parts may be
written after their message: a row that does not tell yet what it is stays open, as a step
does until it is over; calls that come later are `part_v1`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import ClassVar, Final

from opencode_exporter.chunk import OpenRow, RowKind
from opencode_exporter.clock import Clock
from opencode_exporter.decode.opencode.origins import V1
from opencode_exporter.decode.opencode.v1.rows import NOTHING, Given, Teller, given_in
from opencode_exporter.decode.opencode.v1.steps import SETTLED_MS, MessageRow
from opencode_exporter.decode.values import Unusable
from opencode_exporter.events import NO_SESSION, Invocation, Session
from opencode_exporter.source.opencode.reader import LARGEST, Reader
from opencode_exporter.source.opencode.tables.hearing_v1 import Hearing, States
from opencode_exporter.source.opencode.tables.large import (
    DATA,
    NEED_CARE,
    check_ids,
    is_large,
    large_data,
    name_of,
    number_of,
)
from opencode_exporter.source.opencode.tables.message_parts_v1 import MessageParts, Portion
from opencode_exporter.source.opencode.tables.message_rows import FoundRow, MessageRows
from opencode_exporter.source.opencode.tables.stream_v1 import stream
from opencode_exporter.source.opencode.tables.table import (
    LOOKS,
    WITHOUT_BOUNDS,
    Bounds,
    Known,
    Taken,
    integer,
    shown,
    states,
    text,
)

_FEW: Final = 16
"""Rows that are not worth a stream: they are new, and hardly any is over."""
_LOOKS: Final = 16
"""Messages between two looks at the clock."""

_Message = tuple[int, MessageRow, Given, Session]
"""Rowid, row, what its JSON says, and session."""


class StepTable(MessageRows):
    """``message`` of v1: one row is one message, read with its parts."""

    name: ClassVar[str] = "message"
    generation: ClassVar[str] = "v1"
    kind: ClassVar[RowKind] = RowKind(V1)
    _SELECT = (
        "SELECT rowid, id, session_id, time_created, time_updated, CAST(data AS BLOB), "
        "octet_length(data) FROM message"
    )
    _CAREFULLY = (
        f"SELECT rowid, {name_of('id')}, {name_of('session_id')}, {number_of('time_created')}, "
        f"{number_of('time_updated')}, {DATA}, octet_length(data) FROM message"
    )
    # Parts come after their message and leave it as it is; and after a while without
    # any it is over all the same.
    _SIZE = (
        "octet_length(data) + (SELECT count(*) FROM part WHERE part.message_id = message.id) "
        "+ (time_updated <= {settled}) * 1099511627776"
    )

    def __init__(self, reader: Reader, clock: Clock, *, with_paths: bool = False) -> None:
        super().__init__(reader, clock, with_paths=with_paths)
        self._parts = MessageParts(reader)

    def read_after(self, rowid: int, bounds: Bounds, known: Known) -> Taken:
        """Read the rows after a rowid with their calls, in its order, until a bound is met."""
        if bounds.last - rowid <= _FEW:
            return super().read_after(rowid, bounds, known)
        try:
            return self._take_stream(rowid + 1, bounds, known)
        except NEED_CARE:  # one of a thousand rows is odd: the others count
            return super().read_after(rowid, bounds, known)

    def read_again(self, ids: list[str]) -> Taken:
        """Read rows that were open and have changed, or that are asked for, in their order."""
        known = {self.name: ids}
        with self._reader.transaction(), closing(self._by_id(ids)) as rows:  # of one moment
            return self._take(rows, WITHOUT_BOUNDS, known, with_calls=False)

    def _take_stream(self, first: int, bounds: Bounds, known: Known) -> Taken:
        """Return what rows say that come with their parts."""
        now = self._clock.now_ms()
        heard = Hearing(self.kind, now, known, with_calls=True)
        session_of = self._sessions.get
        teller = Teller(session_of, now)
        with closing(stream(self._reader, first, bounds.last, now)) as messages:
            for rowid, session_id, row, given, parts, size in messages:
                heard.bytes += size
                session = session_of(session_id)
                if parts is None:
                    (portion,) = self._parts.of([row.id])
                    _hear(heard, teller, (rowid, row, given, session), portion)
                else:
                    heard.take(rowid, row, teller.tell(row, given, parts, session))
                if self._is_enough(heard, bounds):
                    break
        return heard.chunks(partial(self._states, now=now))

    def _take(
        self, rows: Iterator[FoundRow], bounds: Bounds, known: Known, *, with_calls: bool = True
    ) -> Taken:
        """Return what the rows say; their parts are read for some rows at a time."""
        now = self._clock.now_ms()
        heard = Hearing(self.kind, now, known, with_calls=with_calls)
        teller = Teller(self._sessions.get, now)
        for some, portion in self._portions(rows, bounds.rows):
            for row in some:
                heard.bytes += integer(row[-1])
                _hear(heard, teller, self._message(row), portion)
            heard.bytes += portion.bytes
            if self._is_enough(heard, bounds):
                break
        return heard.chunks(partial(self._states, now=now))

    def _is_enough(self, heard: Hearing, bounds: Bounds) -> bool:
        return (
            heard.rows >= bounds.rows
            or heard.bytes >= bounds.bytes
            or heard.weight >= bounds.weight
            or (not heard.rows % _LOOKS and self._clock.monotonic() >= bounds.until)
        )

    def _portions(
        self, rows: Iterator[FoundRow], most: int
    ) -> Iterator[tuple[list[FoundRow], Portion]]:
        """Yield some rows at a time with their parts."""
        while most > 0 and (some := _some(rows, min(LOOKS, most))):
            most -= len(some)
            for portion in self._parts.of([shown(row[1]) for row in some]):
                yield some[: portion.messages], portion
                some = some[portion.messages :]

    def _message(self, found: FoundRow) -> _Message:
        """Return a row that was read with care."""
        rowid, row_id, session_id, created, updated, data, size = found
        row, session = (
            MessageRow(shown(row_id), integer(created), integer(updated)),
            text(session_id),
        )
        where = NO_SESSION if session is None else self._sessions.get(session)
        try:
            if session is None or text(row_id) is None:
                raise Unusable("shape")  # noqa: TRY301  # as the decoder does
            if is_large(data, size):
                data = large_data(self._reader, self.name, rowid)
        except Unusable as err:
            return rowid, row, (NOTHING, err), where
        return rowid, row, given_in(data), where

    def states(self, ids: list[str]) -> dict[str, tuple[int, int]]:
        """Return (updated, size) of the rows that still exist; parts add to the size."""
        return self._states(ids, self._clock.now_ms())

    def _states(self, ids: list[str], now: int) -> States:
        return states(self._reader, self.name, ids, self._SIZE.format(settled=now - SETTLED_MS))

    def went_on(self, _call: Invocation, _row: OpenRow, _now: int, /) -> bool:
        """Return False: rows of this table have no calls of their own."""
        return False


def _hear(heard: Hearing, teller: Teller, message: _Message, portion: Portion) -> None:
    """Take a message whose parts were asked for."""
    rowid, row, given, session = message
    parts = portion.found.get(row.id, [])
    if parts is None:
        given = NOTHING, Unusable("damaged")
    row = row._replace(changed=max([part.updated for part in parts or ()], default=0))
    told = teller.tell(row, given, parts or [], session)
    if parts is None or row.id in portion.heavy:
        heard.take_without_calls(rowid, row, told)
    else:
        heard.take(rowid, row, told)


def _some(rows: Iterator[FoundRow], most: int) -> list[FoundRow]:
    """Return the next rows: few where these are many bytes."""
    found: list[FoundRow] = []
    size = 0
    for row in rows:
        check_ids(*row[1:3])
        found.append(row)
        size += integer(row[-1])
        if len(found) >= most or size >= LARGEST:
            break
    return found
