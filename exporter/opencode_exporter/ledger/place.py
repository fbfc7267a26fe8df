"""
The ledger's place: what lies at its path, told before anything opens it as a database.

Whoever names a device, a letter or another program's database as the ledger gets a
sentence, and what lies there stays as it is: only what is known for a ledger of ours is
ever opened, moved or replaced.  Writes no content.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final, NoReturn

from opencode_exporter.errors import LedgerDamagedError, LedgerError

APPLICATION_ID: Final = 0x4F434C47  # "OCLG"
_USUAL: Final = ("opencode-exporter", "ledger.db")
"""Where a ledger lies if nothing else is said: nothing but one of ours has this name."""
_MAGIC: Final = b"SQLite format 3\x00"
_ID: Final = slice(68, 72)  # of the header: https://sqlite.org/fileformat2.html#application_id
_HEADER_BYTES: Final = 100


def target(path: Path) -> Path:
    """Return where a ledger really is: SQLite puts its files beside the target of a link."""
    return Path(os.path.realpath(path))


def wal_of(path: Path) -> Path:
    """Return the WAL of a ledger."""
    return path.with_name(path.name + "-wal")


def damaged(path: Path | None) -> LedgerDamagedError:
    """Return the error of a damaged ledger."""
    return LedgerDamagedError(
        f"the ledger {path} is damaged", hint="it is kept aside, and counting starts at zero"
    )


def is_taken(path: Path) -> bool:
    """
    Return whether there is a file already: a ledger, or an empty file that may become one.

    Raises:
        LedgerDamagedError: A ledger of ours was there, and has lost all that it held.
        LedgerError: What is there is something else.
        OSError: It cannot be looked at.
    """
    try:
        facts = path.stat()
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(facts.st_mode):  # opening a pipe would wait for its writer for ever
        _refuse(f"{path} is no regular file, so it cannot be the ledger")
    head = _head(path)
    if head.startswith(_MAGIC):
        if int.from_bytes(head[_ID]) != APPLICATION_ID:
            _refuse(f"{path} is a database, but no ledger of this exporter")
    elif head or _is_orphan(path):
        if target(path).parts[-len(_USUAL) :] != _USUAL:
            _refuse(
                f"{path} is no ledger of this exporter, or has lost its beginning",
                "move it away, if it was the ledger; else",
            )
        raise damaged(path)
    return True


def _is_orphan(path: Path) -> bool:
    """Return whether an empty file has a WAL: then it had something in it."""
    wal = wal_of(target(path))
    return wal.exists() and wal.stat().st_size > 0


def _head(path: Path) -> bytes:
    # O_NONBLOCK: a pipe that took the file's place since must not block us.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(file, _HEADER_BYTES)
    finally:
        os.close(file)


def _refuse(what: str, hint: str = "") -> NoReturn:
    raise LedgerError(what, hint=f"{hint} choose another file with --ledger.path".lstrip())


def take_after(new: Path, old: Path) -> None:
    """Give a file the owner and the mode of the one that it is about to replace."""
    facts = old.stat()
    for user, group in ((facts.st_uid, -1), (-1, facts.st_gid)):
        with contextlib.suppress(OSError, AttributeError):  # Windows has no owners of that kind
            os.chown(new, user, group)
    mode = stat.S_IMODE(facts.st_mode) & 0o777
    if new.stat().st_gid != facts.st_gid:
        mode &= ~0o070  # it would be another group that may read it
    new.chmod(mode)
