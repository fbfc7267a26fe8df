"""
The hearing: what messages of v1 say becomes two chunks, of their calls and of themselves.

Calls are rows of ``part``, and stay open as such.
"""

from __future__ import annotations

from collections.abc import Callable

from opencode_exporter.chunk import DENSE, Anchor, Cursor, RowKind
from opencode_exporter.decode.opencode.v1.rows import Told
from opencode_exporter.decode.opencode.v1.steps import SETTLED_MS, TABLE, MessageRow
from opencode_exporter.events import Rejection, Remark, Step, weight
from opencode_exporter.source.opencode.tables.message_parts_v1 import PART_TABLE
from opencode_exporter.source.opencode.tables.part_v1 import PART_KIND
from opencode_exporter.source.opencode.tables.table import ChunkBuilder, Known, Taken

States = dict[str, tuple[int, int]]
"""When rows changed, ms, and their sizes, by id."""


class Hearing:
    """
    Takes what messages say.

    Args:
        kind: What their rows are.
        now: Unix ms.
        known: The rows that were open before.
        with_calls: Whether they bring their calls.

    Attributes:
        weight: How many things there are in what was taken.
        bytes: How many were read for it.
    """

    def __init__(self, kind: RowKind, now: int, known: Known, *, with_calls: bool) -> None:
        self._now = now
        self._with_calls = with_calls
        self._messages = ChunkBuilder(TABLE, kind, now, known.get(TABLE, ()))
        self._calls = ChunkBuilder(PART_TABLE, PART_KIND, now, known.get(PART_TABLE, ()))
        self._rows: list[tuple[int, MessageRow, Step | Remark | Rejection]] = []
        self.weight = self.bytes = 0

    @property
    def rows(self) -> int:
        """How many messages were taken."""
        return len(self._rows)

    def take(self, rowid: int, row: MessageRow, told: Told) -> None:
        """Take what a message says, and its calls."""
        self._rows.append((rowid, row, told.itself))
        self.weight += weight(told.itself)
        if self._with_calls and (told.ended or told.calls):
            self._take_calls(told)

    def _take_calls(self, told: Told) -> None:
        calls = self._calls
        calls.chunk.rows += len(told.ended) + len(told.calls)
        self.weight += len(told.ended)
        if calls.known:
            for event in told.ended:
                calls.add(event.part, event.ended, 0, 0, [event], final=True)
        else:
            calls.chunk.events += told.ended  # nearly all of them
        for row, events, final in told.calls:
            calls.add(row.id, row.updated, row.size, 0, events, final=final)

    def take_without_calls(self, rowid: int, row: MessageRow, told: Told) -> None:
        """Take what a message says whose calls could not all be read: they are read one by one."""
        self.take(rowid, row, Told(told.itself, [], []))
        if self._with_calls:
            self._calls.chunk.cursor = Cursor()

    def chunks(self, states: Callable[[list[str]], States]) -> Taken:
        """
        Return what was taken; open rows with the state to compare later.

        Args:
            states: Returns the states of some messages.
        """
        still_open = [row.id for _, row, event in self._rows if not _is_over(event)]
        found = states(still_open) if still_open else {}
        messages = self._messages
        plain, known = messages.chunk.events, messages.known
        for _, row, event in self._rows:
            if _is_over(event) and row.id not in known:  # nearly all of them
                plain.append(event)
                continue
            updated, size = found.get(row.id, (row.updated, 0))
            wake = (row.updated or row.created) + SETTLED_MS
            final, wake = _is_over(event), wake if wake > self._now else 0
            messages.add(row.id, updated, size, 0, [event], final=final, wake=wake)
        messages.chunk.rows = len(self._rows)
        believable = [row.updated for _, row, _ in self._rows if row.updated <= self._now]
        messages.chunk.newest = max([messages.chunk.newest, *believable])
        newest = [Anchor(at, row.id, row.created) for at, row, _ in self._rows[-DENSE:]]
        calls = self._calls.chunk
        has_calls = calls.rows or calls.cursor is not None
        return Taken(messages.chunk, newest, calls if has_calls else None, self.weight)


def _is_over(event: Step | Remark | Rejection) -> bool:
    return not event.until if isinstance(event, Rejection) else event.is_over
