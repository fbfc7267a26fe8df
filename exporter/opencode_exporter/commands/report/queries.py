"""
Queries of a snapshot: sums of its series by label, quantiles of its histograms.

Knows the kinds of metrics, but no single metric.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from opencode_exporter.catalog import Metric
from opencode_exporter.commands.report.document import Calls, Durations, Outcomes, Tokens
from opencode_exporter.counting.series import Histogram, histogram_of, number_of
from opencode_exporter.events import (
    ABANDONED,
    ABORTED,
    COMPLETED,
    DENIED,
    ERROR,
    FAILED,
    INTERRUPTED,
    SUCCEEDED,
)
from opencode_exporter.expose.snapshot import AllSeries

Key = tuple[str, ...]
_DIGITS: Final = 6  # a float's noise is nothing to print
_LATEST_MS: Final = 253_370_764_800_000  # 9999-01-01: a source may say any time


class Sums:
    """The series of a snapshot, summed by some of their labels."""

    def __init__(self, snapshot: AllSeries) -> None:
        self._snapshot = snapshot

    def by(self, metric: Metric, *labels: str) -> Counter[Key]:
        """Return sums by labels, in the ledger's integers; sums of 0 are left out."""
        sums: Counter[Key] = Counter()
        at = [metric.labels.index(label) for label in labels]
        for key, value in self._snapshot.get(metric, {}).items():
            sums[tuple(key[i] for i in at)] += number_of(metric, value)
        return +sums

    def inner(self, metric: Metric, outer: tuple[str, ...], inner: str) -> dict[Key, Counter[str]]:
        """Return sums by the outer labels, each split by the inner one."""
        nested: dict[Key, Counter[str]] = {}
        for (*key, value), count in self.by(metric, *outer, inner).items():
            nested.setdefault(tuple(key), Counter())[value] += count
        return nested

    def histograms(self, metric: Metric, *labels: str) -> dict[Key, Histogram]:
        """Return histograms, summed by labels."""
        sums: dict[Key, Histogram] = {}
        at = [metric.labels.index(label) for label in labels]
        for labelled, value in self._snapshot.get(metric, {}).items():
            key = tuple(labelled[i] for i in at)
            held = histogram_of(metric, value)
            sums[key] = sums[key].plus(held) if key in sums else held
        return sums

    def durations(self, metric: Metric, *labels: str) -> dict[Key, Durations]:
        """Return count, mean and quantiles of a metric's histograms, by labels."""
        found = self.histograms(metric, *labels)
        return {key: durations(metric, held) for key, held in found.items()}

    def total(self, metric: Metric) -> int:
        """Return the sum over all series, in the ledger's integers."""
        return self.by(metric)[()]


def durations(metric: Metric, held: Histogram | None) -> Durations:
    """Return count, mean and quantiles of a histogram; `NO_DURATIONS` for an empty one."""
    if held is None or not held.count:
        return NO_DURATIONS
    middle, high = (quantile(q, metric.buckets, held.counts) for q in (0.5, 0.95))
    return Durations(
        count=held.count,
        mean_seconds=round(held.total / metric.scale / held.count, _DIGITS),
        p50_seconds=None if middle is None else round(middle, _DIGITS),
        p95_seconds=None if high is None else round(high, _DIGITS),
    )


def quantile(q: float, edges: Sequence[float], counts: Sequence[int]) -> float | None:
    """
    Return a quantile, or None where nothing was observed.

    Observations are taken to lie evenly within their bucket; of those beyond the
    last edge no more is known than that edge.  It never lies outside of its bucket.

    Args:
        q: Above 0, at most 1.
        edges: Upper edges of the buckets, ascending, above 0.
        counts: Observations in each bucket (not cumulative), those beyond the last edge after.
    """
    rank = q * sum(counts)
    if not rank:
        return None
    below, start = 0, 0.0
    for edge, count in zip(edges, counts, strict=False):
        if below + count >= rank:
            # Rounding alone can carry it beyond its bucket: 0.01 * 57 / 57 is above 0.01.
            return min(max(start + (edge - start) * (rank - below) / count, start), edge)
        below += count
        start = edge
    return edges[-1]


NO_DURATIONS: Final = Durations(0, None, None, None)


def calls(counts: Mapping[str, int]) -> Calls:
    """Return invocations from their counts by status."""
    known = Counter(counts)
    return Calls(
        total=known.total(),
        completed=known[COMPLETED],
        error=known[ERROR],
        denied=known[DENIED],
        aborted=known[ABORTED],
        abandoned=known[ABANDONED],
        success_rate=_rate(known[COMPLETED], known[ERROR]),
    )


def outcomes(counts: Mapping[str, int]) -> Outcomes:
    """Return turns or runs from their counts by outcome."""
    known = Counter(counts)
    return Outcomes(
        total=known.total(),
        succeeded=known[SUCCEEDED],
        failed=known[FAILED],
        interrupted=known[INTERRUPTED],
        abandoned=known[ABANDONED],
        success_rate=_rate(known[SUCCEEDED], known[FAILED]),
    )


def _rate(good: int, bad: int) -> float | None:
    return round(good / (good + bad), _DIGITS) if good + bad else None


def tokens(counts: Mapping[str, int]) -> Tokens:
    """Return tokens from their counts by type."""
    known = Counter(counts)
    return Tokens(
        total=known.total(),
        input=known["input"],
        output=known["output"],
        reasoning=known["reasoning"],
        cache_read=known["cache_read"],
        cache_write=known["cache_write"],
    )


def dollars(metric: Metric, value: int) -> float:
    """Return US dollars of the ledger's integers."""
    return round(value / metric.scale, _DIGITS)


def when(ms: int) -> str | None:
    """Return a time of the ledger, ms, as text; None for 0 and for years after 9998."""
    if not 0 < ms < _LATEST_MS:
        return None
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
