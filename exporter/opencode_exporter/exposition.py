"""
Exposition: a snapshot as Prometheus text or OpenMetrics.

Both formats and their negotiation are prometheus-client's; this turns series
into its families.  Reads nothing but the snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from opencode_exporter import catalog as c
from opencode_exporter.aggregate import Labels, Value
from opencode_exporter.snapshot import Snapshot


class Rendered(NamedTuple):
    """A page of metrics."""

    body: bytes
    content_type: str


class _Families(Collector):
    """A snapshot as the client library's families, in the catalogue's order."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        for metric in c.METRICS:
            series = self._snapshot.get(metric)
            if series:
                yield _family(metric, sorted(series.items()))


def _family(metric: c.Metric, series: list[tuple[Labels, Value]]) -> Metric:
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.family, metric.help, labels=metric.labels)
        for labels, cells in series:
            if isinstance(cells, list):
                buckets, total = _cumulated(metric, cells)
                histogram.add_metric(labels, buckets, total)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.family, metric.help, labels=metric.labels)
    for labels, value in series:
        if isinstance(value, int):
            family.add_metric(labels, value / metric.scale if metric.scale != 1 else value)
    return family


def _cumulated(metric: c.Metric, cells: list[int]) -> tuple[list[tuple[str, float]], float]:
    """Return the cumulated buckets and the sum in the metric's unit."""
    buckets, count = [], 0
    for edge, cell in zip((*metric.buckets, float("inf")), cells, strict=False):
        count += cell
        buckets.append((str(floatToGoString(edge)), float(count)))  # type: ignore[no-untyped-call]
    return buckets, cells[-1] / metric.scale


def _process_registry() -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


_PROCESS = _process_registry()


def render(snapshot: Snapshot, accept: str = "", *, process: bool = True) -> Rendered:
    """
    Return the page for a scrape.

    Args:
        snapshot: The series.
        accept: The request's Accept header: text, or OpenMetrics 1.0.
        process: Whether ``process_*`` and ``python_info`` are on the page.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(snapshot))
    if process:
        registry.register(_PROCESS)
    encode, content_type = choose_encoder(accept)
    return Rendered(encode(registry), content_type)
