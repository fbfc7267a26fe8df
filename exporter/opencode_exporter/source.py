"""
The source: an opencode.db that is read and never written.

Knows files, SQLite and generations.  Guarantees that no file of the source is
created or changed on a database that had neither ``-wal`` nor ``-shm``, that no
table is readable but the ones named here, and that a read which a writer
overtook raises instead of counting.  Knows nothing of what the rows mean.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import apsw

from opencode_exporter.errors import (
    SourceChangedError,
    SourceError,
    SourceMissingError,
    SourceUnsupportedError,
)

_MAGIC: Final = b"SQLite format 3\x00"
_WAL_HEADER_BYTES: Final = 32
_INDEX_HEADER_BYTES: Final = 48  # WalIndexHdr of sqlite3's wal.c: changes at every commit
_BUSY_MS: Final = 200

COLUMNS: Final[Mapping[str, frozenset[str]]] = {
    "session": frozenset({"id", "project_id", "time_created"}),
    "message": frozenset({"id", "session_id", "time_created", "data"}),
    "part": frozenset({"id", "message_id", "session_id", "time_updated", "data"}),
    "session_v2": frozenset({"id", "project_id", "time_created"}),
    "session_message": frozenset(
        {"id", "session_id", "type", "seq", "time_created", "time_updated", "data"}
    ),
}
"""What we rely on; tables may have more columns, and OpenCode's versions do."""

_READABLE: Final = frozenset({*COLUMNS, "project", "sqlite_master", "json_each"})


class Signature(NamedTuple):
    """Everything about the files that a commit changes; equal means nothing new."""

    main: tuple[int, int, int] | None
    wal: tuple[int, int, int] | None
    wal_header: bytes
    index_header: bytes


@dataclass(frozen=True)
class Layout:
    """The tables of one file: which generations it holds."""

    sessions: Mapping[str, str]  # generation -> table of its sessions
    columns: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def generations(self) -> tuple[str, ...]:
        """``v1``, ``v2`` or, after an upgrade, both."""
        return tuple(sorted(self.sessions))


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _head(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except FileNotFoundError:
        return b""


class Source:
    """One database file, by path.  ``label`` is its name in metrics."""

    def __init__(self, path: Path, label: str) -> None:
        self.path = path
        self.label = label
        real = Path(os.path.realpath(path))  # SQLite puts its files beside a link's target
        self.wal = real.with_name(real.name + "-wal")
        self.index = real.with_name(real.name + "-shm")

    def signature(self) -> Signature:
        """
        Return what the files look like now, without opening the database.

        The header of the WAL index moves with every commit, also when the WAL is
        overwritten from its start and two commits share a tick of the clock.

        Raises:
            SourceError: A file may not be looked at.
        """
        try:
            return Signature(
                main=_stat(self.path),
                wal=_stat(self.wal),
                wal_header=_head(self.wal, _WAL_HEADER_BYTES),
                index_header=_head(self.index, _INDEX_HEADER_BYTES),
            )
        except OSError as err:
            raise _unreadable(err) from err

    def sizes(self) -> dict[str, int]:
        """Return the bytes of ``main`` and ``wal``."""
        main, wal = _stat(self.path), _stat(self.wal)
        return {"main": main[1] if main else 0, "wal": wal[1] if wal else 0}

    @contextlib.contextmanager
    def open(self) -> Iterator[Reader]:
        """
        Open the database for one poll, and close it after.

        A held connection would keep OpenCode's last close from folding the WAL
        into the file.

        Raises:
            SourceMissingError: There is no file.
            SourceUnsupportedError: It is not a database of OpenCode.
            SourceError: It cannot be read now.
        """
        try:
            cold = self._is_cold()
            before = _stat(self.path)
            connection = _connect(self.path, immutable=cold)
        except OSError as err:
            raise _unreadable(err) from err
        except apsw.Error as err:
            raise _sqlite_error(err) from err
        try:
            yield Reader(connection, self, before if cold else None)
        except apsw.Error as err:
            raise _sqlite_error(err) from err
        except UnicodeDecodeError as err:
            raise SourceError(
                "a name or an id in the database is not UTF-8",
                hint="'PRAGMA integrity_check' says whether it is damaged; restore a backup",
            ) from err
        finally:
            connection.close(True)

    def _is_cold(self) -> bool:
        """
        Say whether the file must be opened as immutable: nobody's WAL holds rows.

        ``mode=ro`` would create ``-wal`` and ``-shm`` beside a cleanly closed
        database, or fail where the directory cannot be written.
        """
        if not self.path.exists():
            raise SourceMissingError(
                "there is no database",
                hint="start OpenCode once, or name its file with --source.path",
            )
        if not self.path.is_file():  # opening a pipe would wait for its writer for ever
            raise SourceUnsupportedError(
                "what lies there is no regular file",
                hint="name OpenCode's own file, usually opencode.db, with --source.path",
            )
        head = _head(self.path, 20)
        if not head:
            raise SourceError("the file is empty", hint="OpenCode fills it when it starts")
        if not head.startswith(_MAGIC):
            raise SourceUnsupportedError(
                "the file is not an SQLite database",
                hint="name OpenCode's own file, usually opencode.db, with --source.path",
            )
        if head[18:20] != b"\x02\x02":
            return False  # a rollback journal: readers only share a lock
        wal = _stat(self.wal)
        if wal is None or wal[1] == 0:
            return True
        if not self.index.exists() and not os.access(self.wal.parent, os.W_OK):
            raise SourceError(
                "the newest rows are in a -wal file that has no -shm beside it, "
                "in a directory that cannot be written",
                hint="mount the directory with its -shm file, or run the exporter on the host",
            )
        return False


class Reader:
    """A connection that may read the named tables and nothing else."""

    def __init__(
        self, connection: apsw.Connection, source: Source, cold: tuple[int, int, int] | None
    ) -> None:
        self._connection = connection
        self._source = source
        self._cold = cold
        self.layout = _layout(connection)

    def query(self, sql: str, values: tuple[object, ...] = ()) -> apsw.Cursor:
        """Run one statement; its read transaction ends with the cursor."""
        return self._connection.execute(sql, values)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """See one state of the database in all statements; keep it short."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")

    def verify(self) -> None:
        """
        Make sure that what was read of a cold file was whole.

        Raises:
            SourceChangedError: A writer came meanwhile; drop what was read.
        """
        if self._cold is None:
            return
        wal = _stat(self._source.wal)
        if (wal is not None and wal[1] > 0) or _stat(self._source.path) != self._cold:
            raise SourceChangedError(
                "the source changed while it was read", hint="it is read again"
            )


def _connect(path: Path, *, immutable: bool) -> apsw.Connection:
    mode = "immutable=1" if immutable else "mode=ro"
    connection = apsw.Connection(
        f"file:{quote(str(path.absolute()))}?{mode}",
        flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
    )
    connection.set_busy_timeout(_BUSY_MS)
    for option, value in (
        (apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1),
        (apsw.SQLITE_DBCONFIG_DEFENSIVE, 1),
        (apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
    ):
        connection.config(option, value)
    connection.pragma("query_only", True)
    connection.authorizer = _authorize
    return connection


def _authorize(
    action: int, first: str | None, second: str | None, _database: str | None, _by: str | None
) -> int:
    """Deny every table but ours: others hold secrets, or gigabytes."""
    if action in (apsw.SQLITE_SELECT, apsw.SQLITE_FUNCTION, apsw.SQLITE_TRANSACTION):
        return apsw.SQLITE_OK
    if action == apsw.SQLITE_READ and first in _READABLE:
        return apsw.SQLITE_OK
    if action == apsw.SQLITE_PRAGMA and first == "table_info" and second in _READABLE:
        return apsw.SQLITE_OK
    return apsw.SQLITE_DENY


def _layout(connection: apsw.Connection) -> Layout:
    columns = {}
    for table in (*COLUMNS, "project"):
        found = frozenset(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))
        if found:
            columns[table] = found
    sessions = {}
    if "session_v2" in columns:
        sessions["v2"] = "session_v2"
    elif "seq" in columns.get("session_message", ()) and (
        # Late 1.x has this table, without steps of the model.  With them it is the
        # preview of 2.0, which kept its messages under the sessions of v1.
        "part" not in columns or _any_step(connection)
    ):
        sessions["v2"] = "session"
    if not columns.keys().isdisjoint({"message", "part"}) or not sessions:
        sessions["v1"] = "session"
    _require(columns, sessions)
    return Layout(sessions, columns)


def _any_step(connection: apsw.Connection) -> bool:
    sql = "SELECT 1 FROM session_message WHERE type = 'assistant' LIMIT 1"
    return connection.execute(sql).fetchone() is not None


def _require(columns: Mapping[str, frozenset[str]], sessions: Mapping[str, str]) -> None:
    rows = {"v1": ("message", "part"), "v2": ("session_message",)}
    needed = [table for kind, owner in sessions.items() for table in (owner, *rows[kind])]
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


def _unreadable(err: OSError) -> SourceError:
    return SourceError(
        f"a file of the database cannot be read ({err.strerror or type(err).__name__})",
        hint="let the exporter's user read the data directory",
    )


def _sqlite_error(err: apsw.Error) -> SourceError:
    if isinstance(err, apsw.BusyError | apsw.LockedError):
        return SourceError(
            "the database is locked", hint="it is tried again; close what holds it for long"
        )
    if isinstance(err, apsw.NotADBError):
        return SourceUnsupportedError(
            "the file is not an SQLite database", hint="name OpenCode's own file with --source.path"
        )
    if isinstance(err, apsw.CorruptError):
        return SourceError(
            "the database is corrupt", hint="'PRAGMA integrity_check' says where; restore a backup"
        )
    # The text of SQLite's own message names tables and files, never row content.
    return SourceError(f"SQLite says: {err}", hint="it is tried again")
