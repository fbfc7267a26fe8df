"""
What a ledger publishes: values that have been committed, and since when they count.

Pure.  Never changed, so that any thread may render it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

from opencode_exporter.counting.series import Labels, Value
from opencode_exporter.counting.totals import Numbers, Series, Times, born_of, starts_of
from opencode_exporter.ledger.viewers import Viewers

T = TypeVar("T")


class Totals(NamedTuple):
    """Series, with what is known of each; by metric and labels."""

    series: Series
    starts: Numbers  # of all series, Unix ms; those of gauges mean nothing
    born: Numbers  # with which birth those came that came after the baseline

    def changed(self, series: Series, times: Times, birth: int) -> Totals:
        """
        Return the totals of the series that a batch changes.

        Args:
            series: Their new values.
            times: Of the batch.
            birth: That of series that are new; 0: they come with the history.
        """
        starts = starts_of(series, self.starts, times)
        return Totals(series, starts, born_of(series, self.series, self.born, birth))

    def updated(self, changed: Totals) -> Totals:
        """Return all totals after those of a batch."""
        return Totals(
            _with(self.series, changed.series),
            _with(self.starts, changed.starts),
            _with(self.born, changed.born),
        )

    def has_born(self, birth: int) -> bool:
        """Return whether a series came with a birth."""
        return any(birth in of_metric.values() for of_metric in self.born.values())

    def rows(self) -> dict[tuple[str, Labels], tuple[Value, int, int]]:
        """Return value, start and birth by metric and labels, as they are written."""
        return {
            (metric, labels): (
                value,
                self.starts[metric][labels],
                self.born[metric].get(labels, 0),
            )
            for metric, values in self.series.items()
            for labels, value in values.items()
        }


def totals_of(rows: Iterable[tuple[str, Labels, Value, int, int]]) -> Totals:
    """Return totals by rows of metric, labels, value, start and birth."""
    series: dict[str, dict[Labels, Value]] = {}
    starts: dict[str, dict[Labels, int]] = {}
    born: dict[str, dict[Labels, int]] = {}
    for metric, labels, value, started, birth in rows:
        series.setdefault(metric, {})[labels] = value
        starts.setdefault(metric, {})[labels] = started
        if birth:
            born.setdefault(metric, {})[labels] = birth
    return Totals(series, starts, born)


def _with(
    old: Mapping[str, Mapping[Labels, T]], new: Mapping[str, Mapping[Labels, T]]
) -> dict[str, Mapping[Labels, T]]:
    """Return what is known by metric and labels, with what is new of it."""
    return {**old, **{metric: {**old.get(metric, {}), **more} for metric, more in new.items()}}


class Published(NamedTuple):
    """What has been committed."""

    totals: Totals
    salt: str  # of hashes that are shown
    births: int  # until now
    viewers: Viewers  # to whom they are shown
    names: Mapping[str, tuple[str, ...]]  # names that hold a slot, by label
    places: Mapping[str, tuple[str, ...]]  # those that are shown at 0 before they do
    in_flight: tuple[tuple[str, int], ...]  # tool and start (ms) of what runs now
    hot_files: tuple[tuple[str, int], ...]  # paths, most edited first, and how often
    active: Mapping[str, int]  # sessions and when they changed (ms), of the last minutes
    baseline_ms: int
    began_ms: int  # when the ledger did
    late_ms: int

    @property
    def series(self) -> Series:
        """Values by metric and labels."""
        return self.totals.series

    @property
    def starts(self) -> Numbers:
        """Since when the series count, Unix ms."""
        return self.totals.starts

    @property
    def born(self) -> Numbers:
        """With which birth those series came that came after the baseline."""
        return self.totals.born
