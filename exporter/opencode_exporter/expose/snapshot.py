"""
Snapshot: every series at one time, and what each client may be shown of it.

Immutable once made, so that any thread may render it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from opencode_exporter import catalog as c
from opencode_exporter.counting.series import Labels, Value, zero_of
from opencode_exporter.expose.exemplars import ExemplarsBySeries

AllSeries = Mapping[c.Metric, Mapping[Labels, Value]]
"""Values in each metric's scale; see `catalog.Metric`."""
Numbers = Mapping[c.Metric, Mapping[Labels, int]]
"""Something of each series: its start in Unix ms, or its birth."""


class Later(Numbers):
    """Numbers that are computed when they are asked for: most pages do not show them."""

    def __init__(self, make: Callable[[], Numbers]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> Numbers:
        return self._make()

    def __getitem__(self, metric: c.Metric) -> Mapping[Labels, int]:
        return self._made[metric]

    def __iter__(self) -> Iterator[c.Metric]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


@dataclass(frozen=True)
class Snapshot:
    """
    Every series at one moment, and since when each counts.

    A start is a time at which the series was 0 and after which all that it counts
    happened; once shown it stays.  See `ledger.totals.starts_of` for those of the ledger.
    A series at 0, because its name is known beforehand, has the baseline as its start,
    and keeps it.  Series that are shown as one have the smallest of their starts.
    """

    series: AllSeries
    at_ms: int  # Unix
    starts: Numbers  # of all that outlive the process
    began_ms: int  # when this process began, Unix: of all others that count
    exemplars: ExemplarsBySeries = field(default_factory=dict)  # of series that may not be shown
    births: int = 0  # how often series appeared, until now
    born: Numbers = field(default_factory=dict)  # of what came after the baseline: with which birth

    def start_ms(self, metric: c.Metric, labels: Labels) -> int:
        """Return the start of a counter or histogram, Unix ms."""
        return self.starts.get(metric, {}).get(labels, self.began_ms)

    def for_viewer(self, mark: int | None) -> Snapshot:
        """
        Return the snapshot for a viewer that adds up increases: new series are at 0 in it.

        ``increase()`` does not see what a series holds when it first appears.

        Args:
            mark: The births that the viewer has been shown; None: it sees all series as they are.
        """
        if mark is None or mark >= self.births:
            return self
        hidden = {
            metric: unborn
            for metric, born in self.born.items()
            if (unborn := {key for key in self.series[metric] if born.get(key, 0) > mark})
        }
        return replace(
            self,
            series={**self.series, **{m: _at_zero(m, self.series[m], hidden[m]) for m in hidden}},
            exemplars={
                metric: {key: one for key, one in of.items() if key not in hidden.get(metric, ())}
                for metric, of in self.exemplars.items()
            },
        )


def _at_zero(
    metric: c.Metric, series: Mapping[Labels, Value], some: set[Labels]
) -> dict[Labels, Value]:
    nothing = zero_of(metric)
    return {labels: nothing if labels in some else value for labels, value in series.items()}
