"""
Around damage: what can be read of a table beside its damaged pages.

A scan ends at a damaged page, and does not say how many rows are on it.  So the rows
near it are asked for one by one; where none of many can be read, steps double.
"""

from __future__ import annotations

from collections.abc import Callable

import apsw

from opencode_exporter.chunk import DENSE, Chunk
from opencode_exporter.source.opencode.damage import LAST_ROWID, Gap
from opencode_exporter.source.opencode.reader import Reader
from opencode_exporter.source.opencode.tables.table import Bounds, Known, Table, Taken, together


def read_around(
    reader: Reader, table: Table, after: int, bounds: Bounds, known: Known
) -> tuple[Taken, int]:
    """
    Return what can be read of some rows, and up to which rowid that is.

    Called where `apsw.CorruptError` was caught.

    Args:
        reader: The open source, where the other rows are noted.
        table: The table.
        after: The rowid before the first.
        bounds: How many they may be.
        known: Rows that were open.
    """
    damage = reader.hurt()
    chunk, newest, bad = Chunk(table.name, table.kind), [], []
    calls: Chunk | None = None
    weight = 0
    last = min(after + bounds.rows, bounds.last)
    for rowid in range(after + 1, last + 1):
        try:
            with reader.transaction():
                taken = table.read_row(rowid, known)
        except apsw.CorruptError:
            reader.verify()
            bad.append(rowid)
            continue
        chunk.extend(taken.chunk)
        calls = together(calls, taken.calls)
        newest += taken.newest
        weight += taken.weight
    if len(bad) == last - after:
        last = _end_of_damage(reader, table, last, bounds.last)
        damage.pass_over(table.name, after + 1, last)
    elif not newest and not bad:  # what comes next is on a damaged page, or far
        last = _before_next(reader, table, last, bounds.last)
    for rowid in bad:
        damage.pass_over(table.name, rowid, rowid)
    return Taken(chunk, newest[-DENSE:], calls, weight), last


def _end_of_damage(reader: Reader, table: Table, bad: int, last: int) -> int:
    """Return the last rowid of a long run of which none can be read."""
    return _end(bad, last, lambda rowid: not can_be_read(reader, table, rowid))


def _before_next(reader: Reader, table: Table, after: int, last: int) -> int:
    """Return the rowid before the first that is of a row, or cannot be read."""
    sql = f"SELECT rowid FROM {table.name} WHERE rowid > ? AND rowid <= ? ORDER BY rowid LIMIT 1"
    try:
        row = reader.query(sql, (after, last)).fetchone()
    except apsw.CorruptError:
        reader.verify()
    else:
        return int(row[0]) - 1 if row else last
    return _end(after, last, lambda rowid: can_be_read(reader, table, rowid))


def _end(inside: int, last: int, goes_on: Callable[[int], bool]) -> int:
    """Return the last of a run of rowids, found in steps that double and then halve."""
    step = 1
    while inside + step <= last and goes_on(inside + step):
        inside, step = inside + step, 2 * step
    outside = min(inside + step, last + 1)
    while outside - inside > 1:
        middle = (inside + outside) // 2
        if goes_on(middle):
            inside = middle
        else:
            outside = middle
    return inside


def can_be_read(reader: Reader, table: Table, rowid: int) -> bool:
    """Return whether a rowid can be read, also if no row has it."""
    try:
        table.read_row(rowid, {})
    except apsw.CorruptError:
        reader.verify()
        return False
    return True


def last_readable(reader: Reader, table: Table, position: int) -> int:
    """
    Return the highest rowid that can be read where the end of a table is damaged.

    Called where `apsw.CorruptError` was caught.
    """
    damage = reader.hurt()
    good = _end(position, LAST_ROWID - 1, lambda rowid: can_be_read(reader, table, rowid))
    damage.pass_over(table.name, good + 1)
    return good


def mended(reader: Reader, table: Table) -> list[Gap]:
    """Return the rows that could not be read and now can be."""
    damage = reader.damage
    if damage is None:
        return []
    gaps = damage.gaps.get(table.name, [])
    found = [gap for gap in gaps if can_be_read(reader, table, gap.first)]
    for gap in found:
        damage.mend(table.name, gap)
    return found
