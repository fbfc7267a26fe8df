"""The table of v1: ``part``, one row is one part of a message."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from typing import Any, ClassVar, Final

import apsw

from opencode_exporter.chunk import DENSE, Anchor, Chunk, OpenRow, RowKind
from opencode_exporter.clock import Clock
from opencode_exporter.decode.opencode.origins import V1
from opencode_exporter.decode.opencode.v1 import invocations as decode_v1
from opencode_exporter.decode.opencode.v1.endings import looks_typed
from opencode_exporter.decode.opencode.v1.shapes import is_step_over, message, parse_part
from opencode_exporter.decode.opencode.v1.tool_part import ToolPart, parse
from opencode_exporter.decode.values import Message, Unusable
from opencode_exporter.events import UNKNOWN, Event, Invocation, Rejection, Session
from opencode_exporter.source.opencode.reader import LARGEST, Reader
from opencode_exporter.source.opencode.session_rows import Sessions
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
from opencode_exporter.source.opencode.tables.table import (
    LOOKS,
    STALE_MS,
    WITHOUT_BOUNDS,
    Bounds,
    ChunkBuilder,
    Taken,
    integer,
    is_evidence,
    shown,
    states,
    text,
)

_NOBODY: Final = Session("", UNKNOWN, 0)

_ToolRow = tuple[ToolPart, tuple[Any, ...]]
"""A tool part, and the row that it was decoded from."""


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


def _step_begun(row: tuple[Any, ...]) -> str:
    """Return the message of a part that begins a step, else nothing."""
    message, data = row
    return str(message) if parse_part(data).type == "step-start" else ""


def _portions(rows: list[tuple[int, int | None]]) -> Iterator[list[int]]:
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

    name: ClassVar[str] = "part"
    kind: ClassVar[RowKind] = RowKind(V1, is_call=True, restamps=True)
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
    _CALLS_OR_BROKEN = (
        "(instr(CAST(data AS BLOB), CAST('\"tool\"' AS BLOB)) OR unicode(data) IS NOT 123 "
        "OR substr(CAST(data AS BLOB), -1) IS NOT x'7D')"
    )
    _OR_LARGE = f"CASE WHEN octet_length(data) > {LARGEST} THEN 1 ELSE {_CALLS_OR_BROKEN} END"

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._sessions = Sessions(reader, reader.layout.sessions["v1"], generation="v1")

    def last_rowid(self) -> int:
        """Return the highest rowid, 0 for none."""
        return integer(self._reader.query("SELECT max(rowid) FROM part").get)

    def read_after(self, rowid: int, bounds: Bounds, known: Collection[str]) -> Taken:
        """Read the rows after a rowid, in its order, until a bound is met."""
        try:
            return self._read_after(rowid, bounds, known, f"{self._SELECT} {self._CALLS_OR_BROKEN}")
        except NEED_CARE:  # one of a thousand rows is odd: the others count
            return self._read_after(rowid, bounds, known, f"{self._CAREFULLY} {self._OR_LARGE}")

    def _read_after(self, rowid: int, bounds: Bounds, known: Collection[str], sql: str) -> Taken:
        first, last = rowid + 1, self._last_of(rowid + 1, bounds)
        cursor = self._reader.query(
            f"{sql} AND rowid >= ? AND rowid <= ? ORDER BY rowid", (first, last)
        )
        chunk, stopped = self._take(cursor, bounds, known)
        if stopped is not None:
            last = stopped
        sql = f"{self._ANCHOR} WHERE rowid >= ? AND rowid <= ? ORDER BY rowid DESC LIMIT ?"
        newest = self._reader.query(sql, (first, last, DENSE)).fetchall()
        chunk.newest = max([chunk.newest, *self._believable(row[3] for row in newest)])
        return Taken(chunk, [_anchor(row) for row in reversed(newest)])

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
        found = Chunk(self.name, self.kind)
        for rowids in _portions(sorted(self._reader.by_ids(self.name, sql, ids, tuple)[0])):
            try:
                found.extend(self._portion(rowids, ids))
            except apsw.CorruptError:
                self._reader.hurt().look_in_vain(self.name)
                for rowid in rowids:
                    one = self._reader.spared(self.name, partial(self._portion, [rowid], ids), None)
                    found.extend(one or Chunk(self.name, self.kind))
        return Taken(found, [])

    def _portion(self, rowids: list[int], known: Collection[str]) -> Chunk:
        sql = f"{self._CAREFULLY} rowid IN (SELECT value FROM json_each(?))"
        return self._take(self._reader.query(sql, (json.dumps(rowids),)), WITHOUT_BOUNDS, known)[0]

    def read_row(self, rowid: int, known: Collection[str]) -> Taken:
        """Read the row of a rowid, if there is one."""
        sql = f"{self._CAREFULLY} {self._OR_LARGE} AND rowid = ?"
        chunk, _ = self._take(self._reader.query(sql, (rowid,)), WITHOUT_BOUNDS, known)
        rows = self._reader.query(f"{self._ANCHOR} WHERE rowid = ?", (rowid,))
        return Taken(chunk, [_anchor(row) for row in rows])

    def _take(
        self, cursor: apsw.Cursor, bounds: Bounds, known: Collection[str]
    ) -> tuple[Chunk, int | None]:
        """Return what the rows say, and the rowid at which a bound was met, if one was."""
        now = self._clock.now_ms()
        builder = ChunkBuilder(self.name, self.kind, now, known)
        tools: list[_ToolRow] = []
        rows = size = 0
        stopped: int | None = None
        for row in cursor:
            rows += 1
            if type(row[1]) is bytes:
                row = _readable(row)  # noqa: PLW2901
            check_ids(*row[1:4])
            data = row[5]
            try:
                if is_large(data, row[7]):
                    data = large_data(self._reader, self.name, row[0])
                size += row[7]
                part = parse(data)
            except (Unusable, TypeError) as err:
                cause = err.cause if isinstance(err, Unusable) else "shape"
                events: list[Event] = [Rejection(str(row[1]), cause)]
                builder.add(str(row[1]), integer(row[4]), 0, 0, events, final=True)
                continue
            if part is not None:
                tools.append((part, row if _is_plain(row) else _plain(row)))
            if size >= bounds.bytes or (
                not rows % LOOKS and self._clock.monotonic() >= bounds.until
            ):
                stopped = row[0]
                break
        cursor.close()
        self._add_tools(builder, tools, now)
        builder.chunk.rows = rows
        return builder.chunk, stopped

    def _add_tools(self, builder: ChunkBuilder, tools: list[_ToolRow], now: int) -> None:
        messages = self._messages({row[2] for _, row in tools})
        outside = self._outside_steps(tools)
        nothing = Message()
        ended, known = builder.chunk.events.append, builder.known
        invocation, about = decode_v1.invocation, messages.get
        session = _NOBODY
        for part, (_, part_id, message_id, session_id, updated, _, created, size) in tools:
            if session.id != session_id:  # rows come session by session
                session = self._sessions.get(session_id)
            events: list[Event]
            if message_id in outside and decode_v1.may_be_typed(part):
                # What the user typed, or will have: nothing says so while it runs.
                final = decode_v1.was_typed(part)
                builder.add(part_id, updated, size, 0, [], final=final)
                continue
            try:
                row = decode_v1.PartRow(part_id, message_id, created)
                event = invocation(part, row, about(message_id, nothing), session, now)
            except Unusable as err:
                events = [Rejection(part_id, err.cause, err.until)]
                final = err.cause != "status"  # a word of the future may still end
            else:
                if event.status is None or part_id in known:
                    events, final = [event], event.status is not None
                else:
                    ended(event)  # nearly all of them
                    continue
            builder.add(part_id, updated, size, 0, events, final=final)

    def _outside_steps(self, tools: list[_ToolRow]) -> set[str]:
        """Return the messages without a step, of the ones with commands that may be the user's."""
        ids = {row[2] for part, row in tools if part.tool == "bash" and looks_typed(part.callID)}
        if not ids:
            return ids
        sql = (
            f"SELECT message_id, {DATA} FROM part "
            "WHERE message_id IN (SELECT value FROM json_each(?)) "
            f"AND CASE WHEN octet_length(data) <= {LARGEST} "
            "THEN instr(CAST(data AS BLOB), CAST('\"step-start\"' AS BLOB)) END"
        )
        found, _ = self._reader.by_ids(self.name, sql, [*ids], _step_begun)
        return ids.difference(found)

    def _messages(self, ids: set[str]) -> dict[str, Message]:
        """Return what is asked of messages, in one statement for all of a chunk."""
        sql = (
            f"SELECT id, {DATA}, time_created, rowid, octet_length(data) FROM message "
            "WHERE id IN (SELECT value FROM json_each(?))"
        )
        return dict(self._reader.by_ids("message", sql, [*ids], self._message)[0])

    def _message(self, row: tuple[Any, ...]) -> tuple[str, Message]:
        name, data, created, rowid, size = row
        if is_large(data, size):
            data = any_data(self._reader, "message", rowid)
        return name, message(data, integer(created))

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
