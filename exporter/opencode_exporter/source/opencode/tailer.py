"""
The tailer: one poll of one source, as a run of short reads.

Yields chunks; each was read in one transaction that is bounded in rows, bytes
and time, so that OpenCode can always reset its WAL.  A poll costs what changed:
new rows, and rows that were not final when they were last seen.  It counts
nothing and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final

import apsw
import msgspec

from opencode_exporter.chunk import Anchor, Chunk, Cursor, OpenRow
from opencode_exporter.clock import Clock, Patience
from opencode_exporter.errors import SourceChangedError
from opencode_exporter.events import ABANDONED, Invocation
from opencode_exporter.source.opencode.reader import Reader
from opencode_exporter.source.opencode.stretches import Stretch, is_there, stretch_of
from opencode_exporter.source.opencode.tables import tables
from opencode_exporter.source.opencode.tables.around import mended, read_around
from opencode_exporter.source.opencode.tables.table import (
    UNREADABLE,
    Bounds,
    Known,
    Table,
    Taken,
)

CHUNK_ROWS: Final = 1000  # measured: more or fewer are slower
_BYTES: Final = 4_000_000
_SECONDS: Final = 0.05
_WEIGHT: Final = 8000  # of events: some for each row of most sources
_IDS: Final = 500
_AGAIN: Final = 50
"""Rows that are read again at once: nothing else bounds what they hold."""

_Known = dict[str, dict[str, OpenRow]]
"""The open rows by table and id."""


class Tailer:
    """
    Reads what is new in a source since a cursor, and what changed.

    Args:
        clock: A stopwatch, and the time of day.
        patience: Decides which open calls will not end any more.
        with_paths: Whether steps tell the paths of files that they change.
    """

    def __init__(self, clock: Clock, patience: Patience, *, with_paths: bool = False) -> None:
        self._clock = clock
        self.with_paths = with_paths
        self.patience = patience

    def _tables(self, reader: Reader) -> tuple[Table, ...]:
        return tables(reader, self._clock, with_paths=self.with_paths)

    def read(
        self, reader: Reader, stretches: Iterable[Stretch], open_rows: Iterable[OpenRow]
    ) -> Iterator[Chunk]:
        """
        Yield what is new and what changed.

        Args:
            reader: The open source.
            stretches: What `ahead` returned: what is new, by table.
            open_rows: Rows of this source that were not final then.

        Raises:
            SourceChangedError: The source changed under the read; the chunks before
                it count.
        """
        left = {stretch.table: stretch for stretch in stretches}
        all_tables = self._tables(reader)
        known: _Known = {table.name: {} for table in all_tables}
        for row in open_rows:
            if row.table in known:
                known[row.table][row.row] = row
        again: list[Table] = []
        for table in all_tables:
            table.look_ahead({name: stretch.cursor for name, stretch in left.items()})
            for chunk in self._read_table(reader, table, left, known):
                again += [t for t in all_tables if t.name == chunk.table and _is_reset(chunk)]
                yield chunk
            _asked(reader, table)
        again += [table for table in all_tables if _is_unasked(reader, table)]
        for table in again[:1]:  # what came with other rows was not all of it
            left[table.name] = stretch_of(reader, table, Cursor())
            table.look_ahead({name: stretch.cursor for name, stretch in left.items()})
            yield from self._new(reader, table, left, known)
            _asked(reader, table)

    def _read_table(
        self, reader: Reader, table: Table, left: dict[str, Stretch], known: _Known
    ) -> Iterator[Chunk]:
        ours = known[table.name]
        for chunk in self._changed(table, ours):
            reader.verify()
            yield chunk
        for chunk in self._mended(reader, table, left[table.name], known):
            reader.verify()
            yield chunk
        for chunk in self._new(reader, table, left, known):
            reader.verify()
            yield chunk

    def ahead(
        self, reader: Reader, cursors: Mapping[str, Cursor], *, summed: bool = False
    ) -> list[Stretch]:
        """
        Return the rows that have not been read yet, table by table in the order of `read`.

        Args:
            reader: The open source.
            cursors: Up to where each table has been read.
            summed: Whether what is read of a new source may come as summaries.
        """
        known = self._tables(reader)
        found = [stretch_of(reader, table, cursors.get(table.name, Cursor())) for table in known]
        for place, table in enumerate(known):  # which it is shows when all have been looked at
            if _is_unasked(reader, table):
                found[place] = stretch_of(reader, table, Cursor())
        goes_on = {stretch.table: stretch.cursor for stretch in found}
        # What rows of the second origin have, the first may have brought already.
        first = next((t.kind.origin for t, s in zip(known, found, strict=True) if s.rows), 0)
        is_new = summed and not cursors
        return [
            msgspec.structs.replace(
                stretch,
                is_first=is_new and table.kind.origin == first,
                is_brought=table.is_brought(goes_on),
            )
            for table, stretch in zip(known, found, strict=True)
        ]

    def read_alone(
        self, reader: Reader, stretches: Iterable[Stretch], name: str
    ) -> Iterator[Chunk]:
        """Yield what is new in one table, up to where the other tables will be read on."""
        left = {stretch.table: stretch for stretch in stretches}
        (table,) = (t for t in self._tables(reader) if t.name == name)
        table.look_ahead({name: stretch.cursor for name, stretch in left.items()})
        yield from self._new(reader, table, left, {})

    def stretch(self, reader: Reader, stretch: Stretch, last: int) -> Iterator[Taken]:
        """Yield the first rows of a stretch, up to a rowid, as `between` does."""
        (table,) = (t for t in self._tables(reader) if t.name == stretch.table)
        yield from self.between(reader, table, stretch.after, last)

    def between(
        self,
        reader: Reader,
        table: Table,
        after: Anchor,
        last: int,
        known: Known | None = None,
    ) -> Iterator[Taken]:
        """
        Yield the rows after an anchor up to a rowid, one short transaction each.

        Raises:
            SourceChangedError: The row of the anchor before a chunk is not there any
                more, so that rows below it may be new.
        """
        while after.rowid < last:
            until = self._clock.monotonic() + _SECONDS
            bounds = Bounds(CHUNK_ROWS, _BYTES, until, last, _WEIGHT)
            try:
                with reader.transaction():
                    _expect(reader, table.name, after)
                    taken = table.read_after(after.rowid, bounds, known or {})
            except apsw.CorruptError:
                taken, read = read_around(reader, table, after.rowid, bounds, known or {})
                if taken.newest:
                    yield taken
                after = Anchor(read, "")
                continue
            if not taken.newest:
                return
            after = taken.newest[-1]
            yield taken

    def after_rows(
        self,
        reader: Reader,
        chunks: Iterable[Chunk],
        rows_before: Callable[[Chunk], Mapping[str, list[str]]],
    ) -> Iterator[Chunk]:
        """
        Yield chunks, and before each what some rows say now.

        Args:
            reader: The open source.
            chunks: The chunks.
            rows_before: Returns the rows, by table; asked when all that was yielded before
                has been taken in.
        """
        for chunk in chunks:
            yield from self.again(reader, rows_before(chunk))
            yield chunk

    def again(self, reader: Reader, rows: Mapping[str, list[str]]) -> Iterator[Chunk]:
        """Yield the chunks of some rows, by table, as they are now; deleted rows bring none."""
        for table in self._tables(reader) if rows else ():
            for some in _portions(rows.get(table.name, []), _AGAIN):
                chunk = table.read_again(some).chunk
                reader.verify()
                yield chunk

    def settle(self, reader: Reader, open_rows: Iterable[OpenRow]) -> Iterator[Chunk]:
        """Yield the open calls that will not end any more, as abandoned."""
        by_name = {table.name: table for table in self._tables(reader)}
        for row in open_rows:
            table = by_name.get(row.table)
            lost = [call for call in row.calls if self._is_lost(reader, table, row, call)]
            if lost and not _has_moved(table, row):
                reader.verify()
                yield Chunk(
                    row.table,
                    row.kind,
                    events=[_abandoned(call) for call in lost],
                )

    def settle_unseen(self, open_rows: Iterable[OpenRow]) -> Iterator[Chunk]:
        """Yield the open calls of a database that is not there, when they have rested too long."""
        for row in open_rows:
            if row.calls and self.patience.is_over(row.silent_since):
                yield Chunk(
                    row.table,
                    row.kind,
                    events=[_abandoned(call) for call in row.calls],
                )

    def _is_lost(self, reader: Reader, table: Table | None, row: OpenRow, call: Invocation) -> bool:
        if self.patience.is_over(row.silent_since):
            return True
        if table is None:
            return False
        goes_on = partial(table.went_on, call, row, self._clock.now_ms())
        return reader.spared(row.table, goes_on, instead=False)

    def _changed(self, table: Table, ours: Mapping[str, OpenRow]) -> Iterator[Chunk]:
        """Yield the open rows that have changed, and the calls of deleted ones as abandoned."""
        now = self._clock.now_ms()
        for some in _portions(list(ours), _IDS):
            found = table.states(some)
            moved = [
                name
                for name in some
                if name in found
                and (
                    found[name] not in (UNREADABLE, (ours[name].updated, ours[name].size))
                    or 0 < ours[name].ahead <= now
                )
            ]
            gone = [name for name in some if name not in found]
            for portion in _portions(moved, _AGAIN):
                yield table.read_again(portion).chunk
            if gone:  # deleted: their end can never be seen
                chunk = Chunk(table.name, table.kind, settled=gone)
                chunk.events.extend(_abandoned(call) for name in gone for call in ours[name].calls)
                yield chunk

    def _mended(
        self, reader: Reader, table: Table, stretch: Stretch, known: Known
    ) -> Iterator[Chunk]:
        """Yield the rows that were on damaged pages when the rows after them were read."""
        for gap in mended(reader, table):
            last = min(gap.last, stretch.after.rowid)
            for taken in self.between(reader, table, Anchor(gap.first - 1, ""), last, known):
                yield from taken.chunks(taken.chunk)

    def _new(
        self, reader: Reader, table: Table, left: dict[str, Stretch], known: Known
    ) -> Iterator[Chunk]:
        """Yield what is new in a table; how far it is read is noted in what is left."""
        stretch = left[table.name]
        for after, last in stretch.pieces():
            for taken in self.between(reader, table, after, last, known):
                chunks, stretch = stretch.after_reading(taken)
                left[table.name] = stretch
                yield from chunks


def _portions(names: list[str], most: int) -> Iterator[list[str]]:
    """Yield some names at a time."""
    for start in range(0, len(names), most):
        yield names[start : start + most]


def _is_reset(chunk: Chunk) -> bool:
    """Return whether a chunk says that its table has to be read anew."""
    return chunk.cursor is not None and not chunk.cursor.anchors


def _is_unasked(reader: Reader, table: Table) -> bool:
    """Return whether rows that would have brought some of a table's cannot be read any more."""
    return reader.damage is not None and table.brought_by in reader.damage.unasked


def _asked(reader: Reader, table: Table) -> None:
    """Note that a table has been read with the rows that nothing brings."""
    if reader.damage is not None:
        reader.damage.asked(table.brought_by)


def _has_moved(table: Table | None, row: OpenRow) -> bool:
    """Return whether a row changed since it was read: its calls may have ended meanwhile."""
    state = table.states([row.row]).get(row.row) if table else None
    return state not in (None, UNREADABLE, (row.updated, row.size))


def _expect(reader: Reader, table: str, anchor: Anchor) -> None:
    if not is_there(reader, table, anchor):
        raise SourceChangedError(
            "rows were deleted while they were read", hint="they are read again"
        )


def _abandoned(call: Invocation) -> Invocation:
    return msgspec.structs.replace(call, status=ABANDONED, running=False)
