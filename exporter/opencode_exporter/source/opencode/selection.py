"""
The selection: which rows can matter to what happened since a time.

Rows are only roughly in the order of time: a session may be continued after months, a
fork copies old rows, an import brings them all at once.  So all rows are looked at, without
their data; whole sessions are taken in which any row was made or changed since then, with
those that belong to them: of sub-agents, and of what may be copies of each other.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

import apsw
import msgspec

from opencode_exporter.source.opencode.reader import Reader
from opencode_exporter.source.opencode.schema import ROW_TABLES
from opencode_exporter.source.opencode.stretches import Range, Stretch

_SLACK_MS: Final = 86_400_000
"""Clocks of rows and of what they tell of may be that far apart."""
_ROWS: Final = 20_000
"""Rows that one short read transaction looks at."""
_PORTION: Final = 20_000
"""Values that a statement is given: the reader takes no text of more than a megabyte."""
_MOST: Final = 0.5
"""The share of all sessions from which on all rows are read."""
_APART: Final = 64
"""Rowids between two rows from which on those between are passed over."""
_TOGETHER: Final = 1000


def select(reader: Reader, stretches: Sequence[Stretch], since_ms: int) -> list[Stretch]:
    """
    Return stretches of which only rows are read that can matter.

    Where these are most of all rows, all are read.

    Args:
        reader: The open source.
        stretches: All rows that there are.
        since_ms: Unix ms; what happened before does not count.
    """
    try:
        found = _sessions(reader, {stretch.table: stretch.last for stretch in stretches}, since_ms)
        if found is None:
            return [*stretches]
        return [
            msgspec.structs.replace(stretch, only=_ranges(_rowids(reader, stretch, found)))
            if stretch.table in _message_tables(reader)
            else stretch
            for stretch in stretches
        ]
    except (UnicodeDecodeError, apsw.CorruptError):  # whoever reads all rows can do with them
        reader.verify()
        return [*stretches]


def _sessions(reader: Reader, last: Mapping[str, int], since_ms: int) -> set[str] | None:
    """Return the sessions that matter; None where these are most."""
    parents = _parents(reader)
    changed: set[str] = set()
    for generation in reader.layout.generations:
        for table in ROW_TABLES[generation]:
            changed |= _changed_since(reader, table, last[table], since_ms - _SLACK_MS)
    found, before = _with_relatives(changed, parents), -1
    while len(found) > before:
        if len(found) > _MOST * len(parents):
            return None
        before = len(found)
        found = _with_relatives(found | _written_at_the_same_times(reader, last, found), parents)
    return found


def _message_tables(reader: Reader) -> list[str]:
    """Return the tables of which a row is a message."""
    return [ROW_TABLES[generation][0] for generation in reader.layout.generations]


def _changed_since(reader: Reader, table: str, last: int, at: int) -> set[str]:
    """Return the sessions of rows that were made or changed since a time."""
    sql = (
        f"SELECT DISTINCT session_id FROM {table} WHERE rowid >= ? AND rowid <= ? "
        "AND (time_created < ? AND time_updated < ?) IS NOT 1"
    )
    found: set[str] = set()
    for first, end in _windows(reader, table, last):
        found.update(str(name) for (name,) in reader.query(sql, (first, end, at, at)))
    return found


def _written_at_the_same_times(
    reader: Reader, last: Mapping[str, int], sessions: set[str]
) -> set[str]:
    """Return the sessions that have a message of the same time as one of some sessions."""
    found: set[str] = set()
    tables = _message_tables(reader)
    times: set[int] = set()
    for table in tables:
        sql = (
            f"SELECT time_created FROM {table} WHERE session_id IN (SELECT value FROM json_each(?))"
        )
        for given in _portions(sessions):
            times.update(at for (at,) in reader.query(sql, (given,)) if isinstance(at, int))
    for table in tables:
        sql = (
            f"SELECT DISTINCT session_id FROM {table} WHERE rowid >= ? AND rowid <= ? "
            "AND time_created IN (SELECT value FROM json_each(?))"
        )
        for given in _portions(times):
            for first, end in _windows(reader, table, last[table]):
                found.update(str(name) for (name,) in reader.query(sql, (first, end, given)))
    return found


def _portions(values: Collection[str | int]) -> Iterator[str]:
    """Yield values as JSON, as many at a time as a statement takes."""
    left = iter(values)
    while some := [*islice(left, _PORTION)]:
        yield json.dumps(some)


def _windows(reader: Reader, table: str, last: int) -> Iterator[tuple[int, int]]:
    """Yield the first and the last rowid of some thousand rows at a time."""
    row = reader.query(f"SELECT rowid FROM {table} ORDER BY rowid LIMIT 1").fetchone()
    first = row[0] if row else None
    sql = f"SELECT rowid FROM {table} WHERE rowid >= ? ORDER BY rowid LIMIT 1 OFFSET ?"
    while first is not None and first <= last:
        row = reader.query(sql, (first, _ROWS)).fetchone()
        yield first, min(last, row[0] - 1) if row else last
        first = row[0] if row else None


def _parents(reader: Reader) -> dict[str, str]:
    """Return the session above each session, empty for none."""
    found: dict[str, str] = {}
    for table in set(reader.layout.sessions.values()):
        parent = "parent_id" if "parent_id" in reader.layout.columns[table] else "NULL"
        for name, above in reader.all(table, f"SELECT id, {parent} FROM {table}"):
            found[str(name)] = str(above or found.get(str(name), ""))
    return found


def _with_relatives(sessions: set[str], parents: Mapping[str, str]) -> set[str]:
    """Return sessions with all that are above and below them."""
    roots: dict[str, str] = {}
    for session in parents.keys() | sessions:
        passed: list[str] = []
        at = session
        while at not in roots and at not in passed and parents.get(at):
            passed.append(at)
            at = parents[at]
        root = roots.get(at, at)
        roots |= dict.fromkeys((*passed, session), root)
    wanted = {roots[session] for session in sessions}
    return sessions | {session for session, root in roots.items() if root in wanted}


def _rowids(reader: Reader, stretch: Stretch, sessions: set[str]) -> list[int]:
    sql = (
        f"SELECT rowid FROM {stretch.table} WHERE session_id IN (SELECT value FROM json_each(?)) "
        "AND rowid <= ?"
    )
    return sorted(
        row[0] for given in _portions(sessions) for row in reader.query(sql, (given, stretch.last))
    )


def _ranges(rowids: list[int]) -> tuple[Range, ...]:
    """Return rows as ranges: some hundred rows each, and no long way between two rows."""
    found: list[Range] = []
    start = 0
    for at, rowid in enumerate(rowids):
        ends = at + 1 == len(rowids) or at + 1 - start == _TOGETHER
        if ends or rowids[at + 1] - rowid > _APART:
            first = rowids[start]
            found.append(Range(first, rowid, rowid - first + 1))
            start = at + 1
    return tuple(found)
