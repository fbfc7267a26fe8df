"""
Tables: how each generation's rows are asked for and handed to its decoder.

One class per table that is tailed.  Each says how new rows, known rows and
later steps are selected; the tailer does not know which generation it reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath, PureWindowsPath
from typing import ClassVar, Final, NamedTuple, Protocol

from opencode_exporter import decode_v1, decode_v2
from opencode_exporter.decode import Message, Unusable
from opencode_exporter.events import UNKNOWN, Event, Invocation, Rejection, Session
from opencode_exporter.source import Reader

_GLOBAL: Final = "global"
_CACHED: Final = 4096
_LATEST_SESSIONS: Final = 2000


class Seen(NamedTuple):
    """A row as it was decoded."""

    rowid: int
    id: str
    updated: int
    size: int
    order: int
    events: list[Event]
    final: bool


class Table(Protocol):
    """One tailed table."""

    name: ClassVar[str]
    generation: ClassVar[str]

    def last_rowid(self) -> int:
        """Return the highest rowid, 0 for none."""
        ...

    def after(self, rowid: int, now: int) -> Iterator[Seen]:
        """Yield the rows after a rowid, in its order."""
        ...

    def states(self, ids: list[str]) -> Iterator[tuple[str, int, int]]:
        """Yield (id, updated, size) of the rows that still exist, without reading their data."""
        ...

    def by_id(self, ids: list[str], now: int) -> Iterator[Seen]:
        """Yield these rows."""
        ...

    def has_later_step(self, call: Invocation, order: int) -> bool:
        """Say whether the session went on without the call."""
        ...


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


class PartTable:
    """``part`` of v1: one row is one part of a message."""

    name: ClassVar[str] = "part"
    generation: ClassVar[str] = "v1"
    _COLUMNS = "rowid, id, message_id, session_id, time_updated, CAST(data AS BLOB)"

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._sessions = _Sessions(reader, reader.layout.sessions["v1"])
        self._messages: dict[str, Message] = {}

    def last_rowid(self) -> int:
        """Return the highest rowid, 0 for none."""
        return _integer(self._reader.query("SELECT max(rowid) FROM part").get)

    def after(self, rowid: int, now: int) -> Iterator[Seen]:
        """Yield the rows after a rowid, in its order."""
        sql = f"SELECT {self._COLUMNS} FROM part WHERE rowid > ? ORDER BY rowid"
        for row in self._reader.query(sql, (rowid,)):
            yield self._decode(row, now)

    def states(self, ids: list[str]) -> Iterator[tuple[str, int, int]]:
        """Yield (id, updated, size) of the rows that still exist, without reading their data."""
        return _states(self._reader, "part", ids)

    def by_id(self, ids: list[str], now: int) -> Iterator[Seen]:
        """Yield these rows."""
        sql = f"SELECT {self._COLUMNS} FROM part WHERE id IN (SELECT value FROM json_each(?))"
        for row in self._reader.query(sql, (json.dumps(ids),)):
            yield self._decode(row, now)

    def has_later_step(self, call: Invocation, order: int) -> bool:
        """Say whether the session has an assistant's message after the call's."""
        del order  # v1 messages have no sequence, only their time
        rows = self._reader.query(
            "SELECT data FROM message WHERE session_id = ? AND time_created > ? AND id != ?",
            (call.session, call.message_created, call.message),
        )
        return any(decode_v1.is_assistant(str(data)) for (data,) in rows)

    def _decode(self, row: tuple[object, ...], now: int) -> Seen:
        rowid, part_id, message_id, session_id, updated, data = row
        name, changed = str(part_id), _integer(updated)
        size = len(data) if isinstance(data, bytes) else 0
        events: list[Event] = []
        final = True
        try:
            part = decode_v1.parse(data if isinstance(data, bytes) else b"")
            if part is not None:
                event = decode_v1.invocation(
                    part,
                    part_id=name,
                    message_id=str(message_id),
                    changed=changed,
                    about=self._message(str(message_id)),
                    session=self._sessions.get(str(session_id)),
                    now=now,
                )
                if event is not None:
                    events.append(event)
                    final = event.status is not None
        except Unusable as err:
            events.append(Rejection(name, err.cause))
            final = err.cause != "status"  # a word of the future may still end
        return Seen(_integer(rowid), name, changed, size, 0, events, final)

    def _message(self, message_id: str) -> Message:
        found = self._messages.get(message_id)
        if found is None:
            row = self._reader.query(
                "SELECT CAST(data AS BLOB), time_created FROM message WHERE id = ?", (message_id,)
            ).fetchone()
            found = Message()
            if row is not None and isinstance(row[0], bytes):
                found = decode_v1.message(row[0], _integer(row[1]))
            if len(self._messages) >= _CACHED:
                self._messages.clear()
            self._messages[message_id] = found
        return found


class MessageTable:
    """``session_message`` of v2: one row is one message with all its calls."""

    name: ClassVar[str] = "session_message"
    generation: ClassVar[str] = "v2"
    _TYPES = ", ".join(f"'{kind}'" for kind in decode_v2.ROW_TYPES)
    _COLUMNS = (
        "rowid, id, session_id, type, seq, time_created, time_updated, "
        f"CASE WHEN type IN ({_TYPES}) THEN CAST(data AS BLOB) END"
    )

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._sessions = _Sessions(reader, reader.layout.sessions["v2"])

    def last_rowid(self) -> int:
        """Return the highest rowid, 0 for none."""
        return _integer(self._reader.query("SELECT max(rowid) FROM session_message").get)

    def after(self, rowid: int, now: int) -> Iterator[Seen]:
        """Yield the rows after a rowid, in its order."""
        sql = f"SELECT {self._COLUMNS} FROM session_message WHERE rowid > ? ORDER BY rowid"
        for row in self._reader.query(sql, (rowid,)):
            yield self._decode(row, now)

    def states(self, ids: list[str]) -> Iterator[tuple[str, int, int]]:
        """Yield (id, updated, size) of the rows that still exist, without reading their data."""
        return _states(self._reader, "session_message", ids)

    def by_id(self, ids: list[str], now: int) -> Iterator[Seen]:
        """Yield these rows."""
        sql = (
            f"SELECT {self._COLUMNS} FROM session_message "
            "WHERE id IN (SELECT value FROM json_each(?))"
        )
        for row in self._reader.query(sql, (json.dumps(ids),)):
            yield self._decode(row, now)

    def has_later_step(self, call: Invocation, order: int) -> bool:
        """Say whether the session has an assistant's message after the call's."""
        found = self._reader.query(
            "SELECT 1 FROM session_message "
            "WHERE session_id = ? AND type = 'assistant' AND seq > ? LIMIT 1",
            (call.session, order),
        )
        return found.fetchone() is not None

    def _decode(self, row: tuple[object, ...], now: int) -> Seen:
        rowid, row_id, session_id, kind, seq, created, updated, data = row
        name, changed = str(row_id), _integer(updated)
        if kind not in decode_v2.ROW_TYPES:
            return Seen(_integer(rowid), name, changed, 0, 0, [], final=True)
        blob = data if isinstance(data, bytes) else b""
        events: list[Event]
        try:
            decoded = decode_v2.decode(
                decode_v2.Row(name, str(kind), _integer(created), changed, blob),
                self._sessions.get(str(session_id)),
                now,
            )
            events, final = decoded.events, decoded.final
        except Unusable as err:
            events, final = [Rejection(name, err.cause)], True
        return Seen(_integer(rowid), name, changed, len(blob), _integer(seq), events, final)


def _states(reader: Reader, table: str, ids: list[str]) -> Iterator[tuple[str, int, int]]:
    sql = (
        f"SELECT id, time_updated, octet_length(data) FROM {table} "
        "WHERE id IN (SELECT value FROM json_each(?))"
    )
    for name, updated, size in reader.query(sql, (json.dumps(ids),)):
        yield str(name), _integer(updated), _integer(size)


def tables(reader: Reader) -> tuple[Table, ...]:
    """Return the tables to tail, v1 first: an upgrade copies from v1 to v2."""
    found: list[Table] = []
    if "v1" in reader.layout.sessions:
        found.append(PartTable(reader))
    if "v2" in reader.layout.sessions:
        found.append(MessageTable(reader))
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
