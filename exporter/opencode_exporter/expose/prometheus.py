"""
Prometheus: a snapshot as a page of text or OpenMetrics.

Both formats and their negotiation are prometheus-client's; this turns series
into its families, and keeps the text of each for as long as it is the same.
Reads nothing but the snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, zip_longest
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
from prometheus_client.samples import Exemplar as TheirExemplar
from prometheus_client.utils import floatToGoString

from opencode_exporter import catalog as c
from opencode_exporter.counting.series import (
    Histogram,
    Labels,
    Value,
    histogram_of,
    number_of,
    zero_of,
)
from opencode_exporter.expose.exemplars import Exemplar, OfSeries
from opencode_exporter.expose.snapshot import Snapshot

_FORMATS_KEPT: Final = 4  # a client may ask for any version of a format
_HEAD_LINES: Final = 2  # HELP and TYPE

_OPENMETRICS: Final = "application/openmetrics-text"

_Encode = Callable[[Collector], bytes]
_StartOf = Callable[[c.Metric, Labels], int]
_Bucket = tuple[str, float] | tuple[str, float, TheirExemplar]


class _Sample(NamedTuple):
    """A series with value, start and exemplars."""

    labels: Labels
    value: Value
    created: float | None = None  # since when it counts, Unix seconds
    exemplars: OfSeries = ()


def _nothing() -> None:
    """Do nothing."""


class Rendered(NamedTuple):
    """A page of metrics."""

    body: bytes
    content_type: str
    sent: Callable[[], None] = _nothing  # called when the client has it


class _Text(NamedTuple):
    """The rendered series of one metric, in one format."""

    series: Mapping[Labels, Value]
    exemplars: Mapping[Labels, OfSeries]
    lines: Mapping[Labels, bytes]
    text: bytes


class _Families(Collector):
    """A collector of given families."""

    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _family(metric: c.Metric, series: Sequence[_Sample]) -> Metric:
    return {"histogram": _histograms, "counter": _counters, "gauge": _gauges}[metric.kind](
        metric, series
    )


def _histograms(metric: c.Metric, series: Sequence[_Sample]) -> Metric:
    family = HistogramMetricFamily(metric.family, metric.help, labels=metric.labels)
    for labels, value, created, exemplars in series:
        held = histogram_of(metric, value)
        family.add_metric(labels, _buckets(metric, held, exemplars), held.total / metric.scale)
        if created is not None:
            named = dict(zip(metric.labels, labels, strict=True))
            family.add_sample(f"{metric.family}_created", named, created)
    return family


def _counters(metric: c.Metric, series: Sequence[_Sample]) -> Metric:
    family = CounterMetricFamily(metric.family, metric.help, labels=metric.labels)
    for labels, value, created, _ in series:
        family.add_metric(labels, _in_unit(metric, number_of(metric, value)), created)
    return family


def _gauges(metric: c.Metric, series: Sequence[_Sample]) -> Metric:
    family = GaugeMetricFamily(metric.family, metric.help, labels=metric.labels)
    for labels, value, *_ in series:
        family.add_metric(labels, _in_unit(metric, number_of(metric, value)))
    return family


def _in_unit(metric: c.Metric, value: int) -> float:
    return value / metric.scale if metric.scale != 1 else value


def _buckets(metric: c.Metric, held: Histogram, exemplars: OfSeries) -> list[_Bucket]:
    """Return the cumulated buckets by their upper edges, with their exemplars."""
    edges = (str(floatToGoString(edge)) for edge in (*metric.buckets, float("inf")))  # type: ignore[no-untyped-call]
    buckets: list[_Bucket] = []
    for edge, count, one in zip_longest(edges, accumulate(held.counts), exemplars):
        buckets.append((edge, float(count), _theirs(one)) if one else (edge, float(count)))
    return buckets


def _theirs(one: Exemplar) -> TheirExemplar:
    ids = {"trace_id": one.trace_id, "span_id": one.span_id}
    return TheirExemplar(ids, one.duration_ms / 1000, one.ended_ms / 1000)


def _process_registry() -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


_PROCESS = _process_registry()


class Renderer:
    """
    Renders snapshots.  Any thread may; what has not changed since is not rendered again.

    Args:
        created: Whether OpenMetrics says since when each series counts.  The text format
            never does: the client library has these as gauges of their own there.
    """

    def __init__(self, *, created: bool = False) -> None:
        self._created = created
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
        is_open = content_type.startswith(_OPENMETRICS)
        start_of = snapshot.start_ms if self._created and is_open else None
        end = encode(_Families())
        # Of many scrapes after a change one renders it, and the others wait for that.
        with self._lock:
            kept = self._kept_of(content_type)
            page = []
            for metric in c.ON_PAGE:
                series = snapshot.series.get(metric)
                if not series:
                    continue
                exemplars = snapshot.exemplars.get(metric, {}) if is_open else {}
                now = kept.get(metric.name)
                if now is None or now.series != series or now.exemplars != exemplars:
                    now = kept[metric.name] = _rendered(
                        metric, series, exemplars, now, start_of, encode, end
                    )
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
    exemplars: Mapping[Labels, OfSeries],
    old: _Text | None,
    start_of: _StartOf | None,
    encode: _Encode,
    end: bytes,
) -> _Text:
    """
    Return a metric's text, in which only those series are new that have changed.

    A start does not change without the value: only where projects are hidden or hashed,
    and a series with an older start is shown as one with others.
    """
    before, noted = (old.series, old.exemplars) if old else ({}, {})
    moved = {
        labels
        for labels in noted.keys() | exemplars.keys()
        if noted.get(labels) != exemplars.get(labels)
    }
    changed = [
        _Sample(
            labels,
            value,
            start_of(metric, labels) / 1000 if start_of else None,
            exemplars.get(labels, ()),
        )
        for labels, value in series.items()
        if before.get(labels) != value or (moved and labels in moved)
    ]
    page = encode(_Families(_family(metric, changed))).removesuffix(end)
    # A sample is a line: the newlines in labels are escaped.
    made = page.split(b"\n")[:-1]
    head, samples = made[:_HEAD_LINES], made[_HEAD_LINES:]
    new = zip(changed, _shared_out(metric, samples, len(changed)), strict=True)
    lines = {**(old.lines if old else {}), **{one.labels: b"\n".join(its) for one, its in new}}
    lines = {labels: lines[labels] for labels in sorted(series)}
    return _Text(series, exemplars, lines, b"\n".join((*head, *lines.values(), b"")))


def _shared_out(metric: c.Metric, lines: list[bytes], series: int) -> Iterator[list[bytes]]:
    """
    Yield the lines of each series, of which all have the same number.

    Raises:
        ValueError: They have not: nobody could tell which line is whose.
    """
    each = len(lines) // max(1, series)
    if each * series != len(lines) or (series and not each):
        raise ValueError(f"{metric.name}: {len(lines)} lines of {series} series")
    for place in range(series):
        yield lines[place * each : (place + 1) * each]


def head_of(metric: c.Metric) -> bytes:
    """Return the lines of OpenMetrics that stand before all samples of a metric."""
    return b"".join(_lines_of(metric, ())[:_HEAD_LINES])


def names_of(metric: c.Metric, labels: Labels) -> list[bytes]:
    """Return the samples of a series as OpenMetrics writes them, without their values."""
    lines = _lines_of(metric, [_Sample(labels, zero_of(metric))])[_HEAD_LINES:]
    return [line.rsplit(b" ", 1)[0] for line in lines]


def values_of(metric: c.Metric, value: Value) -> list[bytes]:
    """Return the values of a series' samples, in the order of `names_of`."""
    if isinstance(value, int):
        return [b"%r" % _in_unit(metric, value)]
    counts = [b"%d" % count for count in accumulate(value.counts)]
    return [*counts, counts[-1], b"%r" % (value.total / metric.scale)]


def _lines_of(metric: c.Metric, series: Sequence[_Sample]) -> list[bytes]:
    encode, _ = _negotiated(_OPENMETRICS)
    page = encode(_Families(_family(metric, series))).removesuffix(encode(_Families()))
    return [line + b"\n" for line in page.split(b"\n")[:-1]]
