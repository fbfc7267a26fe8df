"""
Exemplars: by bucket of a duration histogram, the trace of its latest invocation.

In memory only.  Knows neither pages nor how a trace is sent.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final, NamedTuple

from opencode_exporter import catalog as c
from opencode_exporter.counting.calls import EDGES_MS
from opencode_exporter.counting.series import Labels

_BUCKETS: Final = len(EDGES_MS) + 1


class Exemplar(NamedTuple):
    """An invocation in a bucket."""

    trace_id: str
    span_id: str
    duration_ms: int
    ended_ms: int  # Unix


OfSeries = tuple[Exemplar | None, ...]
"""The exemplars of a series, one a bucket."""
ExemplarsBySeries = Mapping[c.Metric, Mapping[Labels, OfSeries]]


class Exemplars:
    """The latest exemplars; one thread notes them, any may read."""

    def __init__(self) -> None:
        self._latest: dict[c.Metric, dict[Labels, OfSeries]] = {
            c.TOOL_DURATION: {},
            c.SKILL_DURATION: {},
        }

    def note(self, metric: c.Metric, labels: Labels, one: Exemplar) -> None:
        """Note the latest invocation of a series."""
        of_metric = self._latest[metric]
        old = of_metric.get(labels, (None,) * _BUCKETS)
        at = bisect_left(EDGES_MS, one.duration_ms)
        of_metric[labels] = (*old[:at], one, *old[at + 1 :])

    def latest(self) -> ExemplarsBySeries:
        """Return the exemplars of now."""
        return {metric: dict(series) for metric, series in self._latest.items()}
