"""
Waiting: rows of our future, until our clock has passed their times.

One of the clocks is wrong: theirs, or ours.  Of each source some hundred rows are kept
in mind, those that are due first; of all others only when the first of them is, for then
their table is read again from its beginning.  So a row of the year 9999 is in nobody's way.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final

from opencode_exporter.ledger.store import Place

MOST: Final = 500
"""Rows of one source that are kept in mind."""


class Waiting:
    """Places of rows by when they are due, Unix ms."""

    def __init__(self) -> None:
        self._due: dict[str, list[tuple[int, Place]]] = {}
        self._passed_over: dict[tuple[str, str], int] = {}

    def add(self, place: Place, due: int) -> Place | None:
        """Keep a row in mind; return the row that gives way to it, if there are too many."""
        rows = self._due.setdefault(place[0], [])
        insort(rows, (due, place))
        if len(rows) <= MOST:
            return None
        last, out = rows.pop()
        at = out[:2]
        self._passed_over[at] = min(last, self._passed_over.get(at, last))
        return out

    def remove(self, place: Place, due: int) -> None:
        """Forget a row, if it is kept in mind."""
        rows = self._due.get(place[0], [])
        at = bisect_left(rows, (due, place))
        if rows[at : at + 1] == [(due, place)]:
            del rows[at]

    def passed_over(self) -> dict[tuple[str, str], int]:
        """Return, by source and table, when the first of the rows is due that gave way; once."""
        passed_over, self._passed_over = self._passed_over, {}
        return passed_over

    def first(self, source: str) -> int:
        """Return when the first row of a source is due, 0 for never."""
        rows = self._due.get(source)
        return rows[0][0] if rows else 0

    def due(self, source: str, now: int) -> list[Place]:
        """Return the rows of a source that are due."""
        return [place for due, place in self._due.get(source, ()) if due <= now]
