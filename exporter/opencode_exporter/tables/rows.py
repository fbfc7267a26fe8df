"""Tables of which one row is one message: how both generations' rows are read in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import ClassVar

import apsw

from opencode_exporter.reader import Reader
from opencode_exporter.sessions import Sessions
from opencode_exporter.tables.table import Bounds, Taken, integer
from opencode_exporter.waker import Clock


class MessageRows(ABC):
    """
    Rows in the order of their rowids.

    Args:
        reader: The open source.
        clock: Tells the time.
        with_paths: Whether steps tell the paths of files that they change.
    """

    name: ClassVar[str]
    generation: ClassVar[str]
    _SELECT: ClassVar[str]
    _CAREFULLY: ClassVar[str]

    def __init__(self, reader: Reader, clock: Clock, *, with_paths: bool = False) -> None:
        self._reader = reader
        self._clock = clock
        sessions = reader.layout.sessions[self.generation]
        self._sessions = Sessions(reader, sessions, with_paths=with_paths)

    def last_rowid(self) -> int:
        """Return the highest rowid, 0 for none."""
        return integer(self._reader.query(f"SELECT max(rowid) FROM {self.name}").get)

    def read_after(self, rowid: int, bounds: Bounds, known: Collection[str]) -> Taken:
        """Read the rows after a rowid, in its order, until a bound is met."""
        where, values = "WHERE rowid > ? AND rowid <= ? ORDER BY rowid", (rowid, bounds.last)
        try:
            rows = self._reader.query(f"{self._SELECT} {where}", values)
            return self._take(rows, bounds, known)
        except UnicodeDecodeError:  # one of a thousand rows has an odd id: the others count
            rows = self._reader.query(f"{self._CAREFULLY} {where}", values)
            return self._take(rows, bounds, known)

    @abstractmethod
    def _take(self, cursor: apsw.Cursor, bounds: Bounds, known: Collection[str]) -> Taken:
        """Return what the rows say, until a bound is met."""
