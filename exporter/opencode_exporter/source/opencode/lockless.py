"""
Lockless: how a live database is read without anybody noticing.

Every ordinary connection holds locks, and by these SQLite tells whether the one
that closes is the last.  Beside ours OpenCode's would not be: it would leave its
``-wal`` and ``-shm`` behind.  So a poll takes no lock, opens nothing for writing
and touches no shared memory: SQLite reads the index of the WAL into memory of its
own, as it does for a database that one process has for itself.  So nobody waits for us.
In return writers do not know that we read: after a read it is found out whether one
could have torn it.

Guarantees that `LiveState.is_whole` is true only if all that was read belongs to one
state.  Knows the first bytes of ``-wal`` and ``-shm``, and no SQL.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import sys
import threading
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import apsw

MOST_FRAMES: Final = 4096
"""More of them in the WAL, and reading their index costs more than a poll: 4 ms."""

# Parts of the file formats: walformat.html, and WalIndexHdr and WalCkptInfo of wal.c.
_HEADER: Final = struct.Struct("=12xB3xI12x8s8x")  # is it initialised, frames, salts
_INDEX_BYTES: Final = 132
_BACKFILL: Final = struct.Struct("=I")  # frames that a checkpoint wrote, or is about to write
_BACKFILL_AT: Final = 128
_WAL_SALTS: Final = slice(16, 24)
_SHARED_FIRST: Final = 0x40000002
_SHARED_SIZE: Final = 510

_VFS: Final = "opencode-exporter-lockless"
_LOOK_S: Final = 0.002
_FLOCK: Final = "qqihh" if sys.platform == "darwin" else "hhqqi"


class Files(NamedTuple):
    """The three files of a database."""

    main: Path
    wal: Path
    shm: Path


class FileState(NamedTuple):
    """What of a file changes when it is written or replaced."""

    inode: int
    size: int
    changed_ns: int


def file_state(path: Path) -> FileState:
    """
    Return the state of a file.

    Raises:
        FileNotFoundError: There is none.
        OSError: It may not be looked at.
    """
    found = path.stat()
    return FileState(found.st_ino, found.st_size, found.st_mtime_ns)


class _Index(NamedTuple):
    frames: int
    salts: bytes
    backfilled: int


def _index(path: Path) -> _Index | None:
    """Return what the WAL index says, None if nobody keeps it or it is being written."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        head = os.pread(file, _INDEX_BYTES, 0)
    finally:
        os.close(file)
    size = _HEADER.size
    if len(head) < _INDEX_BYTES or head[:size] != head[size : 2 * size]:
        return None
    initialised, frames, salts = _HEADER.unpack_from(head)
    (backfilled,) = _BACKFILL.unpack_from(head, _BACKFILL_AT)
    return _Index(frames, salts, backfilled) if initialised else None


class LiveState:
    """
    One state of a live database, for as long as it can be read.

    Use it as a context manager, around the connection.

    Raises:
        FileNotFoundError: One of the files is gone.
        OSError: One of them cannot be read.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._file = os.open(files.wal, os.O_RDONLY)
        self._main = file_state(files.main)
        self._index = _index(files.shm)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    @property
    def can_be_read(self) -> bool:
        """Whether the end of this state would be noticed, and reading it costs little."""
        return (
            self._index is not None
            and self._index.frames <= MOST_FRAMES
            # The index may be ahead: the WAL is about to be written from its start.
            and os.pread(self._file, _WAL_SALTS.stop, 0)[_WAL_SALTS] == self._index.salts
            and not _is_held(self._files.main)
        )

    def is_whole(self) -> bool:
        """Return whether nothing has been written over what this state consists of."""
        if _is_held(self._files.main):  # who has it exclusively need not keep the index
            return False
        now, then = _index(self._files.shm), self._index
        return (
            now is not None
            and then is not None
            and now.salts == then.salts  # else the WAL was begun anew
            and now.backfilled <= then.frames  # what we take from the WAL may be in the file too
            and os.fstat(self._file).st_nlink > 0
            and file_state(self._files.main) == self._main
        )


class _ReadOnly(apsw.VFS):
    """SQLite's files without locks, and without a way to make or change one."""

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  # SQLite's name
        """Open a file that is there, for reading; only SQLite's own temporary ones are made."""
        if flags[0] & (apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_WAL):
            writing = apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_READWRITE
            flags[0] = flags[0] & ~writing | apsw.SQLITE_OPEN_READONLY
        return super().xOpen(name, flags)

    def xDelete(self, *_: object) -> None:  # noqa: N802
        """Refuse."""
        raise apsw.ReadOnlyError


_kept: list[_ReadOnly] = []  # SQLite forgets one that nobody keeps


def vfs() -> str:
    """
    Return the name of the VFS to connect by.

    The connection must be in exclusive locking mode before its first read: only then
    SQLite keeps the index of the WAL to itself.
    """
    if not _kept:
        _kept.append(_ReadOnly(_VFS, "unix-none"))
    return _VFS


class SharedLock:
    """
    SQLite's shared lock: it keeps a database from being closed while SQLite opens its WAL.

    Without it the WAL that was there a moment ago could be gone, and SQLite would
    make a new one.  Use it as a context manager, around the connection: when a file
    is closed, the process loses all locks on it.
    """

    def __init__(self, main: Path) -> None:
        self._file = os.open(main, os.O_RDONLY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def acquire(self, seconds: float) -> bool:
        """Wait until nobody has the database exclusively; return whether that came."""
        pause = threading.Event()
        for _ in range(int(seconds / _LOOK_S)):
            if _share(self._file):
                return True
            pause.wait(_LOOK_S)
        return False

    def release(self) -> None:
        """Allow the database to be closed."""
        _unshare(self._file)


def _share(file: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_FIRST)
    except (BlockingIOError, PermissionError):  # POSIX leaves open which of the two
        return False
    except OSError:  # a file system without locks: SQLite has none there either
        return True
    return True


def _unshare(file: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.lockf(file, fcntl.LOCK_UN, _SHARED_SIZE, _SHARED_FIRST)


def _is_held(main: Path) -> bool:
    """Return whether another process has the database exclusively, without locking it."""
    kind, where = (fcntl.F_RDLCK, os.SEEK_SET), (_SHARED_FIRST, _SHARED_SIZE)
    darwin = sys.platform == "darwin"
    question = (
        struct.pack(_FLOCK, *where, 0, *kind) if darwin else struct.pack(_FLOCK, *kind, *where, 0)
    )
    file = os.open(main, os.O_RDONLY)
    try:
        answer = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, question))
    except OSError:
        return True
    finally:
        os.close(file)
    return bool(answer[3 if darwin else 0] != fcntl.F_UNLCK)
