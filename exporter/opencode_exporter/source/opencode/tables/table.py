"""
A tailed table: what the tailer asks of it, whichever generation it is of.

Rows come in short read transactions, as chunks of events.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Mapping
from typing import ClassVar, Final, NamedTuple, Protocol

from opencode_exporter.chunk import ITSELF, Anchor, Chunk, Cursor, OpenRow, RowKind
from opencode_exporter.events import ABANDONED, Event, Invocation, Rejection, Step
from opencode_exporter.source.opencode.damage import LAST_ROWID
from opencode_exporter.source.opencode.reader import Reader

LOOKS: Final = 64
"""Rows between two looks at the clock."""


class Bounds(NamedTuple):
    """How long one read transaction may go on: whichever is met first."""

    rows: int
    bytes: int
    until: float  # by the clock's monotonic seconds
    last: int  # the highest rowid that is asked for
    weight: int  # of the events, by `events.weight`


WITHOUT_BOUNDS: Final = Bounds(
    rows=sys.maxsize, bytes=sys.maxsize, until=math.inf, last=LAST_ROWID, weight=sys.maxsize
)


Known = Mapping[str, Collection[str]]
"""The rows that were open when they were last seen, by table."""


class Taken(NamedTuple):
    """A chunk, and anchors of its newest rows, oldest first."""

    chunk: Chunk
    newest: list[Anchor]
    calls: Chunk | None = None  # of its rows, where calls are rows of a table of their own
    weight: int = 0  # of all events, by `events.weight`

    def chunks(self, itself: Chunk) -> list[Chunk]:
        """Return the chunk, or what has taken its place, behind that of its calls."""
        return [self.calls, itself] if self.calls is not None else [itself]


def together(one: Chunk | None, other: Chunk | None) -> Chunk | None:
    """Return two chunks of a table as one; the first is made longer."""
    if one is None or other is None:
        return one or other
    one.extend(other)
    return one


class Table(Protocol):
    """
    One tailed table.

    Attributes:
        brought_by: The table whose rows bring these when they are read; nothing: none does.
    """

    name: ClassVar[str]
    brought_by: ClassVar[str]
    kind: ClassVar[RowKind]

    def last_rowid(self) -> int:
        """Return the highest rowid, 0 for none."""
        ...

    def look_ahead(self, cursors: Mapping[str, Cursor]) -> None:
        """
        Note where each table will be read on.

        Args:
            cursors: By table.
        """
        ...

    def is_brought(self, cursors: Mapping[str, Cursor]) -> bool:
        """Return whether the rows of another table bring nearly all of what is left to read."""
        ...

    def read_after(self, rowid: int, bounds: Bounds, known: Known) -> Taken:
        """Read the rows after a rowid, in its order, until a bound is met."""
        ...

    def read_again(self, ids: list[str]) -> Taken:
        """Read rows that were open and have changed."""
        ...

    def read_row(self, rowid: int, known: Known) -> Taken:
        """Read the row of a rowid, if there is one."""
        ...

    def states(self, ids: list[str]) -> dict[str, tuple[int, int]]:
        """Return (updated, size) of the rows that still exist, without reading their data."""
        ...

    def went_on(self, call: Invocation, row: OpenRow, now: int, /) -> bool:
        """
        Return whether the session went on without an open call.

        Args:
            call: The call.
            row: The row that shows it, as it was last seen.
            now: Unix ms.
        """
        ...


UNREADABLE: Final = (-1, -1)
"""The state of a row on a damaged page."""
STALE_MS: Final = 60_000
"""How old a step must be that is not over, to show that what is before it will not end."""


def is_evidence(began: object, changed: int, now: int, *, is_over: bool) -> bool:
    """
    Return whether a later step shows that an open row has been left.

    What still changes after that step began is worked on beside it, by another process.

    Args:
        began: When the step was created, ms.
        changed: When the open row last changed, ms.
        now: Unix ms.
        is_over: Whether the step is.
    """
    if not isinstance(began, int) or changed > began:
        return False
    return is_over or began <= now - STALE_MS


def integer(value: object) -> int:
    """Return a number, 0 for anything else."""
    return value if isinstance(value, int) else 0


def shown(name: object) -> str:
    """Return an id as a text, also one that is no valid UTF-8."""
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)


def text(value: object) -> str | None:
    """Return bytes as a text, None if they are none."""
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError:
        return None


def _says_nothing(events: list[Event]) -> bool:
    return bool(events) and all(isinstance(event, Rejection) for event in events)


def _due(events: list[Event]) -> int:
    """Return when the first of what is of our future is due, ms; 0 for nothing."""
    first = 0
    for event in events:
        if isinstance(event, Rejection) and event.until:
            first = min(first or event.until, event.until)
    return first


class ChunkBuilder:
    """Fills a chunk, row by row."""

    def __init__(self, table: str, kind: RowKind, now: int, known: Collection[str]) -> None:
        self.chunk = Chunk(table, kind)
        self._now = now
        self.known = known

    def add(
        self,
        row: str,
        updated: int,
        size: int,
        order: int,
        events: list[Event],
        *,
        final: bool,
        wake: int = 0,
    ) -> None:
        """Add a row's events; the row stays open if it may still change or is of our future."""
        chunk = self.chunk
        ahead = _due(events)
        final = final and not ahead
        if chunk.newest < updated <= self._now:
            chunk.newest = updated
        if row in self.known and _says_nothing(events):
            # It was open, and decides nothing until it can be read again.
            chunk.events += events
            chunk.unreadable.append(
                OpenRow(
                    *(chunk.table, chunk.kind, row, updated, size, self._now, order), ahead=ahead
                )
            )
            return
        if final:
            chunk.events += events
            if row in self.known:
                chunk.settled.append(row)
            return
        calls = []
        given_up = []
        for event in events:
            if isinstance(event, Invocation) and event.status is None:
                calls.append(event)
                continue
            chunk.events.append(event)
            if isinstance(event, Invocation) and event.status == ABANDONED:
                given_up.append((event.call, event.part))
            elif isinstance(event, Step) and event.is_over:
                given_up.append(ITSELF)
        chunk.open_rows.append(
            OpenRow(
                *(chunk.table, chunk.kind, row, updated, size, self._now, order),
                calls=tuple(calls),
                given_up=tuple(given_up),
                wake=wake,
                ahead=ahead,
            )
        )


def states(
    reader: Reader,
    table: str,
    ids: list[str],
    size: str = "octet_length(data)",
) -> dict[str, tuple[int, int]]:
    """
    Return (updated, size) of the rows that still exist, without reading their data.

    Args:
        reader: The open source.
        table: The table.
        ids: Of its rows.
        size: An expression whose value changes when a row does.
    """
    sql = (
        f"SELECT id, time_updated, {size} FROM {table} WHERE id IN (SELECT value FROM json_each(?))"
    )
    rows, failed = reader.by_ids(table, sql, ids, tuple)
    found = {str(name): (integer(updated), integer(size)) for name, updated, size in rows}
    return found | dict.fromkeys(failed, UNREADABLE)
