"""
What Prometheus makes of OTLP: the published rules, applied to the protocol's messages.

The answer has the form of a page that was scraped, so that the two can be compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint, Metric

from harness.exporters import Exposed, Labels

_UNITS: Final = {"s": "seconds", "By": "bytes", "1": "ratio"}
"""How units are written out that metrics of ours have; others stay as they are."""
_ANNOTATION: Final = re.compile(r"\{[^}]*\}")  # such as {invocation}: it is dropped
_OF_PROCESS: Final = ("process_", "python_info")
Samples = dict[tuple[str, Labels], float]


def translated(name: str, unit: str, kind: str) -> str:
    """Return the Prometheus name that a collector makes of an OTLP name and unit."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", name) if word]
    unit = _ANNOTATION.sub("", unit)
    suffix = _UNITS.get(unit, unit)
    if suffix == "ratio" and kind != "gauge":
        suffix = ""
    if suffix and suffix not in words:
        words.append(suffix)
    if kind == "counter":
        words = [word for word in words if word != "total"]
        words.append("total")
    return "_".join(words)


def metrics_of(*bodies: ExportMetricsServiceRequest) -> Iterator[Metric]:
    """Yield the metrics of requests."""
    for body in bodies:
        for of_resource in body.resource_metrics:
            for of_scope in of_resource.scope_metrics:
                yield from of_scope.metrics


def kind_of(metric: Metric) -> str:
    """Return a metric's kind, as Prometheus calls it."""
    return {"sum": "counter"}.get(data := str(metric.WhichOneof("data")), data)


def attributes_of(pairs: Iterable[KeyValue]) -> dict[str, str]:
    """Return attributes, all of which are texts."""
    return {pair.key: pair.value.string_value for pair in pairs}


def labels_of(pairs: Iterable[KeyValue], **more: str) -> Labels:
    """Return the labels that attributes become."""
    found = {re.sub(r"\W", "_", name): value for name, value in attributes_of(pairs).items()}
    return frozenset((found | more).items())


def pushed(*bodies: ExportMetricsServiceRequest) -> Samples:
    """Return the samples of requests, under the names and labels of Prometheus."""
    samples: Samples = {}
    for metric in metrics_of(*bodies):
        add_metric(samples, metric)
    return samples


def add_metric(samples: Samples, metric: Metric, **more: str) -> None:
    """Add the samples of a metric, with labels beside those of its points."""
    name = translated(metric.name, metric.unit, kind_of(metric))
    for point in metric.histogram.data_points:
        _add_histogram(samples, name, point, labels_of(point.attributes, **more))
    for number in (*metric.sum.data_points, *metric.gauge.data_points):
        value = getattr(number, number.WhichOneof("value") or "")
        key = name, labels_of(number.attributes, **more)
        assert key not in samples
        samples[key] = value


def _add_histogram(samples: Samples, name: str, point: HistogramDataPoint, labels: Labels) -> None:
    assert (f"{name}_sum", labels) not in samples
    edges = (*point.explicit_bounds, float("inf"))
    for edge, count in zip(edges, accumulate(point.bucket_counts), strict=True):
        samples[f"{name}_bucket", labels | {("le", str(edge))}] = count
    samples[f"{name}_sum", labels] = point.sum
    samples[f"{name}_count", labels] = point.count


def scraped(page: Exposed) -> Samples:
    """Return the samples of a page, the process' own left out; no value is no label."""
    return {
        (name, frozenset(_plain(*label) for label in labels if label[1])): value
        for name, series in page.samples.items()
        if not name.startswith(_OF_PROCESS)
        for labels, value in series.items()
    }


def _plain(name: str, value: str) -> tuple[str, str]:
    return (name, str(float(value))) if name == "le" else (name, value)
