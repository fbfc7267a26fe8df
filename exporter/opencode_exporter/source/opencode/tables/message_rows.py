"""Tables of which one row is one message: how both generations' rows are read in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any, ClassVar

from opencode_exporter.chunk import Cursor
from opencode_exporter.clock import Clock
from opencode_exporter.source.opencode.reader import Reader
from opencode_exporter.source.opencode.session_rows import Sessions
from opencode_exporter.source.opencode.tables.large import NEED_CARE
from opencode_exporter.source.opencode.tables.table import (
    WITHOUT_BOUNDS,
    Bounds,
    Known,
    Taken,
    integer,
)

FoundRow = tuple[Any, ...]
"""A row as SQLite gives it."""


class MessageRows(ABC):
    """
    Rows in the order of their rowids.

    Args:
        reader: The open source.
        clock: Tells the time.
        with_paths: Whether steps tell the paths of files that they change.
    """

    name: ClassVar[str]
    brought_by: ClassVar[str] = ""
    generation: ClassVar[str]
    _SELECT: ClassVar[str]
    _CAREFULLY: ClassVar[str]

    def __init__(self, reader: Reader, clock: Clock, *, with_paths: bool = False) -> None:
        self._reader = reader
        self._clock = clock
        sessions = reader.layout.sessions[self.generation]
        self._sessions = Sessions(
            reader, sessions, with_paths=with_paths, generation=self.generation
        )

    def last_rowid(self) -> int:
        """Return the highest rowid, 0 for none."""
        return integer(self._reader.query(f"SELECT max(rowid) FROM {self.name}").get)

    def look_ahead(self, cursors: Mapping[str, Cursor]) -> None:  # noqa: B027
        """Do nothing: how other tables are read is nothing to this one."""

    def is_brought(self, _cursors: Mapping[str, Cursor]) -> bool:
        """Return False: each row is read for itself."""
        return False

    def read_after(self, rowid: int, bounds: Bounds, known: Known) -> Taken:
        """Read the rows after a rowid, in its order, until a bound is met."""
        where, values = "WHERE rowid >= ? AND rowid <= ? ORDER BY rowid", (rowid + 1, bounds.last)
        try:
            with closing(self._reader.query(f"{self._SELECT} {where}", values)) as rows:
                return self._take(rows, bounds, known)
        except NEED_CARE:  # one of a thousand rows is odd: the others count
            with closing(self._reader.query(f"{self._CAREFULLY} {where}", values)) as rows:
                return self._take(rows, bounds, known)

    def read_again(self, ids: list[str]) -> Taken:
        """Read rows that were open and have changed, or that are asked for, in their order."""
        with closing(self._by_id(ids)) as rows:
            return self._take(rows, WITHOUT_BOUNDS, {self.name: ids})

    def _by_id(self, ids: list[str]) -> Generator[FoundRow]:
        """Yield rows one by one: sorted by SQLite, all of their data would be in memory."""
        sql = f"SELECT rowid FROM {self.name} WHERE id IN (SELECT value FROM json_each(?))"
        for (rowid,) in sorted(self._reader.by_ids(self.name, sql, ids, tuple)[0]):
            yield from self._reader.spared(self.name, partial(self._row, rowid), ())

    def _row(self, rowid: int) -> list[FoundRow]:
        return self._reader.query(f"{self._CAREFULLY} WHERE rowid = ?", (rowid,)).fetchall()

    def read_row(self, rowid: int, known: Known) -> Taken:
        """Read the row of a rowid, if there is one."""
        return self._take(iter(self._row(rowid)), WITHOUT_BOUNDS, known)

    @abstractmethod
    def _take(self, rows: Iterator[FoundRow], bounds: Bounds, known: Known) -> Taken:
        """Return what the rows say, until a bound is met."""
