"""
Tally: sums by metric and labels, as they are named in the source.

Pure: no disk, no clock.  Labels become those that are shown only when the sums are
folded, so that equal ones are looked up once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from opencode_exporter import catalog as c
from opencode_exporter.counting.labels import OPEN_LABELS, Slots, clean
from opencode_exporter.counting.series import (
    Delta,
    Histogram,
    Value,
    edges_of,
    histogram_of,
    merge,
    number_of,
    zero_of,
)
from opencode_exporter.events import OVERFLOW, UNKNOWN, StepCall

_DOUBT: Final = "\0"
_SLOT_OF: Final = {"from_skill": "skill", "to_skill": "skill"}
"""Labels that share the slots of another one."""
_EDGES: Final = {metric.name: edges_of(metric) for metric in c.METRICS}

TallyKey = tuple[str, tuple[str, ...]]
"""A metric's name, and labels as the source names them."""


def tool_of(call: StepCall) -> str:
    """Return a tool's name for a tally, marked as in doubt unless the source vouches for it."""
    return call.tool if call.vouched else _DOUBT + call.tool


class Tally:
    """Counts and observations that wait to be folded."""

    def __init__(self) -> None:
        self.values: dict[TallyKey, Value] = {}

    def add(self, metric: c.Metric, *labels: str, value: int = 1) -> None:
        """Add to a counter, in the metric's scale."""
        key = (metric.name, labels)
        self.values[key] = number_of(metric, self.values.get(key, 0)) + value

    def observe(self, metric: c.Metric, value: int, *labels: str) -> None:
        """Add an observation to a histogram, in the metric's scale."""
        key = (metric.name, labels)
        if key not in self.values:
            self.values[key] = zero_of(metric)
        histogram_of(metric, self.values[key]).observe(value, _EDGES[metric.name])

    def observe_all(self, metric: c.Metric, values: Iterable[int], *labels: str) -> None:
        """Add observations to a histogram, in the metric's scale; negative ones are none."""
        measured = [value for value in values if value >= 0]
        if measured:
            more = Histogram.of(measured, _EDGES[metric.name])
            self.absorb([((metric.name, labels), more)])

    def absorb(self, sums: Iterable[tuple[TallyKey, Value]]) -> None:
        """Add the sums of another tally."""
        for key, value in sums:
            self.values[key] = merge(c.BY_NAME[key[0]], self.values.get(key), value)

    def fold(self, slots: Slots, is_known: Callable[[str, str], bool]) -> Iterator[Delta]:
        """
        Yield what the sums add to each series.

        Args:
            slots: Which names may be labels; new ones take their slots here.
            is_known: Whether a name in doubt is real, by label and name.
        """
        shown = _Shown(slots, is_known)
        for (name, raw), value in self.values.items():
            metric = c.BY_NAME[name]
            labels = shown.labels(metric, raw)
            events = value.count if isinstance(value, Histogram) else value
            cut = OVERFLOW in labels and OVERFLOW not in raw
            yield Delta(metric, labels, value, events, cut)


class _Nowhere(Tally):
    """Counts nothing: of what does not count only the state of its conversation moves on."""

    def add(self, metric: c.Metric, *labels: str, value: int = 1) -> None:
        """Count nothing."""

    def observe(self, metric: c.Metric, value: int, *labels: str) -> None:
        """Count nothing."""

    def observe_all(self, metric: c.Metric, values: Iterable[int], *labels: str) -> None:
        """Count nothing."""


NOWHERE: Final = _Nowhere()
"""A tally for what does not count."""


class _Shown:
    """Labels as they are shown; each is looked up once."""

    def __init__(self, slots: Slots, is_known: Callable[[str, str], bool]) -> None:
        self._slots = slots
        self._is_known = is_known
        self._known: dict[tuple[str, str], str] = {}

    def labels(self, metric: c.Metric, raw: tuple[str, ...]) -> tuple[str, ...]:
        """Return what a metric shows for labels of the source."""
        return tuple(
            self._value(label, value) if label in OPEN_LABELS else value
            for label, value in zip(metric.labels, raw, strict=True)
        )

    def _value(self, label: str, name: str) -> str:
        key = (_SLOT_OF.get(label, label), name)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._look_up(*key)
        return found

    def _look_up(self, label: str, name: str) -> str:
        real = not name.startswith(_DOUBT)
        name = clean(name.removeprefix(_DOUBT))
        if real or self._slots.holds(label, name) or self._is_known(label, name):
            return self._slots.take(label, name)
        return UNKNOWN
