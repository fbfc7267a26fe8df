"""
Tables: how each generation's rows are asked for and handed to its decoder.

One class per table that is tailed.  Each says how new rows, known rows and
later steps are selected; the tailer does not know which generation it reads.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, ClassVar, Final, NamedTuple, Protocol

import apsw

from opencode_exporter import decode_v1, decode_v2
from opencode_exporter.batch import DENSE, Anchor, Chunk, OpenRow
from opencode_exporter.decode import Message, Unusable
from opencode_exporter.events import UNKNOWN, Event, Invocation, Rejection, Session
from opencode_exporter.source import Reader
from opencode_exporter.waker import Clock

_GLOBAL: Final = "global"
_CACHED: Final = 4096
_LATEST_SESSIONS: Final = 2000
_LOOKS: Final = 64  # rows between two looks at the clock


class Bounds(NamedTuple):
    """How long one read transaction may go on: whichever is met first."""

    rows: int
    bytes: int
    until: float  # by the clock's monotonic seconds
    last: int  # the highest rowid that is asked for


_WITHOUT_BOUNDS: Final = Bounds(10**9, 10**12, math.inf, 2**62)


class Table(Protocol):
    """One tailed table."""

    name: ClassVar[str]
    generation: ClassVar[str]

    def last_rowid(self) -> int:
        """Return the highest rowid, 0 for none."""
        ...

    def read_after(self, rowid: int, bounds: Bounds, known: Collection[str]) -> Taken:
        """Read the rows after a rowid, in its order, until a bound is met."""
        ...

    def read_again(self, ids: list[str]) -> Taken:
        """Read rows that were open and have changed."""
        ...

    def states(self, ids: list[str]) -> dict[str, tuple[int, int]]:
        """Return (updated, size) of the rows that still exist, without reading their data."""
        ...

    def has_later_step(self, call: Invocation, order: int) -> bool:
        """Say whether the session went on without the call."""
        ...


class Taken(NamedTuple):
    """What a read brought: a chunk, and the newest rows of it, oldest first."""

    chunk: Chunk
    newest: list[Anchor]


def project_of(project_id: object, worktree: object) -> str:
    """Return the last component of a worktree, ``global`` for none."""
    if project_id == _GLOBAL or not isinstance(worktree, str):
        return _GLOBAL if project_id == _GLOBAL else UNKNOWN
    kind = PureWindowsPath if "\\" in worktree else PurePosixPath
    return kind(worktree).name or _GLOBAL


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0


class _Sessions:
    """Sessions by id, remembered for one poll."""

    def __init__(self, reader: Reader, table: str) -> None:
        columns = reader.layout.columns
        directory = "s.directory" if "directory" in columns[table] else "''"
        if {"id", "worktree"} <= columns.get("project", frozenset()):
            project = "p.worktree", "LEFT JOIN project p ON p.id = s.project_id"
        else:
            project = "NULL", ""
        self._sql = (
            f"SELECT s.time_created, s.project_id, {directory}, {project[0]} "
            f"FROM {table} s {project[1]} WHERE s.id = ?"
        )
        self._reader = reader
        self._known: dict[str, Session] = {}

    def get(self, session_id: str) -> Session:
        found = self._known.get(session_id)
        if found is None:
            if len(self._known) >= _CACHED:
                self._known.clear()
            found = self._known[session_id] = self._read(session_id)
        return found

    def _read(self, session_id: str) -> Session:
        row = self._reader.query(self._sql, (session_id,)).fetchone()
        if row is None:
            return Session(session_id, UNKNOWN, 0)
        created, project_id, directory, worktree = row
        return Session(
            session_id,
            project_of(project_id, worktree),
            _integer(created),
            directory if isinstance(directory, str) else "",
            worktree if isinstance(worktree, str) else "",
        )


class _Intake:
    """Fills a chunk, row by row."""

    def __init__(self, table: str, generation: str, now: int, known: Collection[str]) -> None:
        self.chunk = Chunk(table, generation)
        self._now = now
        self.known = known

    def add(
        self, row: str, updated: int, size: int, order: int, events: list[Event], *, final: bool
    ) -> None:
        """Take in a row's events; one that may still change stays open."""
        chunk = self.chunk
        if chunk.newest < updated <= self._now:
            chunk.newest = updated
        if final:
            chunk.events += events
            if row in self.known:
                chunk.settled.append(row)
            return
        calls = []
        for event in events:
            if isinstance(event, Invocation) and event.status is None:
                calls.append(event)
            else:
                chunk.events.append(event)
        chunk.open_rows.append(
            OpenRow(chunk.table, row, updated, size, self._now, order, tuple(calls))
        )


_ToolRow = tuple[decode_v1.ToolPart, tuple[Any, ...]]
"""A tool part, and the row that it was decoded from."""


def _is_plain(row: tuple[Any, ...]) -> bool:
    """Say whether a row's ids are texts and its time a number, as OpenCode writes them."""
    return type(row[1]) is type(row[2]) is type(row[3]) is str and type(row[4]) is int


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row with texts for ids and a number for its time."""
    rowid, part_id, message_id, session_id, updated, data = row
    return rowid, str(part_id), str(message_id), str(session_id), _integer(updated), data


class PartTable:
    """``part`` of v1: one row is one part of a message."""

    name: ClassVar[str] = "part"
    generation: ClassVar[str] = "v1"
    _COLUMNS = "rowid, id, message_id, session_id, time_updated, CAST(data AS BLOB)"
    # A tool part names its type, so most rows need not leave SQLite.  Rows that are
    # no JSON object come too: they are set aside, and counted.
    _CALLS_OR_BROKEN = (
        "(instr(data, '\"tool\"') OR unicode(data) IS NOT 123 "
        "OR substr(CAST(data AS BLOB), -1) IS NOT x'7D')"
    )

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._sessions = _Sessions(reader, reader.layout.sessions["v1"])

    def last_rowid(self) -> int:
        """Return the highest rowid, 0 for none."""
        return _integer(self._reader.query("SELECT max(rowid) FROM part").get)

    def read_after(self, rowid: int, bounds: Bounds, known: Collection[str]) -> Taken:
        """Read the rows after a rowid, in its order, until a bound is met."""
        last = min(rowid + bounds.rows, bounds.last)
        cursor = self._reader.query(
            f"SELECT {self._COLUMNS} FROM part WHERE rowid > ? AND rowid <= ? "
            f"AND {self._CALLS_OR_BROKEN} ORDER BY rowid",
            (rowid, last),
        )
        chunk, stopped = self._take(cursor, bounds, known)
        sql = (
            "SELECT rowid, id, time_updated FROM part WHERE rowid > ? AND rowid <= ? "
            "ORDER BY rowid DESC LIMIT ?"
        )
        newest = self._reader.query(sql, (rowid, stopped or last, DENSE)).fetchall()
        if not newest:  # a gap in the rowids: go on behind it
            sql = "SELECT rowid FROM part WHERE rowid > ? AND rowid <= ? ORDER BY rowid LIMIT 1"
            following = self._reader.query(sql, (last, bounds.last)).fetchone()
            return (
                self.read_after(following[0] - 1, bounds, known) if following else Taken(chunk, [])
            )
        chunk.newest = max([chunk.newest, *self._believable(row[2] for row in newest)])
        return Taken(chunk, [Anchor(row, str(name)) for row, name, _ in reversed(newest)])

    def _believable(self, times: Iterable[object]) -> list[int]:
        now = self._clock.now_ms()
        return [time for time in times if isinstance(time, int) and time <= now]

    def read_again(self, ids: list[str]) -> Taken:
        """Read rows that were open and have changed."""
        sql = f"SELECT {self._COLUMNS} FROM part WHERE id IN (SELECT value FROM json_each(?))"
        cursor = self._reader.query(sql, (json.dumps(ids),))
        return Taken(self._take(cursor, _WITHOUT_BOUNDS, ids)[0], [])

    def _take(
        self, cursor: apsw.Cursor, bounds: Bounds, known: Collection[str]
    ) -> tuple[Chunk, int]:
        """Return what the rows say, and the rowid at which a bound was met, or 0."""
        now = self._clock.now_ms()
        intake = _Intake(self.name, self.generation, now, known)
        tools: list[_ToolRow] = []
        rows = size = stopped = 0
        for row in cursor:
            rows += 1
            data = row[5]
            try:
                size += len(data)
                part = decode_v1.parse(data)
            except (Unusable, TypeError) as err:
                cause = err.cause if isinstance(err, Unusable) else "shape"
                events: list[Event] = [Rejection(str(row[1]), cause)]
                intake.add(str(row[1]), _integer(row[4]), 0, 0, events, final=True)
                continue
            if part is not None:
                tools.append((part, row if _is_plain(row) else _plain(row)))
            if size >= bounds.bytes or (
                not rows % _LOOKS and self._clock.monotonic() >= bounds.until
            ):
                stopped = row[0]
                break
        cursor.close()
        self._add_tools(intake, tools, now)
        intake.chunk.rows = rows
        return intake.chunk, stopped

    def _add_tools(self, intake: _Intake, tools: list[_ToolRow], now: int) -> None:
        messages = self._messages({row[2] for _, row in tools})
        nothing = Message()
        ended = intake.chunk.events.append
        known, session = intake.known, self._sessions.get
        for part, (_, part_id, message_id, session_id, updated, data) in tools:
            about = messages.get(message_id, nothing)
            events: list[Event] = []
            final = True
            try:
                event = decode_v1.invocation(
                    part, part_id, message_id, updated, about, session(session_id), now
                )
            except Unusable as err:
                events.append(Rejection(part_id, err.cause))
                final = err.cause != "status"  # a word of the future may still end
            else:
                if event is not None and event.status is not None and part_id not in known:
                    ended(event)  # nearly all of them
                    continue
                if event is not None:
                    events.append(event)
                    final = event.status is not None
            intake.add(part_id, updated, len(data), 0, events, final=final)

    def _messages(self, ids: set[str]) -> dict[str, Message]:
        """Return what is asked of messages, in one statement for all of a chunk."""
        sql = (
            "SELECT id, CAST(data AS BLOB), time_created FROM message "
            "WHERE id IN (SELECT value FROM json_each(?))"
        )
        return {
            name: decode_v1.message(data, _integer(created))
            for name, data, created in self._reader.query(sql, (json.dumps([*ids]),))
        }

    def states(self, ids: list[str]) -> dict[str, tuple[int, int]]:
        """Return (updated, size) of the rows that still exist, without reading their data."""
        return _states(self._reader, self.name, ids)

    def has_later_step(self, call: Invocation, order: int) -> bool:
        """Say whether the session has an assistant's message after the call's."""
        del order  # v1 messages have no sequence, only their time
        rows = self._reader.query(
            "SELECT data FROM message WHERE session_id = ? AND time_created > ? AND id != ?",
            (call.session, call.message_created, call.message),
        )
        return any(decode_v1.is_assistant(str(data)) for (data,) in rows)


class MessageTable:
    """``session_message`` of v2: one row is one message with all its calls."""

    name: ClassVar[str] = "session_message"
    generation: ClassVar[str] = "v2"
    _TYPES = ", ".join(f"'{kind}'" for kind in decode_v2.ROW_TYPES)
    _SELECT = (
        "SELECT rowid, id, session_id, type, seq, time_created, time_updated, "
        f"CASE WHEN type IN ({_TYPES}) THEN CAST(data AS BLOB) END FROM session_message"
    )

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._sessions = _Sessions(reader, reader.layout.sessions["v2"])

    def last_rowid(self) -> int:
        """Return the highest rowid, 0 for none."""
        return _integer(self._reader.query("SELECT max(rowid) FROM session_message").get)

    def read_after(self, rowid: int, bounds: Bounds, known: Collection[str]) -> Taken:
        """Read the rows after a rowid, in its order, until a bound is met."""
        sql = f"{self._SELECT} WHERE rowid > ? AND rowid <= ? ORDER BY rowid"
        return self._take(self._reader.query(sql, (rowid, bounds.last)), bounds, known)

    def read_again(self, ids: list[str]) -> Taken:
        """Read rows that were open and have changed."""
        sql = f"{self._SELECT} WHERE id IN (SELECT value FROM json_each(?))"
        return self._take(self._reader.query(sql, (json.dumps(ids),)), _WITHOUT_BOUNDS, ids)

    def _take(self, cursor: apsw.Cursor, bounds: Bounds, known: Collection[str]) -> Taken:
        now = self._clock.now_ms()
        intake = _Intake(self.name, self.generation, now, known)
        newest: deque[tuple[int, str]] = deque(maxlen=DENSE)
        rows = size = 0
        for rowid, row_id, session_id, kind, seq, created, updated, data in cursor:
            rows += 1
            newest.append((rowid, row_id))
            blob = data if isinstance(data, bytes) else b""
            size += len(blob)
            row = decode_v2.Row(str(row_id), str(kind), _integer(created), _integer(updated), blob)
            events, final = self._decode(row, session_id, now)
            intake.add(row.id, row.changed, len(blob), _integer(seq), events, final=final)
            if rows >= bounds.rows or size >= bounds.bytes:
                break
            if not rows % _LOOKS and self._clock.monotonic() >= bounds.until:
                break
        cursor.close()
        intake.chunk.rows = rows
        return Taken(intake.chunk, [Anchor(rowid, str(name)) for rowid, name in newest])

    def _decode(self, row: decode_v2.Row, session_id: object, now: int) -> tuple[list[Event], bool]:
        if row.type not in decode_v2.ROW_TYPES:
            return [], True
        try:
            decoded = decode_v2.decode(row, self._sessions.get(str(session_id)), now)
        except Unusable as err:
            return [Rejection(row.id, err.cause)], True
        return decoded.events, decoded.final

    def states(self, ids: list[str]) -> dict[str, tuple[int, int]]:
        """Return (updated, size) of the rows that still exist, without reading their data."""
        return _states(self._reader, self.name, ids)

    def has_later_step(self, call: Invocation, order: int) -> bool:
        """Say whether the session has an assistant's message after the call's."""
        found = self._reader.query(
            "SELECT 1 FROM session_message "
            "WHERE session_id = ? AND type = 'assistant' AND seq > ? LIMIT 1",
            (call.session, order),
        )
        return found.fetchone() is not None


def _states(reader: Reader, table: str, ids: list[str]) -> dict[str, tuple[int, int]]:
    sql = (
        f"SELECT id, time_updated, octet_length(data) FROM {table} "
        "WHERE id IN (SELECT value FROM json_each(?))"
    )
    rows = reader.query(sql, (json.dumps(ids),))
    return {str(name): (_integer(updated), _integer(size)) for name, updated, size in rows}


def tables(reader: Reader, clock: Clock) -> tuple[Table, ...]:
    """Return the tables to tail, v1 first: an upgrade copies from v1 to v2."""
    found: list[Table] = []
    if "v1" in reader.layout.sessions:
        found.append(PartTable(reader, clock))
    if "v2" in reader.layout.sessions:
        found.append(MessageTable(reader, clock))
    return tuple(found)


def directories(reader: Reader) -> set[tuple[str, str]]:
    """Return directory and worktree of the latest sessions: where skills may be."""
    found: set[tuple[str, str]] = set()
    columns = reader.layout.columns
    for table in set(reader.layout.sessions.values()):
        if "directory" not in columns[table] or "project" not in columns:
            continue
        rows = reader.query(
            f"SELECT s.directory, p.worktree FROM {table} s JOIN project p ON p.id = s.project_id "
            "ORDER BY s.rowid DESC LIMIT ?",
            (_LATEST_SESSIONS,),
        )
        found.update((str(directory), str(worktree)) for directory, worktree in rows)
    return found


def opencode_version(reader: Reader, generation: str) -> str:
    """Return the version of OpenCode that made the newest session, or nothing."""
    table = reader.layout.sessions[generation]
    if "version" not in reader.layout.columns[table]:
        return ""
    row = reader.query(f"SELECT version FROM {table} ORDER BY rowid DESC LIMIT 1").fetchone()
    return row[0] if row is not None and isinstance(row[0], str) else ""
