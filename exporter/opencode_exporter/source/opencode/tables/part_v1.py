"""
The table of v1's parts: those that come after their message was read, or without one.

A message brings the parts that it has when it is first read (see `message_v1`).  Here are
the others: most calls of a session that is watched, and parts whose message is gone.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, Final

import apsw

from opencode_exporter.chunk import DENSE, Anchor, Chunk, Cursor, OpenRow, RowKind
from opencode_exporter.clock import Clock
from opencode_exporter.decode.opencode.origins import V1
from opencode_exporter.decode.opencode.v1.shapes import (
    OddPart,
    is_step_over,
    parse_part,
)
from opencode_exporter.decode.values import Unusable
from opencode_exporter.events import Event, Invocation, Rejection
from opencode_exporter.source.opencode.damage import LAST_ROWID
from opencode_exporter.source.opencode.reader import LARGEST, Reader
from opencode_exporter.source.opencode.tables.large import (
    DATA,
    NEED_CARE,
    any_data,
    check_ids,
    is_large,
    large_data,
    name_of,
    number_of,
)
from opencode_exporter.source.opencode.tables.lone_calls_v1 import LoneCalls, ToolRow
from opencode_exporter.source.opencode.tables.message_parts_v1 import BROKEN, PART_TABLE
from opencode_exporter.source.opencode.tables.orphans_v1 import Sized, orphans
from opencode_exporter.source.opencode.tables.table import (
    LOOKS,
    STALE_MS,
    WITHOUT_BOUNDS,
    Bounds,
    ChunkBuilder,
    Known,
    Taken,
    integer,
    is_evidence,
    shown,
    states,
    text,
)

PART_KIND: Final = RowKind(V1, is_call=True, restamps=True)
"""What a row of ``part`` is that is a call."""


def _is_plain(row: tuple[Any, ...]) -> bool:
    """Return whether a row's ids are texts and its times numbers, as OpenCode writes them."""
    return (
        type(row[1]) is type(row[2]) is type(row[3]) is str and type(row[4]) is type(row[6]) is int
    )


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row with texts for ids and a number for its time."""
    rowid, part_id, message_id, session_id, updated, data, created, size = row
    ids = str(part_id), str(message_id), str(session_id)
    return rowid, *ids, integer(updated), data, integer(created), size


def _readable(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row with its ids as texts; one that has other ids, without its data."""
    rowid, part_id, message_id, session_id, updated, data, created, size = row
    ids = text(part_id), text(message_id), text(session_id)
    if None in ids:
        data, size = None, 0
    return rowid, shown(part_id), *ids[1:], updated, data, created, size


def _anchor(row: tuple[Any, ...]) -> Anchor:
    rowid, name, created, _ = row
    return Anchor(rowid, shown(name), integer(created))


def _portions(rows: list[Sized]) -> Iterator[list[int]]:
    """Yield rowids with so few bytes behind them that their rows can be read at once."""
    portion: list[int] = []
    size = 0
    for rowid, length in rows:
        if portion and size + (length or 0) > LARGEST:
            yield portion
            portion, size = [], 0
        portion.append(rowid)
        size += length or 0
    if portion:
        yield portion


class PartTable:
    """``part`` of v1: one row is one part of a message."""

    name: ClassVar[str] = PART_TABLE
    brought_by: ClassVar[str] = "message"
    kind: ClassVar[RowKind] = PART_KIND
    _SELECT = (
        "SELECT rowid, id, message_id, session_id, time_updated, CAST(data AS BLOB), "
        "time_created, octet_length(data) FROM part WHERE"
    )
    _CAREFULLY = (
        f"SELECT rowid, {name_of('id')}, {name_of('message_id')}, {name_of('session_id')}, "
        f"{number_of('time_updated')}, {DATA}, {number_of('time_created')}, octet_length(data) "
        f"FROM part WHERE"
    )
    _ANCHOR = (
        f"SELECT rowid, {name_of('id')}, {number_of('time_created')}, "
        f"{number_of('time_updated')} FROM part"
    )
    # A tool part names its type, so most rows need not leave SQLite.  Rows that are
    # no JSON object come too: they are set aside, and counted.
    _CALLS_OR_BROKEN = f"(instr(CAST(data AS BLOB), CAST('\"tool\"' AS BLOB)) OR {BROKEN})"
    _OR_LARGE = f"CASE WHEN octet_length(data) > {LARGEST} THEN 1 ELSE {_CALLS_OR_BROKEN} END"
    # Messages that are still to be read bring their parts themselves, if they can be read.
    _UNLESS_BROUGHT = (
        "CASE WHEN (SELECT m.rowid > ?{gone} FROM message m WHERE m.id = part.message_id) THEN 0 "
        "ELSE {wanted} END AND rowid >= ? AND rowid <= ?"
    )

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._calls = LoneCalls(reader)
        self._brought_after = LAST_ROWID  # by no message, if nobody says so
        self._orphans: list[Sized] | None = None
        self._newest: list[tuple[Any, ...]] = []

    def last_rowid(self) -> int:
        """Return the highest rowid, 0 for none."""
        return integer(self._reader.query("SELECT max(rowid) FROM part").get)

    def is_brought(self, cursors: Mapping[str, Cursor]) -> bool:
        """Return whether messages bring nearly all of what is left: none is read, all can be."""
        return not cursors["message"].anchors and not self._reader.gaps("message")

    def look_ahead(self, cursors: Mapping[str, Cursor]) -> None:
        """Note from which message on parts come with their message."""
        self._brought_after = cursors["message"].position
        self._orphans = None
        if self.is_brought(cursors):
            with contextlib.suppress(apsw.CorruptError):  # a look at each part goes around it
                # Before what they stand for is read.
                self._newest = self._anchors(-LAST_ROWID - 1, LAST_ROWID)
                self._orphans = orphans(self._reader, self._OR_LARGE)

    def read_after(self, rowid: int, bounds: Bounds, known: Known) -> Taken:
        """Read the rows after a rowid, in its order, until a bound is met."""
        ours = known.get(self.name, ())
        if self._orphans is not None:
            return self._read_orphans(rowid, bounds, ours)
        try:
            return self._read_after(rowid, bounds, ours, self._SELECT, self._CALLS_OR_BROKEN)
        except NEED_CARE:  # one of a thousand rows is odd: the others count
            return self._read_after(rowid, bounds, ours, self._CAREFULLY, self._OR_LARGE)

    def _read_orphans(self, after: int, bounds: Bounds, known: Collection[str]) -> Taken:
        """Read all that is left at once: parts that no message brings."""
        wanted = [one for one in self._orphans or () if after < one[0] <= bounds.last]
        chunk = self._rows(wanted, known)
        newest = [row for row in self._newest if after < row[0] <= bounds.last]
        chunk.newest = max([chunk.newest, *self._believable(row[3] for row in newest)])
        return Taken(chunk, [_anchor(row) for row in newest], weight=len(chunk.events))

    def _read_after(
        self, rowid: int, bounds: Bounds, known: Collection[str], select: str, wanted: str
    ) -> Taken:
        first, last = rowid + 1, self._last_of(rowid + 1, bounds)
        where = self._unless_brought(wanted)
        cursor = self._reader.query(
            f"{select} {where} ORDER BY rowid", (self._brought_after, first, last)
        )
        chunk, stopped = self._take(cursor, bounds, known)
        if stopped is not None:
            last = stopped
        newest = self._anchors(first, last)
        chunk.newest = max([chunk.newest, *self._believable(row[3] for row in newest)])
        return Taken(chunk, [_anchor(row) for row in newest], weight=len(chunk.events))

    def _unless_brought(self, wanted: str) -> str:
        """Return which rows are read: wanted ones that no message brings."""
        gaps = self._reader.gaps("message")
        gone = "".join(f" AND m.rowid NOT BETWEEN {gap.first} AND {gap.last}" for gap in gaps)
        return self._UNLESS_BROUGHT.format(gone=gone, wanted=wanted)

    def _anchors(self, first: int, last: int) -> list[tuple[Any, ...]]:
        """Return the newest of some rows, oldest first, without their data."""
        sql = f"{self._ANCHOR} WHERE rowid >= ? AND rowid <= ? ORDER BY rowid DESC LIMIT ?"
        return self._reader.query(sql, (first, last, DENSE)).fetchall()[::-1]

    def _last_of(self, first: int, bounds: Bounds) -> int:
        """Return the last of as many rows as may be read: rowids have gaps."""
        last = first + bounds.rows - 1
        if last >= bounds.last:
            return bounds.last
        some = (last, first + bounds.rows // 3, first + bounds.rows // 7)
        sql = "SELECT count(*) FROM part WHERE rowid IN (?, ?, ?)"
        if self._reader.query(sql, some).get == len(some):
            return last  # there are hardly fewer, and no more
        sql = (
            "SELECT rowid FROM part WHERE rowid >= ? AND rowid <= ? ORDER BY rowid LIMIT 1 OFFSET ?"
        )
        row = self._reader.query(sql, (first, bounds.last, bounds.rows - 1)).fetchone()
        return row[0] if row else bounds.last

    def _believable(self, times: Iterable[object]) -> list[int]:
        now = self._clock.now_ms()
        return [time for time in times if isinstance(time, int) and time <= now]

    def read_again(self, ids: list[str]) -> Taken:
        """Read rows that were open and have changed."""
        sql = (
            "SELECT rowid, octet_length(data) FROM part "
            "WHERE id IN (SELECT value FROM json_each(?))"
        )
        return Taken(
            self._rows(sorted(self._reader.by_ids(self.name, sql, ids, tuple)[0]), ids), []
        )

    def _rows(self, rows: list[Sized], known: Collection[str]) -> Chunk:
        """Return what some rows say, as far as they can be read."""
        found = Chunk(self.name, self.kind)
        for rowids in _portions(rows):
            try:
                found.extend(self._portion(rowids, known))
            except apsw.CorruptError:
                self._reader.hurt().look_in_vain(self.name)
                for rowid in rowids:
                    read = partial(self._portion, [rowid], known)
                    one = self._reader.spared(self.name, read, None)
                    found.extend(one or Chunk(self.name, self.kind))
        return found

    def _portion(self, rowids: list[int], known: Collection[str]) -> Chunk:
        sql = f"{self._CAREFULLY} rowid IN (SELECT value FROM json_each(?))"
        return self._take(self._reader.query(sql, (json.dumps(rowids),)), WITHOUT_BOUNDS, known)[0]

    def read_row(self, rowid: int, known: Known) -> Taken:
        """Read the row of a rowid, if there is one and no message is known to bring it."""
        where, values = self._unless_brought(self._OR_LARGE), (self._brought_after, rowid, rowid)
        ours = known.get(self.name, ())
        try:
            cursor = self._reader.query(f"{self._CAREFULLY} {where}", values)
            chunk, _ = self._take(cursor, WITHOUT_BOUNDS, ours)
        except apsw.CorruptError:  # its message may be what cannot be found
            where = f"{self._OR_LARGE} AND rowid = ?"
            cursor = self._reader.query(f"{self._CAREFULLY} {where}", (rowid,))
            chunk, _ = self._take(cursor, WITHOUT_BOUNDS, ours)
            self._reader.hurt().look_in_vain("message")
        rows = self._reader.query(f"{self._ANCHOR} WHERE rowid = ?", (rowid,))
        return Taken(chunk, [_anchor(row) for row in rows])

    def _take(
        self, cursor: apsw.Cursor, bounds: Bounds, known: Collection[str]
    ) -> tuple[Chunk, int | None]:
        """Return what the rows say, and the rowid at which a bound was met, if one was."""
        now = self._clock.now_ms()
        builder = ChunkBuilder(self.name, self.kind, now, known)
        tools: list[ToolRow] = []
        rows = size = 0
        stopped: int | None = None
        for row in cursor:
            rows += 1
            if bytes in map(type, row[1:4]):
                row = _readable(row)  # noqa: PLW2901
            check_ids(*row[1:4])
            data = row[5]
            try:
                if is_large(data, row[7]):
                    data = large_data(self._reader, self.name, row[0])
                size += row[7]
                part = parse_part(data)
            except (Unusable, TypeError) as err:
                part = OddPart(problem=err.cause if isinstance(err, Unusable) else "shape")
            if isinstance(part, OddPart) and part.problem:
                events: list[Event] = [Rejection(str(row[1]), part.problem)]
                builder.add(str(row[1]), integer(row[4]), 0, 0, events, final=True)
                continue
            if part.type == "tool":
                tools.append((part, row if _is_plain(row) else _plain(row)))
            if size >= bounds.bytes or (
                not rows % LOOKS and self._clock.monotonic() >= bounds.until
            ):
                stopped = row[0]
                break
        cursor.close()
        self._calls.add(builder, tools, now)
        builder.chunk.rows = rows
        return builder.chunk, stopped

    def states(self, ids: list[str]) -> dict[str, tuple[int, int]]:
        """Return (updated, size) of the rows that still exist, without reading their data."""
        return states(self._reader, self.name, ids)

    def went_on(self, call: Invocation, row: OpenRow, now: int, /) -> bool:
        """Return whether a later step of the session shows that it went on without the call."""
        sql = "SELECT rowid FROM message WHERE id = ?"
        own = self._reader.query(sql, (call.message,)).fetchone()
        rows = self._reader.query(
            f"SELECT rowid, id, {number_of('time_created')}, {DATA}, octet_length(data) "
            "FROM message WHERE session_id = ? AND time_created >= ?",
            (call.session, call.message_created),
        )
        for rowid, name, created, data, size in rows:
            if own and rowid < own[0]:  # it came before, by a clock that was set back since
                continue
            if is_large(data, size):
                data = any_data(self._reader, "message", rowid)  # noqa: PLW2901
            is_over = is_step_over(data)
            if is_over is None:
                continue
            if name == call.message:  # over for a minute, and the call is not
                if is_over and row.updated <= now - STALE_MS:
                    return True
            elif is_evidence(created, row.updated, now, is_over=is_over):
                return True
        return False
