"""
Where a run keeps its files, and the lock that makes its writers take turns.

Two SQLite writers lock each other out; with turns, whoever meets a lock all the
same met the exporter's.  The lock ends with its process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LAST_FILE: Final = 900


@dataclass
class Place:
    """The directory of one run."""

    directory: Path

    @property
    def source(self) -> Path:
        """The database that all writers share."""
        return self.directory / "opencode.db"

    @property
    def journal(self) -> Path:
        """What the writers say they do."""
        return self.directory / "journal"

    @property
    def home(self) -> Path:
        """The home in which the exporter looks for skills."""
        return self.directory / "home"

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the lock: nobody else writes."""
        low = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        # Files of a killed process are closed in their order: this lock is to go last.
        handle = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _LAST_FILE)
        os.close(low)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @property
    def seen(self) -> int:
        """The operation before which the exporter has shown everything."""
        try:
            return int((self.directory / "seen").read_bytes() or b"0")
        except FileNotFoundError:
            return 0

    @seen.setter
    def seen(self, number: int) -> None:
        unfinished = self.directory / "seen.new"
        unfinished.write_bytes(b"%d" % number)
        unfinished.replace(self.directory / "seen")

    def complain(self, sentence: str) -> None:
        """Report a violation that a writer met."""
        with (self.directory / "complaints").open("a", encoding="utf-8") as file:
            file.write(f"{sentence}\n")

    def complaints(self) -> list[str]:
        """Return what all writers have reported so far."""
        try:
            return (self.directory / "complaints").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
