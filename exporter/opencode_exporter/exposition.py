"""
Exposition: a snapshot as Prometheus text or OpenMetrics.

Both formats and their negotiation are prometheus-client's; this turns series
into its families, and keeps the text of each for as long as it is the same.
Reads nothing but the snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import Final, NamedTuple

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

_FORMATS_KEPT: Final = 4  # a client may ask for any version of a format
_HEAD_LINES: Final = 2  # HELP and TYPE

_Encode = Callable[[Collector], bytes]


class Rendered(NamedTuple):
    """A page of metrics."""

    body: bytes
    content_type: str


class _Text(NamedTuple):
    """What a metric's series came to in one format."""

    series: Mapping[Labels, Value]
    lines: Mapping[Labels, bytes]
    text: bytes


class _Families(Collector):
    """Families that are there already."""

    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _family(metric: c.Metric, series: Sequence[tuple[Labels, Value]]) -> Metric:
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


class Renderer:
    """Renders snapshots.  Any thread may; what has not changed since is not rendered again."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[str, dict[str, _Text]] = {}

    def render(self, snapshot: Snapshot, accept: str = "", *, process: bool = True) -> Rendered:
        """
        Return the page for a scrape.

        Args:
            snapshot: The series; they are kept, so nobody may change them any more.
            accept: The request's Accept header: text, or OpenMetrics 1.0.
            process: Whether ``process_*`` and ``python_info`` are on the page.
        """
        encode, content_type = _negotiated(accept)
        end = encode(_Families())
        # Of many scrapes after a change one renders it, and the others wait for that.
        with self._lock:
            kept = self._kept_of(content_type)
            page = []
            for metric in c.METRICS:
                series = snapshot.get(metric)
                if not series:
                    continue
                now = kept.get(metric.name)
                if now is None or now.series != series:
                    now = kept[metric.name] = _rendered(metric, series, now, encode, end)
                page.append(now.text)
        if process:
            page.append(encode(_PROCESS).removesuffix(end))
        return Rendered(b"".join((*page, end)), content_type)

    def _kept_of(self, content_type: str) -> dict[str, _Text]:
        """Return the texts of a format, and forget those of the one not used for longest."""
        kept = self._kept.pop(content_type, {})
        self._kept[content_type] = kept
        if len(self._kept) > _FORMATS_KEPT:
            del self._kept[next(iter(self._kept))]
        return kept


def _negotiated(accept: str) -> tuple[_Encode, str]:
    try:
        return choose_encoder(accept)
    except TypeError:  # the library cannot compare a version that is no number
        return choose_encoder("")


def _rendered(
    metric: c.Metric,
    series: Mapping[Labels, Value],
    old: _Text | None,
    encode: _Encode,
    end: bytes,
) -> _Text:
    """Return a metric's text, in which only those series are new that have changed."""
    before = old.series if old else {}
    changed = [(labels, value) for labels, value in series.items() if before.get(labels) != value]
    page = encode(_Families(_family(metric, changed))).removesuffix(end)
    # A sample is a line: the newlines in labels are escaped.
    made = page.split(b"\n")[:-1]
    head, samples = made[:_HEAD_LINES], made[_HEAD_LINES:]
    each = len(samples) // max(1, len(changed))
    lines = dict(old.lines) if old else {}
    for place, (labels, _) in enumerate(changed):
        lines[labels] = b"\n".join(samples[place * each : (place + 1) * each])
    lines = {labels: lines[labels] for labels in sorted(series)}
    return _Text(series, lines, b"\n".join((*head, *lines.values(), b"")))
