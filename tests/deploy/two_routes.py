"""
Eight hours of one exporter, as Prometheus has them by scrape and through the collector.

What is pushed is sent by the real exporter to a real receiver, and translated by the
published rules. Between states of the exporter all counters grow, so rates and differences
have something to say. Nothing here knows what a test asserts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from deploy.collecting import collected
from harness.clock import HOUR_MS, FakeClock
from harness.exporters import Bench, Exposed, Labels
from harness.otlp.receivers import HttpReceiver
from harness.recordings import truth, unpack
from opencode_exporter import catalog as c
from opencode_exporter.counting.series import Histogram, Value, merge
from opencode_exporter.expose.otlp.metrics_push import Sender
from opencode_exporter.expose.otlp.points import metrics_data
from opencode_exporter.expose.otlp.resource import resource_of
from opencode_exporter.expose.otlp.target import target_of
from opencode_exporter.expose.prometheus import Renderer
from opencode_exporter.expose.snapshot import Snapshot

RECORDING: Final = "turns-upgrade-1.18.33-2.0.15"  # has what either generation has
SCRAPED: Final = "scraped"
PUSHED: Final = "pushed"
STEP_S: Final = 120
_STATES: Final = 12
_SAMPLES_EACH: Final = 20
LENGTH_S: Final = _STATES * _SAMPLES_EACH * STEP_S  # eight hours
_GROWTH: Final = 2
_JOB: Final = "opencode"
_TROUBLE: Final[Mapping[c.Metric, Mapping[tuple[str, ...], int]]] = {
    c.SKILL_INVOCATIONS: {("commit-style", "error"): 10, ("_unknown", "error"): 5},
    c.SKILL_RUNS: {("commit-style", "build", "failed"): 10},
    c.TOOL_INVOCATIONS: {("edit", "error"): 12},
    c.TOOL_RETRIES: {("edit",): 12},
    c.ROWS_REJECTED: {("opencode.db", "part", "json"): 1},
    c.LABEL_OVERFLOW: {("opencode_tool_invocations_total",): 1},
}
"""What goes wrong between two states, so that alerts have something to say."""
_COLLECTOR: Final = frozenset({("job", "otel-collector"), ("instance", "otel-collector:8889")})
Key = tuple[str, Labels]


class Requests(NamedTuple):
    """A snapshot of the exporter: what it shows, and what it pushes."""

    snapshot: Snapshot
    bodies: list[ExportMetricsServiceRequest]


@dataclass(frozen=True)
class TwoRoutes:
    """
    Series with a sample every two minutes.

    Attributes:
        start_s: When the first sample was taken, Unix seconds.
    """

    start_s: int
    series: Mapping[Key, list[float]]

    @property
    def end_s(self) -> int:
        """When the last sample was taken."""
        return self.start_s + LENGTH_S - STEP_S

    def names(self, instance: str) -> dict[str, set[Labels]]:
        """Return the series of an instance by name, without `job` and `instance`."""
        found: dict[str, set[Labels]] = {}
        for name, labels in self.series:
            if ("instance", instance) in labels:
                rest = {pair for pair in labels if pair[0] not in {"job", "instance"}}
                found.setdefault(name, set()).add(frozenset(rest))
        return found

    def as_openmetrics(self) -> Iterator[str]:
        """Yield the lines of a file with all samples."""
        for (name, labels), values in self.series.items():
            selector = _selector(name, labels)
            for number, value in enumerate(values):
                yield f"{selector} {value!r} {self.start_s + number * STEP_S}\n"
        yield "# EOF\n"

    def as_input_series(self) -> list[dict[str, Any]]:
        """Return the series of a promtool test, whose clock begins at 0."""
        return [
            {
                "series": _selector(name, labels),
                "values": " ".join(repr(value - self._shift(name)) for value in values),
            }
            for (name, labels), values in self.series.items()
        ]

    def _shift(self, name: str) -> int:
        return self.start_s if name.endswith("_timestamp_seconds") else 0


def _selector(name: str, labels: Labels) -> str:
    inside = ",".join(
        f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in sorted(labels)
    )
    return f"{name}{{{inside}}}"


def two_routes(directory: Path, config: dict[str, Any]) -> TwoRoutes:
    """Return eight hours of an exporter on a recording, through a collector as configured."""
    states = list(_requests(directory))
    found: dict[Key, list[float]] = {}
    for number, (snapshot, bodies) in enumerate(states):
        page = Exposed(Renderer().render(snapshot, process=False).body.decode())
        samples = {
            (name, labels | {("job", _JOB), ("instance", SCRAPED)}): value
            for name, by_labels in page.samples.items()
            for labels, value in by_labels.items()
        }
        samples |= collected(config, *bodies)
        samples["up", frozenset({("job", _JOB), ("instance", SCRAPED)})] = 1
        samples["up", _COLLECTOR] = 1
        for (name, labels), value in samples.items():
            key = name, frozenset(pair for pair in labels if pair[1])  # no value is no label
            values = found.setdefault(key, [])
            assert len(values) == number * _SAMPLES_EACH, f"{name} is not in every state"
            values += [float(value)] * _SAMPLES_EACH
    return TwoRoutes(states[0].snapshot.at_ms // 1000, found)


def _requests(directory: Path) -> Iterator[Requests]:
    """Yield the states of the exporter, each sent as it sends them."""
    with HttpReceiver() as receiver, pytest.MonkeyPatch.context() as environment:
        receiver.name_in(environment, OTEL_SERVICE_NAME=_JOB)
        target = target_of(receiver.environment)
        assert target
        sender = Sender(target)
        for snapshot in _snapshots(directory):
            resource = resource_of(PUSHED, host_name=True)
            assert sender.send(metrics_data(snapshot, resource, gen_ai=True)) == ""
            yield Requests(snapshot, [body for body, _ in receiver.received])
            receiver.received.clear()
        sender.close()


def _snapshots(directory: Path) -> Iterator[Snapshot]:
    """Yield what is shown of the recording, with more counted each time."""
    unpack(RECORDING, directory)
    bench = Bench(directory, FakeClock(truth(RECORDING)["recorded_at_ms"] + HOUR_MS))
    exporter = bench.exporter(in_memory=True)
    try:
        exporter.pushes.exports.update(ok=3, error=1)
        exporter.poll()
        shown = exporter.pages.snapshot()
    finally:
        exporter.close()
    for number in range(_STATES):
        at_ms = shown.at_ms + number * _SAMPLES_EACH * STEP_S * 1000
        series: dict[c.Metric, dict[Any, Value]] = {
            metric: {labels: _grown(metric, value, number) for labels, value in values.items()}
            for metric, values in shown.series.items()
        }
        for metric, wrong in _TROUBLE.items():
            counts = series.setdefault(metric, {})
            for labels, count in wrong.items():
                counts[labels] = merge(metric, counts.get(labels), count * number)
        series[c.LAST_POLL] = dict.fromkeys(series[c.LAST_POLL], at_ms)
        series[c.TOOL_OLDEST_START] = {("read",): shown.at_ms}
        yield replace(shown, series=series, at_ms=at_ms)


def _grown(metric: c.Metric, value: Value, number: int) -> Value:
    if metric.kind == "gauge":
        return value
    times = number * _GROWTH
    if isinstance(value, int):
        return value * times
    return Histogram([count * times for count in value.counts], value.total * times)
