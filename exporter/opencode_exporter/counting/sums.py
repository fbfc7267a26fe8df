"""
Sums: what some events come to, before labels are made of it; by span of time where asked.

Pure; knows nothing of what has been counted before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from opencode_exporter import catalog as c
from opencode_exporter.counting.calls import CallSums
from opencode_exporter.counting.real_names import RealNames
from opencode_exporter.counting.series import Delta, Labels
from opencode_exporter.counting.tally import Tally
from opencode_exporter.events import Event, Invocation, Rejection, Step, UserSkillLoad

Span = int | None
"""A span of time whose sums are kept apart; None for all times that are in no such one."""
DeltasBySpan = dict[Span, list[Delta]]
"""What a batch adds to each series, by when that happened."""


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

    def count(self, metric: c.Metric, labels: Labels, value: int = 1, *, cut: bool = False) -> None:
        """Add to a series by the labels that it shows; ``cut``: one of them gave way."""
        self._deltas.append(Delta(metric, labels, value, value, cut))

    def deltas(self, names: RealNames) -> Iterator[Delta]:
        """Yield what the sums add to each series; new names take their slots here."""
        yield from self._deltas
        yield from self.calls.fold(names.slots, names.knows)
        yield from self.tally.fold(names.slots, names.knows)


class SumsBySpan:
    """
    The sums of a batch, by the span of time in which it happened.

    Args:
        span_of: Tells the span of a time, Unix ms; without it no times are told apart.
        abandon_after_ms: How long something open may stay without a change.

    Attributes:
        timeless: The sums of what is in no span.
    """

    def __init__(self, span_of: Callable[[int], Span] | None, abandon_after_ms: int) -> None:
        self._span_of = span_of
        self._abandon_after = abandon_after_ms
        self._spans: dict[Span, Sums] = {}
        self.timeless = Sums()

    def at(self, ms: int) -> Sums:
        """Return the sums of what happened at a time, Unix ms."""
        span = self._span_of(ms) if self._span_of is not None else None
        if span is None:
            return self.timeless
        sums = self._spans.get(span)
        if sums is None:
            sums = self._spans[span] = Sums()
        return sums

    def of(self, event: Event) -> Sums:
        """Return the sums of what an event makes count."""
        if self._span_of is None:
            return self.timeless
        return self.at(_seen_at(event, self._abandon_after))

    def deltas(self, names: RealNames) -> DeltasBySpan:
        """Return what the batch adds to each series; new names take their slots here."""
        of_spans = {span: [*sums.deltas(names)] for span, sums in self._spans.items()}
        return {**of_spans, None: [*self.timeless.deltas(names)]}


def _seen_at(event: Event, abandon_after_ms: int) -> int:
    """Return when an event could first be seen, Unix ms; 0 for one without a time."""
    if isinstance(event, Invocation):
        began = event.started or event.message_created
        return event.ended or began + abandon_after_ms
    if isinstance(event, UserSkillLoad):
        return event.at
    if isinstance(event, Step):
        return event.completed or event.created
    return 0 if isinstance(event, Rejection) else event.created
