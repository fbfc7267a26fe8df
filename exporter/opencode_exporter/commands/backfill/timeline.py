"""
The timeline: what was added to each series, and at which sample.

Samples stand at whole steps of Unix time, as those of a scrape with this interval
would, and the last one at the end.  The timeline is kept in a temporary database, which
SQLite holds on disk as soon as it is large.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, Self

import apsw
import msgspec

from opencode_exporter import catalog as c
from opencode_exporter.counting.series import Labels, Value, merge
from opencode_exporter.errors import LedgerError
from opencode_exporter.times import SENSIBLE_MS

SeriesKey = tuple[str, Labels]
"""A metric's name, and labels."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Value).decode

AFTER_END: Final = 1 << 62
"""The place of what no sample shows any more, though the baseline's totals hold it."""


class Period(NamedTuple):
    """Which samples there are; times are Unix ms, steps whole seconds."""

    step_s: int
    end_ms: int  # of the last sample
    until_ms: int  # up to when the last sample shows what happened
    baseline_ms: int

    def sample(self, ms: int) -> int | None:
        """
        Return the number of the sample that is the first to show what happened at a time.

        None where the history does not tell: without a time that makes sense, or after
        the baseline.
        """
        if not SENSIBLE_MS <= ms <= self.baseline_ms:
            return None
        return self._after(min(ms, self.end_ms)) if ms <= self.until_ms else AFTER_END

    @property
    def last(self) -> int:
        """The number of the last sample."""
        return self._after(self.end_ms)

    def _after(self, ms: int) -> int:
        return -(-ms // (1000 * self.step_s))


class Timeline:
    """Additions to series by the number of the sample that is the first to show them."""

    def __init__(self) -> None:
        self._db = apsw.Connection("")  # temporary, removed when closed
        self._db.pragma("journal_mode", "OFF")
        self._db.execute("CREATE TABLE added (series INTEGER, place INTEGER, value BLOB)")
        self._ids: dict[SeriesKey, int] = {}
        self.totals: dict[SeriesKey, Value] = {}
        """All that was added to each series."""
        self._failure: LedgerError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close(True)

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except apsw.Error as err:
            self._failure = LedgerError(
                f"the temporary database of the history cannot be used ({err})",
                hint="free space where temporary files are, or name another place with TMPDIR",
            )
            raise self._failure from err

    def add(self, place: int, added: Mapping[SeriesKey, Value]) -> None:
        """
        Note what a sample is the first to show.

        Raises:
            LedgerError: There is no room for it.
        """
        for series, value in added.items():
            self.totals[series] = merge(c.BY_NAME[series[0]], self.totals.get(series), value)
        ids = self._ids
        rows = (
            (ids.setdefault(series, len(ids)), place, _encode(value))
            for series, value in added.items()
        )
        with self._room():
            self._db.executemany("INSERT INTO added VALUES (?, ?, ?)", rows)

    def finish(self) -> None:
        """
        Index what was added; nothing more is added after this.

        Raises:
            LedgerError: There is no room for it, or something was not added for want of room.
        """
        if self._failure is not None:  # who polled may have gone on
            raise self._failure
        with self._room():
            self._db.execute("CREATE INDEX added_by_series ON added (series, place)")

    def by_metric(self) -> dict[str, dict[Labels, Value]]:
        """Return all that was added, by metric and labels."""
        totals: dict[str, dict[Labels, Value]] = {}
        for (metric, labels), value in self.totals.items():
            totals.setdefault(metric, {})[labels] = value
        return totals

    def first(self, until: int) -> int | None:
        """Return the first place of all, None without any up to one."""
        found = self._db.execute("SELECT min(place) FROM added WHERE place <= ?", (until,)).get
        return None if found is None else int(found)

    def added(self, series: SeriesKey, until: int) -> Iterator[tuple[int, Value]]:
        """Yield what was added to a series, place by place, up to one."""
        rows: Iterable[tuple[int, bytes]] = self._db.execute(
            "SELECT place, value FROM added WHERE series = ? AND place <= ? ORDER BY place",
            (self._ids.get(series, -1), until),
        )
        metric = c.BY_NAME[series[0]]
        at, total = -1, None
        for place, data in rows:
            value = _decode(data)
            if place != at and total is not None:
                yield at, total
                total = None
            at, total = place, merge(metric, total, value)
        if total is not None:
            yield at, total
