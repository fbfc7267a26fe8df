"""
What a history with times owes the page that goes on from it.

It ends with what the exporter showed first, and nothing in it falls on the way.
"""

from __future__ import annotations

from collections.abc import Iterator

from commands.backfilling import Past
from harness.exporters import Exposed, Labels
from opencode_exporter import catalog as c

COUNTING = tuple(
    metric for metric in c.ON_PAGE if metric.kind != "gauge" and metric.waits_for_baseline
)


def counted(page: Exposed) -> Iterator[tuple[str, Labels, float]]:
    """Yield name, labels and value of what counts on a page."""
    for metric in COUNTING:
        ends = ("_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",)
        for name in (metric.name + end for end in ends):
            for labels, value in page.samples.get(name, {}).items():
                yield name, labels, value


def assert_joins(past: Past, page: Exposed) -> None:
    """Assert that the last samples are what a page shows; what is not there is 0."""
    last = past.last()
    shown = {(name, labels): value for name, labels, value in counted(page)}
    assert {key: last.get(key[0], {}).get(key[1], 0.0) for key in shown} == shown
    known = {(name, labels) for name, series in last.items() for labels in series}
    assert known <= shown.keys()


def assert_never_falls(past: Past) -> None:
    """Assert that no series goes down, and that its samples are in order."""
    for name, series in past.series.items():
        for labels, samples in series.items():
            times, values = zip(*samples, strict=True)
            assert list(values) == sorted(values), (name, labels)
            assert list(times) == sorted(set(times)), (name, labels)
