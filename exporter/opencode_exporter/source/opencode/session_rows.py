"""Rows of sessions: project, directory, parent, OpenCode's version and todo items of each."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection
from pathlib import PurePosixPath, PureWindowsPath
from typing import Final

from opencode_exporter.catalog.vocabulary import DEEPEST
from opencode_exporter.counting.labels import clean
from opencode_exporter.decode.opencode.copies import APART_MS
from opencode_exporter.events import (
    LONGEST_NAME,
    LONGEST_PATH,
    OVERFLOW,
    TODO_STATUSES,
    UNKNOWN,
    Session,
)
from opencode_exporter.source.opencode.reader import Reader

_GLOBAL: Final = "global"
_CACHED: Final = 1024
_LATEST: Final = 2000
_FIRST: Final = 8
"""Messages of a session that are looked at: a fork copies the first ones first."""
_REWOUND: Final = f"""
SELECT 1 FROM (
    SELECT id, time_created, time_updated FROM message
    WHERE session_id = ? AND time_created >= ? ORDER BY time_created LIMIT ?
) AS m WHERE m.time_updated < m.time_created - {APART_MS} OR EXISTS (
    SELECT 1 FROM part
    WHERE part.message_id = m.id AND part.time_created < m.time_created - {APART_MS}
) LIMIT 1
"""
"""Rows that were written before what they tell of: only a copy is."""


def project_of(project_id: object, worktree: object) -> str:
    """Return the last component of a worktree, ``global`` for none."""
    if project_id == _GLOBAL or not isinstance(worktree, str):
        return _GLOBAL if project_id == _GLOBAL else UNKNOWN
    kind = PureWindowsPath if "\\" in worktree else PurePosixPath
    return kind(worktree).name[:LONGEST_NAME] or _GLOBAL


class Sessions:
    """Sessions by id, remembered for one poll."""

    def __init__(
        self, reader: Reader, table: str, *, with_paths: bool = False, generation: str = ""
    ) -> None:
        self._generation = generation
        self._with_paths = with_paths
        has = reader.layout.columns.get(table, frozenset())
        # As bytes: reading a text that is no UTF-8 fails.
        later = [
            _bytes(f"s.{name}") if name in has else "NULL"
            for name in ("parent_id", "fork_session_id", "directory")
        ]
        join = ""
        if {"id", "worktree"} <= reader.layout.columns.get("project", frozenset()):
            later.append(_bytes("p.worktree"))
            join = "LEFT JOIN project p ON p.id = s.project_id"
        else:
            later.append("NULL")
        self._sql = (
            f"SELECT s.time_created, s.project_id = '{_GLOBAL}', {', '.join(later)} "
            f"FROM {table} s {join} WHERE s.id = ?"
        )
        self._above = f"SELECT {later[0]} FROM {table} s WHERE s.id = ?"
        self._reader, self._table = reader, table
        self._known: dict[str, Session] = {}

    def get(self, session_id: str) -> Session:
        """Return a session; one without a row has no project and began at 0."""
        found = self._known.get(session_id)
        if found is None:
            if len(self._known) >= _CACHED:
                self._known.clear()
            found = self._known[session_id] = self._read(session_id)
        return found

    def _read(self, session_id: str) -> Session:
        row = self._reader.one(self._table, self._sql, (session_id,))
        if row is None:
            return Session(session_id, UNKNOWN, 0)
        created, is_global, *texts = row
        parent, origin, directory, worktree = map(_text, texts)
        return Session(
            session_id,
            project_of(_GLOBAL if is_global else None, worktree),
            created if isinstance(created, int) else 0,
            parent or "",
            bool(origin) or self._is_rewound(session_id, created),
            directory or "",
            (worktree or "") if self._with_paths else "",
            self._root(parent or ""),
        )

    def _is_rewound(self, session_id: str, created: object) -> bool:
        """Return whether a session of 1.x is a fork that was made after the clock was set back."""
        if self._generation != "v1":
            return False
        return self._reader.one("message", _REWOUND, (session_id, created, _FIRST)) is not None

    def _root(self, parent: str) -> str:
        """Return the topmost session above one, as far as there are rows; nothing for none."""
        for _ in range(DEEPEST if parent else 0):
            row = self._reader.one(self._table, self._above, (parent,))
            above = _text(row[0]) if row is not None else ""
            if not above:
                break
            parent = above
        return parent


def _bytes(column: str) -> str:
    """Return SQL for a text as bytes, as invalid UTF-8 would fail; NULL for one too long."""
    return f"CASE WHEN octet_length({column}) <= {LONGEST_PATH} THEN CAST({column} AS BLOB) END"


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


def archived(reader: Reader, ids: Collection[str]) -> set[str]:
    """Return which of some sessions are archived."""
    found: set[str] = set()
    for table in set(reader.layout.sessions.values()):
        if "time_archived" in reader.layout.columns[table]:
            rows = reader.all(
                table,
                f"SELECT id FROM {table} WHERE time_archived IS NOT NULL "
                "AND id IN (SELECT value FROM json_each(?))",
                (json.dumps([*ids]),),
            )
            found.update(str(session_id) for (session_id,) in rows)
    return found


def todos(reader: Reader, ids: Collection[str]) -> dict[str, dict[str, int]]:
    """Return the todo items of some sessions, by session and status; 2.x keeps none."""
    counted: dict[str, Counter[str]] = {}
    if {"session_id", "status"} <= reader.layout.columns.get("todo", frozenset()):
        rows = reader.all(
            "todo",
            f"SELECT CAST(session_id AS BLOB), {_bytes('status')}, count(*) FROM todo "
            "WHERE session_id IN (SELECT value FROM json_each(?)) GROUP BY 1, 2",
            (json.dumps([*ids]),),
        )
        for session, status, count in rows:
            name = _text(status)
            shown = name if name in TODO_STATUSES else OVERFLOW
            counted.setdefault(_text(session) or UNKNOWN, Counter())[shown] += count
    return {session: dict(counts) for session, counts in counted.items()}


def directories(reader: Reader) -> set[tuple[str, str]]:
    """Return directory and worktree of the latest sessions: where skills may be."""
    found: set[tuple[str, str]] = set()
    columns = reader.layout.columns
    for table in set(reader.layout.sessions.values()):
        if "directory" not in columns[table] or "project" not in columns:
            continue
        rows = reader.all(
            table,
            f"SELECT {_bytes('s.directory')}, {_bytes('p.worktree')} "
            f"FROM {table} s JOIN project p ON p.id = s.project_id "
            "ORDER BY s.rowid DESC LIMIT ?",
            (_LATEST,),
        )
        found.update((_path(directory), _path(worktree)) for directory, worktree in rows)
    reader.verify()
    return found


def opencode_version(reader: Reader, generation: str) -> str:
    """Return the version of OpenCode that made the newest session, or nothing."""
    table = reader.layout.sessions[generation]
    if "version" not in reader.layout.columns[table]:
        return ""
    sql = f"SELECT {_bytes('version')} FROM {table} ORDER BY rowid DESC LIMIT 1"
    row = reader.one(table, sql)
    version = _text(row[0]) if row is not None else None
    return clean(version) if version else ""


def _path(value: object) -> str:
    """Return a path as the system knows it; its names need not be UTF-8."""
    return os.fsdecode(value) if isinstance(value, bytes) else str(value)
