"""
The document: a timeline as OpenMetrics with times.

Family by family and series by series, as the format wants it, so that no more than
one series is in memory.  Each begins one step before something was counted in it,
and has a sample at every step up to the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import IO

from opencode_exporter import catalog as c
from opencode_exporter.commands.backfill.history import History
from opencode_exporter.counting.series import (
    Labels,
    Value,
    difference,
    merge,
    not_negative,
    zero_of,
)
from opencode_exporter.counting.totals import KNOWN_BEFOREHAND
from opencode_exporter.expose.prometheus import head_of, names_of, values_of
from opencode_exporter.expose.shown import at_baseline
from opencode_exporter.expose.snapshot import AllSeries

Progress = Callable[[float, int], None]
"""Told of the share written (0 to 1) and the samples so far."""


@dataclass
class Written:
    """What was written; times are Unix ms."""

    first_ms: int
    last_ms: int
    series: int = 0  # as Prometheus counts: each bucket is one
    samples: int = 0
    metrics: int = 0  # series as the exporter counts: a histogram is one
    too_much: int = 0  # of these, in which more was found than had counted
    too_little: int = 0  # in which less was found


def write(
    history: History, labels: Mapping[str, str], out: IO[bytes], progress: Progress
) -> Written:
    """
    Write the history, and return what it came to.

    Args:
        history: What was read.
        labels: Those that every series gets, as a scrape would add them.
        out: Where to.
        progress: Told from time to time.
    """
    shown = _shown(history)
    pen = _Pen(history, out)
    done, all_series = 0, sum(len(series) for series in shown.values())
    for metric, series in shown.items():
        extended = replace(metric, labels=(*labels, *metric.labels))
        out.write(head_of(extended))
        for own, total in sorted(series.items()):
            pen.write(metric, own, names_of(extended, (*labels.values(), *own)), total)
            done += 1
            progress(done / all_series, pen.written.samples)
    out.write(b"# EOF\n")
    return pen.written


def _shown(history: History) -> AllSeries:
    """Return what each series came to: at the baseline, or in all where nothing counted then."""
    baseline, settings = history.baseline, history.settings
    names: dict[str, list[str]] = {"tool": [], "skill": []}
    for label, name in baseline.slots:
        names.setdefault(label, []).append(name)
    totals, projects = baseline.totals, settings.project_names
    if baseline.skips:
        totals, projects = history.timeline.by_metric(), "name"  # they are named already
    found = at_baseline(totals, names, projects, baseline.salt, settings.series_limit)
    return {
        metric: dict(series)
        for metric in c.ON_PAGE
        if metric in found and (series := settings.filters.shown(metric.labels, found[metric]))
    }


class _Pen:
    """Writes the samples of one series after the other."""

    def __init__(self, history: History, out: IO[bytes]) -> None:
        self._timeline = history.timeline
        self._out = out
        period = history.period
        self._step_s = period.step_s
        self._last = period.last
        # Without any event there is nothing but what was deleted: two samples of that.
        self._begin = (history.timeline.first(self._last) or self._last) - 1
        # Where the history did not count, counting began at 0: Prometheus sees a restart.
        self._ends_at_zero = history.baseline.skips
        self._end_ms = period.end_ms
        last_ms = period.end_ms + self._ends_at_zero
        self.written = Written(self._begin * self._step_s * 1000, last_ms)

    def write(self, metric: c.Metric, labels: Labels, names: list[bytes], total: Value) -> None:
        """Write a series that came to a total."""
        steps = self._steps(metric, labels, total)
        begin, value = next(steps)
        if metric in KNOWN_BEFOREHAND and total:
            begin = self._begin
        samples = self._last - begin + 1
        for end, after in steps:
            self._write(metric, names, value, self._times(begin, end))
            begin, value = end, after
        self._write(metric, names, value, self._times(begin, self._last))
        self._write(metric, names, value, [_time(self._end_ms)])
        if self._ends_at_zero:
            samples += 1
            self._write(metric, names, zero_of(metric), [_time(self._end_ms + 1)])
        self.written.metrics += 1
        self.written.series += len(names)
        self.written.samples += samples * len(names)

    def _times(self, begin: int, end: int) -> Iterator[bytes]:
        """Yield the ends of the lines of samples, from one number to before another."""
        return (b" %d\n" % (place * self._step_s) for place in range(begin, end))

    def _steps(self, metric: c.Metric, labels: Labels, total: Value) -> Iterator[tuple[int, Value]]:
        """
        Yield where a series begins and changes, and its values from there on.

        What the history does not show any more was there before; what it shows now and
        did not at the baseline, was not.
        """
        value, is_first = total, True
        series = metric.name, labels
        if (seen := self._timeline.totals.get(series)) is not None:
            value = difference(metric, total, seen)
        self.written.too_much += value != not_negative(value)
        self.written.too_little += bool(not_negative(value))
        for place, added in self._timeline.added(series, self._last):
            if is_first:
                yield place - 1, not_negative(value)
            value, is_first = merge(metric, value, added), False
            yield place, not_negative(value)
        if is_first:
            yield (self._begin if total else self._last - 1), not_negative(value)

    def _write(
        self, metric: c.Metric, names: list[bytes], value: Value, times: Iterable[bytes]
    ) -> None:
        """Write samples of the same value."""
        values = values_of(metric, value)
        pieces = [b"%s %s" % pair for pair in zip(names, values, strict=True)]
        self._out.writelines(time.join([*pieces, b""]) for time in times)


def _time(ms: int) -> bytes:
    """Return the end of a sample's line: a time of Unix ms in seconds."""
    return b" %d.%03d\n" % divmod(ms, 1000)
