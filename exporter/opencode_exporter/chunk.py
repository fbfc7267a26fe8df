"""
The chunk: what goes from the tailer to the ledger: events, cursors and rows still open.

Plain data, no behaviour but the thinning of anchors.
"""

from __future__ import annotations

from typing import Final

import msgspec

from opencode_exporter.events import Event, Invocation

DENSE: Final = 32
_MOST: Final = 64
_SPREAD: Final = 1.5


class Anchor(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row that was read: it tells later whether rowids still mean the same rows."""

    rowid: int
    id: str
    created: int = 0  # ms, of the row: deleted and imported again, it is another one


class Cursor(msgspec.Struct, frozen=True):
    """Where the next poll of one table begins: after the last anchor."""

    anchors: tuple[Anchor, ...] = ()
    first: int = 1  # the lowest rowid there was, if it is below 1
    rows: int = 0  # how many rows there were, where no rowid is left above them; else 0

    @property
    def position(self) -> int:
        """The rowid of the newest row read; before the first, one below all."""
        return self.anchors[-1].rowid if self.anchors else self.first - 1

    def extended(self, rows: list[Anchor]) -> Cursor:
        """
        Return the cursor after some rows, of which the newest are given, oldest first.

        The newest anchors stay close together, older ones grow sparse: after a
        deletion the poll resumes near the end, and a renumbering is noticed.
        """
        known = [*self.anchors, *rows]
        kept = known[: -DENSE - 1 : -1]
        newest = known[-1].rowid if known else 0
        for anchor in reversed(known[:-DENSE]):
            if newest - anchor.rowid >= _SPREAD * (newest - kept[-1].rowid):
                kept.append(anchor)
            if len(kept) == _MOST:
                break
        return Cursor(tuple(reversed(kept)), self.first)


ITSELF: Final = ("", "")
"""Among the calls of a row that were given up: its step."""


class RowKind(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """
    What the rows of a table are to whoever counts them, in place of a client's name or version.

    Attributes:
        origin: 1, 2 or 3: an upgrade copies what was counted into rows of another origin.
        is_call: Whether a row is one call and nothing else; its id is the call's `part`.
        restamps: Whether the start of a call that runs may be stamped anew.
    """

    origin: int
    is_call: bool = False
    restamps: bool = False

    def row_of(self, call: Invocation) -> str:
        """Return the id of the row that shows a call."""
        return call.part if self.is_call else call.message


class OpenRow(msgspec.Struct, frozen=True):
    """A row that may still change: looked at again until it is final or gone."""

    table: str
    kind: RowKind
    row: str
    updated: int  # time_updated, ms
    size: int  # bytes of data: equal milliseconds happen
    seen: int  # when we first saw it so, ms of our own clock
    order: int = 0  # seq of the message in v2
    calls: tuple[Invocation, ...] = ()
    given_up: tuple[tuple[str, str], ...] = ()  # (call, part) of those counted as abandoned
    wake: int = 0  # Unix ms at which it says more by its age alone; 0: never
    ahead: int = 0  # Unix ms of its times, if they are too far ahead of ours to be believed

    @property
    def silent_since(self) -> int:
        """When it last changed, ms: by the source's clock, unless that is ahead of ours."""
        return min(self.updated or self.seen, self.seen)


class Chunk(msgspec.Struct):
    """What one short read transaction over one table brought."""

    table: str
    kind: RowKind
    events: list[Event] = msgspec.field(default_factory=list)
    open_rows: list[OpenRow] = msgspec.field(default_factory=list)
    settled: list[str] = msgspec.field(default_factory=list)
    unreadable: list[OpenRow] = msgspec.field(default_factory=list)  # that were open before
    cursor: Cursor | None = None  # None: it stays where it is
    rows: int = 0
    newest: int = 0  # ms, the newest change of a row
    progress: float = 1.0  # how much of the table has been read

    def extend(self, other: Chunk) -> None:
        """Add what the following rows brought."""
        self.events += other.events
        self.open_rows += other.open_rows
        self.settled += other.settled
        self.unreadable += other.unreadable
        self.cursor = other.cursor or self.cursor
        self.rows += other.rows
        self.newest = max(self.newest, other.newest)
