"""
The schema of a source: which tables and columns we rely on, and which are there.

Owns the list of what may be read, and how generations are told apart.  Knows no
files and no rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import apsw

from opencode_exporter.errors import SourceUnsupportedError

COLUMNS: Final[Mapping[str, frozenset[str]]] = {
    "session": frozenset({"id", "project_id", "time_created"}),
    "message": frozenset({"id", "session_id", "time_created", "time_updated", "data"}),
    "part": frozenset({"id", "message_id", "session_id", "time_created", "time_updated", "data"}),
    "session_v2": frozenset({"id", "project_id", "time_created"}),
    "session_message": frozenset(
        {"id", "session_id", "type", "seq", "time_created", "time_updated", "data"}
    ),
}
"""The columns we rely on, by table; every version of OpenCode has more."""

_LATER: Final = frozenset(
    {"directory", "version", "parent_id", "fork_session_id", "time_archived"}
)  # of sessions: not in every version
_OPTIONAL: Final = ("project", "todo")  # not in every version
_ROWID: Final = frozenset({"ROWID", ""})  # no column: how SQLite names the rowid, or none at all

READABLE: Final[Mapping[str, frozenset[str]]] = {
    **{table: columns | _ROWID for table, columns in COLUMNS.items()},
    "session": COLUMNS["session"] | _LATER | _ROWID,
    "session_v2": COLUMNS["session_v2"] | _LATER | _ROWID,
    "project": frozenset({"id", "worktree"}) | _ROWID,
    "todo": frozenset({"session_id", "status"}) | _ROWID,
    "json_each": frozenset({"value", "json", "root", ""}),  # a function of SQLite, no table
}
"""All that may be read, by table; the case of a name is nothing to SQLite."""

ROW_TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "v1": ("message", "part"),
    "v2": ("session_message",),
}
"""The tables of what sessions say, by generation: that of messages first."""
CALL_TABLES: Final = {"v1": "part", "v2": "session_message"}
"""The table that holds the calls, by generation."""


@dataclass(frozen=True)
class Layout:
    """The tables of one file: which generations it holds."""

    sessions: Mapping[str, str]  # generation -> table of its sessions
    columns: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def generations(self) -> tuple[str, ...]:
        """``v1``, ``v2`` or, after an upgrade, both."""
        return tuple(sorted(self.sessions))


Query = Callable[[str], apsw.Cursor]
"""Runs a statement."""


def columns_of(query: Query) -> Mapping[str, frozenset[str]]:
    """Return the columns of those tables that we know, of which there are any."""
    columns = {}
    for table in (*COLUMNS, *_OPTIONAL):
        found = frozenset(str(row[1]).lower() for row in query(f"PRAGMA table_info({table})"))
        if found:
            columns[table] = found
    return columns


class KnownColumns:
    """The columns of one database: they are asked for again when its schema has changed."""

    def __init__(self) -> None:
        self._of: tuple[object, int] | None = None
        self._columns: Mapping[str, frozenset[str]] = {}

    def of(self, file: object, query: Query) -> Mapping[str, frozenset[str]]:
        """
        Return the columns of what a statement asks.

        Args:
            file: The state of its file: another one may have its inode and its version.
            query: Runs a statement.
        """
        (version,) = next(query("PRAGMA schema_version"))
        state = (file, int(version))
        if self._of != state:
            self._of, self._columns = None, columns_of(query)
            self._of = state
        return self._columns

    def forget(self) -> None:
        """Ask again: what was known may not be so."""
        self._of = None


def layout_of(query: Query, columns: Mapping[str, frozenset[str]]) -> Layout:
    """
    Return what a database holds.

    Args:
        query: Asks it.
        columns: Its columns.

    Raises:
        SourceUnsupportedError: A table or column that we rely on is not there.
    """
    sessions = {}
    if "session_v2" in columns:
        sessions["v2"] = "session_v2"
    elif "seq" in columns.get("session_message", ()) and (
        # Late 1.x has this table, without steps of the model.  With them it is the
        # preview of 2.0, which kept its messages under the sessions of v1.
        "part" not in columns or _any_step(query)
    ):
        sessions["v2"] = "session"
    if not columns.keys().isdisjoint({"message", "part"}) or not sessions:
        sessions["v1"] = "session"
    _require(columns, sessions)
    return Layout(sessions, columns)


def _any_step(query: Query) -> bool:
    sql = "SELECT 1 FROM session_message WHERE type = 'assistant' LIMIT 1"
    return query(sql).fetchone() is not None


def _require(columns: Mapping[str, frozenset[str]], sessions: Mapping[str, str]) -> None:
    needed = [table for kind, owner in sessions.items() for table in (owner, *ROW_TABLES[kind])]
    lacking = [f"table {table}" for table in needed if table not in columns] + [
        f"column {table}.{column}"
        for table in needed
        for column in sorted(COLUMNS[table] - columns.get(table, COLUMNS[table]))
    ]
    if lacking:
        raise SourceUnsupportedError(
            "the database lacks " + ", ".join(lacking),
            hint="it is not OpenCode's, is being migrated, or is newer than this exporter: "
            "look for an update",
        )
