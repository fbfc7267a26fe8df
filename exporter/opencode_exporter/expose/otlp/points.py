"""
Points: a snapshot as the data points of OpenTelemetry.

Pure.  Totals are cumulative, and say since when they count; times are the snapshot's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from opencode_exporter import __version__
from opencode_exporter import catalog as c
from opencode_exporter.counting.series import Labels, Value, histogram_of, number_of
from opencode_exporter.expose.snapshot import Snapshot

_SCOPE: Final = InstrumentationScope("opencode_exporter", __version__)
_NS_PER_MS: Final = 1_000_000
_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE


def metrics_data(snapshot: Snapshot, resource: Resource, *, gen_ai: bool) -> MetricsData:
    """
    Return every series of a snapshot as a data point.

    Args:
        snapshot: What is shown.
        resource: Whose metrics these are.
        gen_ai: Whether the metrics of the GenAI conventions are among them.
    """
    metrics = [
        _metric(metric, series, snapshot)
        for metric in c.METRICS
        if (series := snapshot.series.get(metric)) and (gen_ai or not metric.only_otlp)
    ]
    of_scope = ScopeMetrics(_SCOPE, metrics, schema_url="")
    return MetricsData([ResourceMetrics(resource, [of_scope], schema_url="")])


def _metric(metric: c.Metric, series: Mapping[Labels, Value], snapshot: Snapshot) -> Metric:
    data: Sum | Gauge | Histogram
    if metric.kind == "histogram":
        points = [_histogram(metric, labels, value, snapshot) for labels, value in series.items()]
        data = Histogram(points, _CUMULATIVE)
    else:
        numbers = [_number(metric, labels, value, snapshot) for labels, value in series.items()]
        is_counter = metric.kind == "counter"
        data = Sum(numbers, _CUMULATIVE, is_monotonic=True) if is_counter else Gauge(numbers)
    return Metric(metric.otlp, metric.help, metric.otlp_unit, data)


def _number(metric: c.Metric, labels: Labels, value: Value, snapshot: Snapshot) -> NumberDataPoint:
    number = number_of(metric, value)
    start_ms = snapshot.start_ms(metric, labels) if metric.kind == "counter" else 0
    return NumberDataPoint(
        attributes=_attributes(metric, labels),
        start_time_unix_nano=start_ms * _NS_PER_MS,
        time_unix_nano=_time_ns(start_ms, snapshot),
        value=number / metric.scale if metric.scale != 1 else number,
    )


def _histogram(
    metric: c.Metric, labels: Labels, value: Value, snapshot: Snapshot
) -> HistogramDataPoint:
    held = histogram_of(metric, value)
    start_ms = snapshot.start_ms(metric, labels)
    return HistogramDataPoint(
        attributes=_attributes(metric, labels),
        start_time_unix_nano=start_ms * _NS_PER_MS,
        time_unix_nano=_time_ns(start_ms, snapshot),
        count=held.count,
        sum=held.total / metric.scale,
        bucket_counts=held.counts,
        explicit_bounds=metric.buckets,
        min=None,  # type: ignore[arg-type]  # optional in OTLP, and nobody kept it
        max=None,  # type: ignore[arg-type]
    )


def _time_ns(start_ms: int, snapshot: Snapshot) -> int:
    # A clock may have been set back, and a point that ends before it begins is refused;
    # the start has to stay, as another one reads as a reset.
    return max(start_ms, snapshot.at_ms) * _NS_PER_MS


def _attributes(metric: c.Metric, labels: Labels) -> dict[str, str]:
    """Return labels by their OTLP names; empty ones are left out."""
    return {name: value for name, value in zip(metric.attributes, labels, strict=True) if value}
