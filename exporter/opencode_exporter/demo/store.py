"""
The database file: its schema, and how rows get into it.

Owns connections.  A database made here has the tables, the page size and the
journal of a real one; a `Bulk` leaves it cold, with nothing in the WAL.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import apsw

from opencode_exporter.demo.rows import upsert

_BATCH: Final = 20_000


def schema(generation: str) -> str:
    """Return the DDL of a fresh database of that generation."""
    return Path(__file__).with_name(f"schema_{generation}.sql").read_text(encoding="utf-8")


def create(path: Path, generation: str) -> apsw.Connection:
    """Make an empty database and return a connection to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = connect(path)
    with connection:
        connection.execute(schema(generation))
    return connection


def connect(path: Path) -> apsw.Connection:
    """Open a database with the settings that OpenCode gives its own."""
    connection = apsw.Connection(
        f"file:{quote(os.fsencode(path.absolute()))}",  # a path need not be UTF-8
        flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI,
    )
    connection.set_busy_timeout(5_000)
    connection.execute("PRAGMA page_size = 4096")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


class Direct:
    """Writes each row at once: a transaction of its own, if none is open."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._statements: dict[str, str] = {}

    def __call__(self, table: str, values: tuple[Any, ...]) -> None:
        """Write a row."""
        if table not in self._statements:
            self._statements[table] = upsert(table)
        self._connection.execute(self._statements[table], values)


class Bulk:
    """
    Collects rows and writes them by the ten thousand, fast and without care for crashes.

    Attributes:
        rows: How many rows each table was given.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._waiting: dict[str, list[tuple[Any, ...]]] = {}
        self._count = 0
        self.rows: dict[str, int] = {}
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -400000")

    def __call__(self, table: str, values: tuple[Any, ...]) -> None:
        """Take a row."""
        self._waiting.setdefault(table, []).append(values)
        self.rows[table] = self.rows.get(table, 0) + 1
        self._count += 1
        if self._count >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write the collected rows in one transaction."""
        with self._connection:
            for table, rows in self._waiting.items():
                self._connection.executemany(upsert(table), rows)
        self._waiting.clear()
        self._count = 0

    def close(self) -> None:
        """Write the rest, fold the WAL into the file and close it."""
        self.flush()
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()
