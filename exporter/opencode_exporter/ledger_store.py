"""
The ledger's file: an SQLite database of ours, 0600 in a 0700 directory.

Owns schema, lock and transaction.  Everything of a batch is written in one
transaction with ``synchronous=FULL``.  Knows nothing of what is counted.
"""

from __future__ import annotations

import json
import os
import secrets
import uuid
from array import array
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from opencode_exporter.batch import Cursor, OpenRow
from opencode_exporter.errors import LedgerBusyError, LedgerError

APPLICATION_ID: Final = 0x4F434C47  # "OCLG"
SCHEMA_VERSION: Final = 1
_WAL_BYTES: Final = 4 << 20
_CACHE_KIB: Final = 12_000
_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE series (
    metric TEXT NOT NULL, labels TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (metric, labels)
) WITHOUT ROWID;
CREATE TABLE slot (position INTEGER PRIMARY KEY, label TEXT NOT NULL, name TEXT NOT NULL);
CREATE TABLE cursor (
    source TEXT NOT NULL, tbl TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (source, tbl)
) WITHOUT ROWID;
CREATE TABLE open_row (
    source TEXT NOT NULL, tbl TEXT NOT NULL, row TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (source, tbl, row)
) WITHOUT ROWID;
CREATE TABLE seen (key INTEGER PRIMARY KEY, owner INTEGER NOT NULL);
"""

Place = tuple[str, str, str]
"""Source, table and id of a row."""

_open_row = msgspec.json.Decoder(OpenRow).decode
_cursor = msgspec.json.Decoder(Cursor).decode
_encode = msgspec.json.Encoder().encode


class Batch(msgspec.Struct):
    """Everything that one commit writes."""

    series: dict[tuple[str, tuple[str, ...]], Any] = msgspec.field(default_factory=dict)
    seen: dict[int, int] = msgspec.field(default_factory=dict)
    fingerprints: dict[int, int] = msgspec.field(default_factory=dict)
    cursors: dict[tuple[str, str], Cursor] = msgspec.field(default_factory=dict)
    open_rows: dict[Place, OpenRow | None] = msgspec.field(default_factory=dict)
    slots: list[tuple[str, str]] = msgspec.field(default_factory=list)
    meta: dict[str, str] = msgspec.field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__struct_fields__)


class Store:
    """One ledger file, held alone.  ``path`` None: a ledger in memory."""

    def __init__(self, path: Path | None) -> None:
        """
        Open or create the file.

        Raises:
            LedgerBusyError: Another exporter holds it.
            LedgerError: It cannot be opened, or is not one of ours.
            apsw.CorruptError: It is damaged; see `set_aside`.
            apsw.NotADBError: The same.
        """
        self.path = path
        if path is not None:
            _prepare(path)
        try:
            self._db = _connect(path)
        except (apsw.BusyError, apsw.LockedError) as err:
            raise LedgerBusyError(
                f"another exporter holds the ledger {path}",
                hint="stop it, or give this one its own with --ledger.path",
            ) from err
        except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.IOError, apsw.FullError) as err:
            raise LedgerError(
                f"the ledger {path} cannot be opened ({err})",
                hint="make its directory writable, or choose another with --ledger.path",
            ) from err

    def meta(self) -> dict[str, str]:
        """Return what is noted about the ledger itself."""
        return dict(self._db.execute("SELECT name, value FROM meta"))

    def series(self) -> Iterable[tuple[str, tuple[str, ...], Any]]:
        """Yield (metric, labels, value)."""
        for metric, labels, value in self._db.execute("SELECT metric, labels, value FROM series"):
            yield metric, tuple(json.loads(labels)), json.loads(value)

    def slots(self) -> list[tuple[str, str]]:
        """Return (label, name) in the order in which the slots were given."""
        return list(self._db.execute("SELECT label, name FROM slot ORDER BY position"))

    def cursors(self) -> dict[tuple[str, str], Cursor]:
        """Return the cursors by source and table."""
        rows = self._db.execute("SELECT source, tbl, value FROM cursor")
        return {(source, table): _cursor(value) for source, table, value in rows}

    def open_rows(self) -> dict[Place, OpenRow]:
        """Return the rows that may still change, by their place."""
        rows = self._db.execute("SELECT source, tbl, row, value FROM open_row")
        return {(source, table, row): _open_row(value) for source, table, row, value in rows}

    def owners(self, keys: list[int]) -> dict[int, int]:
        """Return the owners of those keys that are known."""
        if not keys:
            return {}
        sql = "SELECT seen.key, seen.owner FROM carray(?) JOIN seen ON seen.key = carray.value"
        return dict(self._db.execute(sql, (apsw.carray(array("q", sorted(keys))),)))

    def write(self, batch: Batch) -> None:
        """
        Write a batch: all of it or nothing.

        Raises:
            LedgerError: It could not be written.
        """
        db = self._db
        try:
            with db:
                # In key order the pages of the tree are filled one after the other.
                db.executemany(
                    "INSERT OR REPLACE INTO seen VALUES (?, ?)", sorted(batch.seen.items())
                )
                db.executemany(
                    "INSERT OR IGNORE INTO seen VALUES (?, ?)", sorted(batch.fingerprints.items())
                )
                db.executemany(
                    "INSERT OR REPLACE INTO series VALUES (?, ?, ?)",
                    (
                        (metric, json.dumps(labels), json.dumps(value))
                        for (metric, labels), value in batch.series.items()
                    ),
                )
                db.executemany("INSERT INTO slot (label, name) VALUES (?, ?)", batch.slots)
                db.executemany(
                    "INSERT OR REPLACE INTO cursor VALUES (?, ?, ?)",
                    ((*place, _encode(value).decode()) for place, value in batch.cursors.items()),
                )
                self._write_open_rows(batch.open_rows)
                db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", batch.meta.items())
        except apsw.Error as err:
            raise LedgerError(
                f"the ledger cannot be written ({err})",
                hint="free space on its disk; nothing is lost, the batch is read again",
            ) from err

    def _write_open_rows(self, rows: dict[Place, OpenRow | None]) -> None:
        for place, row in rows.items():
            if row is None:
                self._db.execute(
                    "DELETE FROM open_row WHERE source = ? AND tbl = ? AND row = ?", place
                )
            else:
                self._db.execute(
                    "INSERT OR REPLACE INTO open_row VALUES (?, ?, ?, ?)",
                    (*place, _encode(row).decode()),
                )

    def size(self) -> int:
        """Return the bytes of the ledger's files."""
        if self.path is None:
            return 0
        names = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(name.stat().st_size for name in names if name.exists())

    def close(self) -> None:
        """Let go of the file."""
        self._db.close(True)


def _prepare(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as err:
        raise LedgerError(
            f"the ledger {path} cannot be created ({err.strerror})",
            hint="make its directory writable, or choose another with --ledger.path",
        ) from err


def _connect(path: Path | None) -> apsw.Connection:
    db = apsw.Connection(":memory:" if path is None else str(path))
    try:
        # Exclusive from the first access on: one exporter per ledger, no -shm
        # file, and the lock goes with the process however it dies.
        db.pragma("locking_mode", "EXCLUSIVE")
        db.pragma("journal_mode", "WAL")
        db.pragma("synchronous", "FULL")
        db.pragma("cache_size", -_CACHE_KIB)  # keys come in no order: all their pages are hot
        db.pragma("journal_size_limit", _WAL_BYTES)  # the first read leaves a large WAL
        with db:
            _migrate(db, path)
    except BaseException:
        db.close(True)
        raise
    return db


def _migrate(db: apsw.Connection, path: Path | None) -> None:
    version = db.pragma("user_version")
    if version == 0 and not db.execute("SELECT 1 FROM sqlite_master").fetchone():
        db.execute(_SCHEMA)
        db.pragma("application_id", APPLICATION_ID)
        db.pragma("user_version", SCHEMA_VERSION)
        db.executemany(
            "INSERT INTO meta VALUES (?, ?)",
            (("salt", secrets.token_hex(16)), ("instance_id", str(uuid.uuid4()))),
        )
        return
    if db.pragma("application_id") != APPLICATION_ID:
        raise LedgerError(
            f"{path} is a database, but no ledger of this exporter",
            hint="choose another file with --ledger.path",
        )
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"the ledger {path} was written by a newer version of this exporter",
            hint="update the exporter, or give it another ledger with --ledger.path",
        )


def set_aside(path: Path, now_ms: int) -> Path:
    """Move a damaged ledger out of the way, never over another, and return its new name."""
    stamp = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%S")
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    count = 1
    while aside.exists():
        count += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}-{count}")
    path.rename(aside)
    wal = path.with_name(path.name + "-wal")
    if wal.exists():
        wal.rename(aside.with_name(aside.name + "-wal"))
    return aside
