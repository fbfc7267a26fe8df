"""
Stretches: which rows of a table have not been read, and where reading goes on.

Rowids are given again after a deletion, and others after a ``VACUUM``: a cursor's anchors
tell from where on rows may be new.  Reads no data of a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apsw
import msgspec

from opencode_exporter.chunk import Anchor, Chunk, Cursor
from opencode_exporter.source.opencode.damage import LAST_ROWID
from opencode_exporter.source.opencode.reader import Reader
from opencode_exporter.source.opencode.tables.around import last_readable
from opencode_exporter.source.opencode.tables.large import name_of, number_of
from opencode_exporter.source.opencode.tables.table import Table, Taken, integer, shown


class Range(NamedTuple):
    """The first and the last rowid of some rows, and how many they are at most."""

    first: int
    last: int
    rows: int


class Stretch(msgspec.Struct, frozen=True):
    """Rows of one table that have not been read: after a cursor, up to a rowid."""

    table: str
    cursor: Cursor
    last: int
    is_first: bool = False  # nothing of the source has been read before: it may be summed
    is_brought: bool = False  # rows of another table bring these
    only: tuple[Range, ...] | None = None  # those of them that matter; None: all
    all_rows: int = 0  # of the table, where no rowid is left above them; else 0

    @property
    def rows(self) -> int:
        """How many there may be: rowids have gaps."""
        return max(0, self.last - self.cursor.position)

    @property
    def after(self) -> Anchor:
        """The row before the first of them; without an id where there is none."""
        return self.cursor.anchors[-1] if self.cursor.anchors else Anchor(self.cursor.position, "")

    def pieces(self) -> Iterator[tuple[Anchor, int]]:
        """Yield what is to be read: the row before the first, and the last rowid."""
        if self.only is None:
            yield self.after, self.last
            return
        for first, last, _ in self.only:
            yield Anchor(first - 1, ""), last

    def after_reading(self, taken: Taken) -> tuple[list[Chunk], Stretch]:
        """Return what was read of it with cursor and progress, and the rows that are left."""
        cursor = self.cursor.extended(taken.newest)
        if cursor.position >= self.last:
            cursor = msgspec.structs.replace(cursor, rows=self.all_rows)
        before = cursor.first - 1
        progress = min(1.0, (cursor.position - before) / (self.last - before))
        if self.is_brought:  # those are to come
            progress = 0.0
        chunk = msgspec.structs.replace(taken.chunk, cursor=cursor, progress=progress)
        return taken.chunks(chunk), msgspec.structs.replace(self, cursor=cursor)


def stretch_of(reader: Reader, table: Table, cursor: Cursor) -> Stretch:
    """Return the rows of a table that have not been read, by where its cursor still holds."""
    first = _first_rowid(reader, table.name)
    position = resume(reader, table.name, cursor)
    if first < cursor.first:
        cursor = Cursor(first=first)
    elif position < cursor.position:
        cursor = Cursor(tuple(a for a in cursor.anchors if a.rowid <= position), cursor.first)
    try:
        last = table.last_rowid()
    except apsw.CorruptError:
        last = last_readable(reader, table, cursor.position)
    all_rows = 0
    if last == LAST_ROWID:
        all_rows = _count(reader, table.name)
        if all_rows != cursor.rows:  # some are new, or gone: nobody knows which
            cursor = Cursor(first=first)
    return Stretch(table.name, cursor, last, all_rows=all_rows)


def _first_rowid(reader: Reader, table: str) -> int:
    """Return the lowest rowid if it is below those that SQLite gives, else 1."""
    row = reader.one(table, f"SELECT rowid FROM {table} ORDER BY rowid LIMIT 1")
    return min(1, integer(row[0])) if row is not None else 1


def _count(reader: Reader, table: str) -> int:
    row = reader.one(table, f"SELECT count(*) FROM {table}")
    return integer(row[0]) if row is not None else 0


def resume(reader: Reader, table: str, cursor: Cursor) -> int:
    """
    Return the rowid after which rows are new, or may be.

    All anchors in their places: go on.  The newest gone: its session was deleted;
    resume from the newest that is still there.  Another row in the place of one:
    rowids were given again; resume below it.  One found elsewhere, or made anew:
    rows were renumbered (VACUUM) or imported; read everything again, against the
    keys of what was counted.
    """
    found = _occupants(reader, table, cursor.anchors)
    position = beginning = cursor.first - 1
    for anchor in cursor.anchors:
        there = found.get(anchor.rowid)
        if there == anchor:
            position = anchor.rowid
            continue
        moved = reader.one(table, f"SELECT 1 FROM {table} WHERE id = ?", (anchor.id,))
        if moved is not None:
            return beginning
        if there is not None:
            break
    return position


def is_there(reader: Reader, table: str, anchor: Anchor) -> bool:
    """Return whether an anchor is in its place: then no rowid below has been given again."""
    return not anchor.id or _occupants(reader, table, [anchor]).get(anchor.rowid) == anchor


def _occupants(reader: Reader, table: str, anchors: Sequence[Anchor]) -> dict[int, Anchor]:
    """Return the rows that are at the anchors' rowids."""
    sql = (
        f"SELECT rowid, {name_of('id')}, {number_of('time_created')} FROM {table} "
        "WHERE rowid IN (SELECT value FROM json_each(?))"
    )

    def occupant(row: tuple[Any, ...]) -> tuple[int, Anchor]:
        rowid, name, created = row
        return rowid, Anchor(rowid, shown(name), integer(created))

    by_rowid = {anchor.rowid: anchor for anchor in anchors}
    found, failed = reader.by_ids(table, sql, [*by_rowid], occupant)
    # A damaged page does not say that another row is there.
    return {rowid: by_rowid[rowid] for rowid in failed} | dict(found)
