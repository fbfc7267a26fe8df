"""
Sums: what some events come to, before labels are made of it.

Pure; knows nothing of what has been counted before.
"""

from __future__ import annotations

from collections.abc import Iterator

from opencode_exporter import catalog as c
from opencode_exporter.counting.calls import CallSums
from opencode_exporter.counting.real_names import RealNames
from opencode_exporter.counting.series import Delta, Labels
from opencode_exporter.counting.tally import Tally
from opencode_exporter.events import Event


class Sums:
    """
    The sums of events that are counted together.

    Attributes:
        calls: Of invocations and skill loads.
        tally: Of sessions, turns, skill runs, steps and edits.
    """

    def __init__(self) -> None:
        self.calls = CallSums()
        self.tally = Tally()
        self._deltas: list[Delta] = []

    def at(self, ms: int) -> Sums:  # noqa: ARG002  # here all times are together
        """Return the sums of what happened at a time, Unix ms."""
        return self

    def of(self, event: Event) -> Sums:  # noqa: ARG002
        """Return the sums of what an event makes count: those of its time."""
        return self

    def count(self, metric: c.Metric, labels: Labels, value: int = 1, *, cut: bool = False) -> None:
        """Add to a series by the labels that it shows; ``cut``: one of them gave way."""
        self._deltas.append(Delta(metric, labels, value, value, cut))

    def deltas(self, names: RealNames) -> Iterator[Delta]:
        """Yield what the sums add to each series; new names take their slots here."""
        yield from self._deltas
        yield from self.calls.fold(names.slots, names.knows)
        yield from self.tally.fold(names.slots, names.knows)
