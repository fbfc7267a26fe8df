"""
Totals: what deltas make of the series that there are, and since when these count.

Pure.  Guarantees that no counter falls, that a start stays once it has been shown, and
that no metric has more series than its limit; what is beyond is counted as overflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from opencode_exporter import catalog as c
from opencode_exporter.counting.labels import within_limit
from opencode_exporter.counting.series import Delta, Labels, Value, merge
from opencode_exporter.errors import LedgerError

Series = Mapping[str, Mapping[Labels, Value]]
"""Values by metric name and labels."""
Numbers = Mapping[str, Mapping[Labels, int]]
"""Something of series by metric name and labels: their starts in Unix ms, or births."""

_OF_ONE_NAME: Final = (("tool",), ("skill",))
KNOWN_BEFOREHAND: Final = tuple(
    metric
    for metric in c.METRICS
    if metric in (c.TOOL_INVOCATIONS, c.SKILL_INVOCATIONS, c.COMPACTIONS)
    or (metric.kind == "counter" and metric.labels in _OF_ONE_NAME)
)
"""Metrics that have series, at 0, of names that are known before anything is counted."""
_SINCE_BASELINE: Final = frozenset(
    # That a session has been silent for an hour is no event: nobody knows when it was seen.
    metric.name
    for metric in (*KNOWN_BEFOREHAND, c.SESSION_INVOCATIONS)
)


class Times(NamedTuple):
    """Times from which the starts of series follow, Unix ms."""

    first: int  # of what counts in the batch, the event that was first
    baseline: int  # 0 while the history is read
    began: int  # when the ledger began


def changed_by(
    deltas: Iterable[Delta], series: Series, limit: int
) -> dict[str, dict[Labels, Value]]:
    """
    Return the new values of the series that some deltas change.

    Args:
        deltas: What to add.
        series: All values until now.
        limit: The most series that one metric may have.

    Raises:
        LedgerError: A delta is negative.
    """
    changed: dict[str, dict[Labels, Value]] = {}
    overflows: dict[str, int] = {}
    for delta in deltas:
        metric, labels = delta.metric, delta.labels
        if isinstance(delta.value, int) and delta.value < 0:
            # Bad rows were set aside in decode, so this is our own bug.  A falling
            # counter reads as a restart and rate() invents traffic: stop instead.
            raise LedgerError(
                f"negative delta for {metric.name}", hint="please report it with the version"
            )
        old = series.get(metric.name, {})
        new = changed.setdefault(metric.name, {})
        if labels not in new and labels not in old:
            labels = within_limit(metric, labels, len(old.keys() | new.keys()), limit)
        if delta.cut or labels != delta.labels:
            overflows[metric.name] = overflows.get(metric.name, 0) + delta.events
        new[labels] = merge(metric, new.get(labels, old.get(labels)), delta.value)
    known = series.get(c.LABEL_OVERFLOW.name, {})
    for name, events in overflows.items():
        into = changed.setdefault(c.LABEL_OVERFLOW.name, {})
        into[(name,)] = merge(c.LABEL_OVERFLOW, known.get((name,)), events)
    return changed


def born_of(
    changed: Series, series: Series, born: Numbers, birth: int
) -> dict[str, dict[Labels, int]]:
    """
    Return the births of the series that a batch changes; those of the history have none.

    Args:
        changed: The series.
        series: All series until now.
        born: Their births, where they have one.
        birth: That of the series that are new.
    """
    births: dict[str, dict[Labels, int]] = {}
    for name, values in changed.items():
        there, known = series.get(name, {}), born.get(name, {})
        of_all = {labels: known.get(labels, 0) if labels in there else birth for labels in values}
        births[name] = {labels: number for labels, number in of_all.items() if number}
    return births


def starts_of(changed: Series, known: Numbers, times: Times) -> dict[str, dict[Labels, int]]:
    """
    Return the starts of the series that a batch changes.

    - Metrics of the exporter itself count what it did: all since the ledger began.
    - Others count since the first event of the batch in which the series appears, which
      is the first that it counts or one before that.  While the history is read nothing
      is shown, and the start moves back with each batch that has older events.
    - A series that appears after the baseline may have been shown at 0 before, where its
      metric shows names that are known beforehand: there it starts at the baseline.  So do
      sessions by their invocations: that one is over is known by its silence.

    A start does not change any more after the baseline.  Older events that come in later,
    from a backup or a database that could not be read before, are counted with it.

    Args:
        changed: The series.
        known: The starts of all series until now.
        times: Of the batch.
    """
    return {
        name: {
            labels: _start(c.BY_NAME[name], known.get(name, {}).get(labels), times)
            for labels in values
        }
        for name, values in changed.items()
    }


def _start(metric: c.Metric, known: int | None, times: Times) -> int:
    if not metric.waits_for_baseline:
        return times.began
    if not times.baseline:
        return times.first if known is None else min(known, times.first)
    if known is not None:
        return known
    return times.baseline if metric.name in _SINCE_BASELINE else times.first
