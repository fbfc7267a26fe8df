"""
The ledger's file: an SQLite database of ours, 0600 in a 0700 directory.

Owns its schema, its lock, and how it comes into being and is replaced when it is
damaged.  A file that is there was whole once, or is empty.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

import apsw

from opencode_exporter.errors import LedgerBusyError, LedgerError, printable
from opencode_exporter.ledger.place import (
    APPLICATION_ID,
    damaged,
    is_taken,
    take_after,
    target,
    wal_of,
)

SCHEMA_VERSION: Final = 9
_WAL_BYTES: Final = 4 << 20
_CACHE_KIB: Final = 4_000
_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE series (
    metric TEXT NOT NULL, labels TEXT NOT NULL, value TEXT NOT NULL, started INTEGER NOT NULL,
    born INTEGER NOT NULL, PRIMARY KEY (metric, labels)
) WITHOUT ROWID;
CREATE TABLE viewer (name TEXT PRIMARY KEY, mark INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE baseline (
    metric TEXT NOT NULL, labels TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (metric, labels)
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
CREATE TABLE fork_print (time INTEGER PRIMARY KEY, block BLOB NOT NULL);
CREATE TABLE edited (
    path TEXT NOT NULL, day INTEGER NOT NULL, edits INTEGER NOT NULL, PRIMARY KEY (path, day)
) WITHOUT ROWID;
CREATE TABLE conversation (key INTEGER PRIMARY KEY, due INTEGER, state BLOB NOT NULL);
CREATE INDEX conversation_due ON conversation (due, key) WHERE due IS NOT NULL;
"""

DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError)


def open_file(path: Path | None) -> apsw.Connection:
    """
    Open or create a ledger and hold it alone.

    Args:
        path: The file; None for one in memory.

    Raises:
        LedgerBusyError: Another exporter holds it.
        LedgerDamagedError: It is damaged; see `set_aside`.
        LedgerError: It cannot be opened, or is not one of ours.
    """
    if path is not None:
        _prepare(path)
    try:
        return _connect(path)
    except DAMAGE as err:
        raise damaged(path) from err
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


def _reason(err: OSError | apsw.Error) -> str:
    return (err.strerror if isinstance(err, OSError) else None) or str(err)


def forget(db: apsw.Connection) -> None:
    """
    Truncate the WAL, where deleted rows stay until they are overwritten.

    Raises:
        apsw.Error: It could not be; what was committed is durable all the same.
    """
    db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def close_as_is(db: apsw.Connection) -> None:
    """Close a file that may be damaged, or is not ours, and leave it as it is."""
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    db.close(True)


def _prepare(path: Path) -> None:
    try:
        if not is_taken(path):
            real = target(path)
            real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(real)
        os.close(os.open(path, os.O_RDWR))
    except (OSError, apsw.Error) as err:
        raise LedgerError(
            f"the ledger {path} cannot be created ({_reason(err)})",
            hint="make its directory writable, or choose another with --ledger.path",
        ) from err


def _create(path: Path) -> None:
    """
    Put an empty ledger in its place in one step.

    A crash or a full disk leaves a whole one or none, so that a file without
    tables is known to have lost them.
    """
    with _made(path, {}) as made:
        wal_of(path).unlink(missing_ok=True)  # of a ledger that is gone: not to be played back
        try:
            os.link(made, path)
        except FileExistsError:
            return  # another exporter was quicker
        except OSError:  # no hard links here
            made.rename(path)


@contextlib.contextmanager
def _made(path: Path, notes: Mapping[str, str]) -> Iterator[Path]:
    """Make an empty ledger beside a path; it is gone after, unless it was moved."""
    made = path.with_name(f"{path.name}.new-{secrets.token_hex(4)}")
    try:
        os.close(os.open(made, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o600))
        db = _opened(made)
        try:
            db.pragma("journal_mode", "WAL")
            with db:
                _fill(db)
                db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", notes.items())
        finally:
            db.close(True)
        yield made
    finally:
        for name in (made, wal_of(made), made.with_name(made.name + "-shm")):
            name.unlink(missing_ok=True)


def _fill(db: apsw.Connection) -> None:
    db.execute(_SCHEMA)
    db.pragma("application_id", APPLICATION_ID)
    db.pragma("user_version", SCHEMA_VERSION)
    db.executemany(
        "INSERT INTO meta VALUES (?, ?)",
        (("salt", secrets.token_hex(16)), ("instance_id", str(uuid.uuid4()))),
    )


def _opened(path: Path) -> apsw.Connection:
    """Open a file that is there."""
    return apsw.Connection(
        f"file:{quote(os.fsencode(target(path)))}?mode=rw",  # a path need not be UTF-8
        flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI,
    )


def _connect(path: Path | None) -> apsw.Connection:
    db = apsw.Connection(":memory:") if path is None else _opened(path)
    try:
        # Exclusive from the first access on: one exporter per ledger, no -shm
        # file, and the lock goes with the process however it dies.
        db.pragma("locking_mode", "EXCLUSIVE")
        if path is None or not db.pragma("page_count"):
            with db:
                _fill(db)
        else:
            _identify(db, path)
        db.pragma("journal_mode", "WAL")
        db.pragma("synchronous", "FULL")
        db.pragma("secure_delete", True)  # a path that is deleted is gone
        db.pragma("cache_size", -_CACHE_KIB)  # keys of one time lie together: few pages are hot
        db.pragma("journal_size_limit", _WAL_BYTES)  # the first read leaves a large WAL
        if path is not None:
            with contextlib.suppress(apsw.FullError, apsw.IOError):
                forget(db)  # whoever was killed had no time for it
    except BaseException:
        close_as_is(db)
        raise
    return db


def _identify(db: apsw.Connection, path: Path) -> None:
    """Make sure that the file is a ledger that we can use; one that is not stays as it is."""
    if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise damaged(path)
    version = db.pragma("user_version")
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"the ledger {path} was written by a newer version of this exporter",
            hint="update the exporter, or give it another ledger with --ledger.path",
        )
    if version < SCHEMA_VERSION:
        raise LedgerError(
            f"the ledger {path} is older than the first release of this exporter",
            hint="move it away: what the databases hold is counted into a new one",
        )


def set_aside(path: Path, now_ms: int, notes: Mapping[str, str]) -> Path:
    """
    Put an empty ledger in the place of a damaged one, and return where that is kept.

    Args:
        path: The damaged ledger, or a link to it; nobody may hold it.
        now_ms: For its new name, which is never another's.
        notes: What the empty one begins with.

    Raises:
        LedgerError: There is no room, or it cannot be moved.  It stays where it is.
    """
    path = target(path)
    stamp = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%S")
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    count = 1
    while aside.exists():
        count += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}-{count}")
    try:
        with _made(path, {**notes, "set_aside": printable(aside.name)}) as made:
            take_after(made, path)
            path.rename(aside)
            wal = wal_of(path)
            if wal.exists() and wal.stat().st_size:
                wal.rename(wal_of(aside))
            wal.unlink(missing_ok=True)
            made.rename(path)
    except (OSError, apsw.Error) as err:
        raise LedgerError(
            f"the damaged ledger {path} cannot be replaced ({_reason(err)})",
            hint="free space, make its directory writable, or choose another with --ledger.path",
        ) from err
    return aside
