"""
Series: a metric with one set of label values, what it holds, and how values add up.

Pure: knows no event, no disk and no format.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from opencode_exporter import catalog as c

Labels = tuple[str, ...]


class Histogram(msgspec.Struct, gc=False, array_like=True):
    """
    Observations by bucket.

    Attributes:
        counts: How many lie in each bucket; those beyond the last edge stand at the end.
        total: The sum of what was observed, in the metric's scale.
    """

    counts: list[int]
    total: int = 0

    @classmethod
    def empty(cls, edges: int) -> Histogram:
        """Return a histogram without observations, of so many edges."""
        return cls([0] * (edges + 1))

    @classmethod
    def of(cls, values: Iterable[int], edges: Sequence[int]) -> Histogram:
        """Return a histogram of values; both are in the metric's scale."""
        made = cls.empty(len(edges))
        counts, total = made.counts, 0
        for value in values:
            counts[bisect_left(edges, value)] += 1
            total += value
        made.total = total
        return made

    def observe(self, value: int, edges: Sequence[int]) -> None:
        """Add an observation; both are in the metric's scale."""
        self.counts[bisect_left(edges, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many observations it holds."""
        return sum(self.counts)

    def copy(self) -> Histogram:
        """Return one that may be changed without changing this one."""
        return Histogram(list(self.counts), self.total)

    def plus(self, other: Histogram) -> Histogram:
        """Return the observations of both."""
        counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        return Histogram(counts, self.total + other.total)

    def minus(self, other: Histogram) -> Histogram:
        """Return the observations of this one without those of another."""
        counts = [a - b for a, b in zip(self.counts, other.counts, strict=True)]
        return Histogram(counts, self.total - other.total)

    def coarse(self, edges: int) -> Histogram:
        """Return the same observations with the first edges only."""
        return Histogram([*self.counts[:edges], sum(self.counts[edges:])], self.total)

    def without_negatives(self) -> Histogram:
        """Return it with 0 in place of what a subtraction made negative."""
        return Histogram([max(0, count) for count in self.counts], max(0, self.total))

    def __bool__(self) -> bool:
        """Return whether it holds anything."""
        return any(self.counts) or bool(self.total)


Value: TypeAlias = int | Histogram
"""What a series holds: a number in the metric's scale, or a histogram."""


class Delta(NamedTuple):
    """What a batch adds to one series."""

    metric: c.Metric
    labels: Labels
    value: Value
    events: int  # how many observations it holds
    cut: bool = False  # a label gave way to _other


def edges_of(metric: c.Metric) -> tuple[int, ...]:
    """Return the edges of a histogram's buckets in the metric's scale."""
    return tuple(round(edge * metric.scale) for edge in metric.buckets)


def zero_of(metric: c.Metric) -> Value:
    """Return what a series of a metric holds before anything has happened."""
    return Histogram.empty(len(metric.buckets)) if metric.kind == "histogram" else 0


def number_of(metric: c.Metric, value: Value) -> int:
    """Return the number that a series holds; TypeError if it is a histogram."""
    if isinstance(value, Histogram):
        raise TypeError(f"{metric.name} holds a histogram where a number is wanted")
    return value


def histogram_of(metric: c.Metric, value: Value) -> Histogram:
    """Return the histogram that a series holds; TypeError if it is a number."""
    if isinstance(value, int):
        raise TypeError(f"{metric.name} holds a number where a histogram is wanted")
    return value


def merge(metric: c.Metric, old: Value | None, new: Value) -> Value:
    """Return the value of a series after a delta, as the metric's ``merge`` says."""
    if isinstance(new, Histogram):
        return new.copy() if old is None else histogram_of(metric, old).plus(new)
    if old is None:
        return new
    before = number_of(metric, old)
    if metric.merge == "min":
        return min(before, new)
    return max(before, new) if metric.merge == "max" else before + new


def difference(metric: c.Metric, value: Value, less: Value) -> Value:
    """Return what a series held before some of it was added."""
    if isinstance(value, Histogram):
        return value.minus(histogram_of(metric, less))
    return value - number_of(metric, less)


def not_negative(value: Value) -> Value:
    """Return a value with 0 in place of what a subtraction made negative."""
    return value.without_negatives() if isinstance(value, Histogram) else max(0, value)
