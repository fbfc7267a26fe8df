"""
Totals: what deltas make of the series that there are.

Pure.  Guarantees that no counter falls and that no metric has more series than
its limit; what is beyond is counted as overflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opencode_exporter import catalog as c
from opencode_exporter.aggregate import Delta, Labels, Value, merge
from opencode_exporter.errors import LedgerError
from opencode_exporter.labels import within_limit

Series = Mapping[str, Mapping[Labels, Value]]
"""Values by metric name and labels."""


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
