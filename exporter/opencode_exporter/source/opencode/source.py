"""
The source: an opencode.db that is read and never written.

Knows files, SQLite and its locks, and not what the rows mean.  Guarantees that

- no file is created or changed on a database that had neither ``-wal`` nor ``-shm``,
- nothing is readable but what the schema names,
- the last close of OpenCode does not find us in its way,
- a read that a writer overtook raises instead of counting.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import apsw

from opencode_exporter.errors import (
    SourceError,
    SourceMissingError,
    SourceUnsupportedError,
)
from opencode_exporter.source.opencode.failures import (
    as_told,
    hot_journal,
    sqlite_error,
    unreadable,
)
from opencode_exporter.source.opencode.lockless import (
    Files,
    FileState,
    LiveState,
    SharedLock,
    file_state,
    vfs,
)
from opencode_exporter.source.opencode.reader import BUSY_MS, Reader, changed, connect, restrict
from opencode_exporter.source.opencode.schema import KnownColumns

_MAGIC: Final = b"SQLite format 3\x00"
_JOURNAL: Final = bytes.fromhex("d9d505f920a163d7")  # begins one that may have to be undone
_WAL_HEADER_BYTES: Final = 32
_INDEX_HEADER_BYTES: Final = 48  # WalIndexHdr of sqlite3's wal.c: changes at every commit
_TRIES: Final = 3
_LOOK_ALIKES: Final = 20  # databases beside a missing one that are looked into


class Signature(NamedTuple):
    """Everything about the files that a commit changes; equal means nothing new."""

    main: FileState | None
    wal: FileState | None
    wal_header: bytes
    index_header: bytes


def _stat(path: Path) -> FileState | None:
    """Return the state of a file, None if there is none."""
    try:
        return file_state(path)
    except FileNotFoundError:
        return None


def _head(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except FileNotFoundError:
        return b""


class Source:
    """
    One database file.

    Args:
        path: The file; it need not be there.
        label: Its name in metrics.
        lockless: Whether it may be read without locks, where that can be verified.
        columns: Those that were found before.
    """

    def __init__(
        self,
        path: Path,
        label: str,
        *,
        lockless: bool = True,
        columns: KnownColumns | None = None,
    ) -> None:
        self.path = path
        self.label = label
        real = Path(os.path.realpath(path))  # SQLite puts its files beside a link's target
        self.wal = real.with_name(real.name + "-wal")
        self.journal = real.with_name(real.name + "-journal")
        self.index = real.with_name(real.name + "-shm")
        self._files = Files(real, self.wal, self.index)
        self._is_lockless = lockless and _is_utf8(real)
        self._columns = columns or KnownColumns()

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
            raise unreadable(err) from err

    def is_gone(self) -> bool:
        """Return whether there is no file; False where that cannot be seen."""
        try:
            return _stat(self.path) is None
        except OSError:
            return False

    def sizes(self) -> dict[str, int]:
        """Return the bytes of ``main`` and ``wal``."""
        main, wal = _stat(self.path), _stat(self.wal)
        return {"main": main.size if main else 0, "wal": wal.size if wal else 0}

    @contextlib.contextmanager
    def open(self, *, unnoticed: bool = False) -> Iterator[Reader]:
        """
        Open the database for one poll, and close it after.

        A held connection would keep OpenCode's last close from folding the WAL
        into the file.

        Args:
            unnoticed: Hold no lock, if that is possible: for reads that are over soon
                and can be repeated, since a checkpoint ends them.

        Raises:
            SourceMissingError: There is no file.
            SourceUnsupportedError: It is not a database of OpenCode.
            SourceChangedError: A writer overtook what was read last.
            SourceError: It cannot be read now.
        """
        with contextlib.ExitStack() as opened:
            try:
                self._require_database()
                reader = self._connect(opened, unnoticed=unnoticed)
            except OSError as err:
                raise unreadable(err) from err
            except apsw.Error as err:
                raise sqlite_error(err) from err
            try:
                reader.learn_layout(self._columns.of(_stat(self.path), reader.query))
                yield reader
            except Exception as err:
                self._columns.forget()
                reader.verify()  # a torn read looks like damage, or like a defect of ours
                told = as_told(err)
                if told is err:
                    raise
                raise told from err
            reader.verify()

    def _connect(self, opened: contextlib.ExitStack, *, unnoticed: bool) -> Reader:
        """Return the reader for the state of the files; the stack closes what it needs."""
        for _ in range(_TRIES):
            if self._is_cold():
                return self._without_writers(opened)
            reader = self._without_locks(opened) if unnoticed and self._is_lockless else None
            if reader := reader or self._with_locks(opened):
                return reader
        raise changed()

    def _without_writers(self, opened: contextlib.ExitStack) -> Reader:
        """Read a file that has no writer."""
        before = _stat(self.path)

        def is_unchanged() -> bool:
            return not self._has_rows_in_wal() and _stat(self.path) == before

        return Reader(restrict(connect(self.path, "immutable=1"), opened), is_unchanged)

    def _without_locks(self, opened: contextlib.ExitStack) -> Reader | None:
        """Read beside writers without any lock; None if a torn read could not be noticed."""
        with contextlib.ExitStack() as looking:
            try:
                state = looking.enter_context(LiveState(self._files))
            except FileNotFoundError:
                return None
            if not state.can_be_read:
                return None
            connection = connect(self._files.main, "mode=ro", vfs())
            connection.pragma("locking_mode", "exclusive")
            restrict(connection, looking)
            opened.push(looking.pop_all())
            return Reader(connection, state.is_whole, is_unnoticed=True)

    def _with_locks(self, opened: contextlib.ExitStack) -> Reader | None:
        """Read beside writers under SQLite's own locks; None if the WAL is gone."""
        lock = opened.enter_context(SharedLock(self.path))
        connection = restrict(connect(self.path, "mode=ro"), opened)
        if not lock.acquire(BUSY_MS / 1000):
            raise apsw.BusyError
        if self._has_rows_in_wal():
            connection.pragma("user_version")  # opens the WAL, and keeps it open
            return Reader(connection, lambda: True)
        lock.release()
        return None if self._is_cold() else Reader(connection, lambda: True)

    def _require_database(self) -> None:
        if not self.path.exists():
            other = _look_alike(self.path.parent)
            raise SourceMissingError(
                "there is no database",
                hint=f"'{other}' beside it has OpenCode's tables: name it with --source.path"
                if other
                else "start OpenCode once, or name its file with --source.path",
            )
        if not self.path.is_file():  # opening a pipe would wait for its writer for ever
            raise SourceUnsupportedError(
                "what lies there is no regular file",
                hint="name OpenCode's own file, usually opencode.db, with --source.path",
            )
        head = _head(self.path, len(_MAGIC))
        if not head:
            raise SourceError("the file is empty", hint="OpenCode fills it when it starts")
        if head != _MAGIC:
            raise SourceUnsupportedError(
                "the file is not an SQLite database",
                hint="name OpenCode's own file, usually opencode.db, with --source.path",
            )

    def _is_cold(self) -> bool:
        """
        Return whether the file must be opened as immutable, as no WAL holds rows.

        ``mode=ro`` would create ``-wal`` and ``-shm`` beside a cleanly closed
        database, or fail where the directory cannot be written.
        """
        if _head(self.path, 20)[18:] != b"\x02\x02":
            return False  # a rollback journal: readers only share a lock
        if not self._has_rows_in_wal():
            if _head(self.journal, len(_JOURNAL)) == _JOURNAL:  # it was about to get a WAL
                raise hot_journal()
            return True
        if not self.index.exists() and not os.access(self.wal.parent, os.W_OK):
            raise SourceError(
                "the newest rows are in a -wal file that has no -shm beside it, "
                "in a directory that cannot be written",
                hint="mount the directory with its -shm file, or run the exporter on the host",
            )
        return False

    def _has_rows_in_wal(self) -> bool:
        wal = _stat(self.wal)
        return wal is not None and wal.size > 0


def _is_utf8(path: Path) -> bool:
    """Return whether apsw can open a file by a VFS of ours: it encodes names as UTF-8."""
    try:
        os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _look_alike(folder: Path) -> str:
    """Return the name of a database with OpenCode's tables in a folder, or nothing."""
    try:
        paths = sorted(path for path in folder.glob("*.db") if path.is_file())
    except OSError:
        return ""
    for path in paths[:_LOOK_ALIKES]:
        with contextlib.suppress(SourceError, OSError), Source(path, "").open(unnoticed=True):
            return path.name
    return ""
