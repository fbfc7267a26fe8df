"""Every data point that a receiver gets is what the page shows at the same snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from harness.clock import HOUR_MS, FakeClock
from harness.exporters import Bench, Exposed
from harness.otlp.published_rules import attributes_of, kind_of, metrics_of, pushed, scraped
from harness.otlp.receivers import PROTOCOLS, Receiver
from harness.recordings import truth, unpack
from opencode_exporter import __version__
from opencode_exporter import catalog as c
from opencode_exporter.counting.series import Histogram, Labels, Value
from opencode_exporter.expose.otlp.metrics_push import Sender
from opencode_exporter.expose.otlp.points import metrics_data
from opencode_exporter.expose.otlp.resource import resource_of
from opencode_exporter.expose.otlp.target import target_of
from opencode_exporter.expose.prometheus import Renderer
from opencode_exporter.expose.snapshot import Snapshot

RECORDED = ("turns-1.18.33", "turns-2.0.15", "turns-upgrade-1.18.33-2.0.15")
LARGEST = 4 * 1024 * 1024  # what a receiver of gRPC takes, unless told


@dataclass
class Route:
    """A receiver, and how to send to it."""

    receiver: Receiver
    environment: dict[str, str]

    def send(self, snapshot: Snapshot, *, gen_ai: bool = True) -> list[ExportMetricsServiceRequest]:
        """Send a snapshot by the real exporter; return the requests that came of it."""
        target = target_of(self.environment)
        assert target
        sender = Sender(target)
        try:
            data = metrics_data(snapshot, resource_of("7", host_name=False), gen_ai=gen_ai)
            assert sender.send(data) == ""
        finally:
            sender.close()
        bodies = [body for body, _ in self.receiver.received]
        self.receiver.received.clear()
        return bodies


@pytest.fixture(params=PROTOCOLS)
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Route]:
    """A receiver of each protocol."""
    with PROTOCOLS[request.param]() as receiver:
        receiver.name_in(monkeypatch)
        yield Route(receiver, receiver.environment)


def snapshot_of(name: str, directory: Path) -> Snapshot:
    """Return what is shown of a recording an hour after it was made."""
    unpack(name, directory)
    bench = Bench(directory, FakeClock(truth(name)["recorded_at_ms"] + HOUR_MS))
    exporter = bench.exporter(in_memory=True)
    try:
        exporter.pushes.exports.update(ok=3, error=1)
        exporter.poll()
        return exporter.pages.snapshot()
    finally:
        exporter.close()


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Snapshot]:
    """What is shown of some recordings."""
    return {name: snapshot_of(name, tmp_path_factory.mktemp("otlp")) for name in RECORDED}


def page_of(snapshot: Snapshot) -> Exposed:
    """Return the page of a snapshot."""
    return Exposed(Renderer().render(snapshot).body.decode())


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("name", RECORDED)
def test_every_data_point_is_on_the_page(
    name: str,
    compression: str,
    snapshots: dict[str, Snapshot],
    route: Route,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Names, labels, values, buckets and sums are the same by both routes; none is missing."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    snapshot = snapshots[name]
    arrived = pushed(*route.send(snapshot, gen_ai=False))
    assert len(arrived) > 500
    assert arrived == scraped(page_of(snapshot))


def test_points_say_what_they_are(snapshots: dict[str, Snapshot], route: Route) -> None:
    """Totals are cumulative and monotonic; extremes, which nobody knows, are not sent."""
    by_name = {metric.otlp: metric for metric in c.METRICS}
    snapshot = snapshots["turns-2.0.15"]
    seen = set()
    for metric in metrics_of(*route.send(snapshot)):
        declared = by_name[metric.name]
        seen.add(declared)
        assert (metric.unit, metric.description) == (declared.otlp_unit, declared.help)
        assert kind_of(metric) == declared.kind
        if declared.kind == "counter":
            assert metric.sum.is_monotonic
        if declared.kind != "gauge":
            data = metric.sum if declared.kind == "counter" else metric.histogram
            assert (
                data.aggregation_temporality
                == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
            )
        for point in metric.histogram.data_points:
            assert tuple(point.explicit_bounds) == declared.buckets
            assert not point.HasField("min")
            assert not point.HasField("max")
    assert seen == {metric for metric, series in snapshot.series.items() if series}


def test_times_are_those_of_the_moment(snapshots: dict[str, Snapshot], route: Route) -> None:
    """Points are of the snapshot; what counts says since when, and gauges say no start."""
    by_name = {metric.otlp: metric for metric in c.METRICS}
    snapshot = snapshots["turns-1.18.33"]
    starts = set()
    for metric in metrics_of(*route.send(snapshot)):
        declared = by_name[metric.name]
        points = (*metric.sum.data_points, *metric.histogram.data_points)
        for gauge in metric.gauge.data_points:
            assert (gauge.time_unix_nano, gauge.start_time_unix_nano) == (snapshot.at_ms * 10**6, 0)
        for point in points:
            found = attributes_of(point.attributes)
            labels = tuple(found.get(name, "") for name in declared.attributes)
            start_ms = snapshot.start_ms(declared, labels)
            starts.add(start_ms)
            assert point.start_time_unix_nano == start_ms * 10**6
            assert point.time_unix_nano == snapshot.at_ms * 10**6
    assert len(starts) > 1
    assert max(starts) <= snapshot.at_ms


def test_no_point_begins_after_its_time(snapshots: dict[str, Snapshot], route: Route) -> None:
    """After a clock was set back the time of a point is its start, which stays as it was."""
    before = snapshots["turns-2.0.15"]
    starts = {
        (metric.name, str(point.attributes)): point.start_time_unix_nano
        for metric in metrics_of(*route.send(before))
        for point in (*metric.sum.data_points, *metric.histogram.data_points)
    }
    for metric in metrics_of(*route.send(replace(before, at_ms=1_000_000))):
        for point in (*metric.sum.data_points, *metric.histogram.data_points):
            assert point.start_time_unix_nano == starts[metric.name, str(point.attributes)]
            assert point.time_unix_nano == point.start_time_unix_nano


def test_words_of_the_genai_conventions(snapshots: dict[str, Snapshot], route: Route) -> None:
    """`gen_ai.execute_tool.duration` has the convention's attributes, and can be left out."""
    snapshot = snapshots["turns-2.0.15"]
    names = {metric.name for metric in metrics_of(*route.send(snapshot, gen_ai=False))}
    every = {metric.name: metric for metric in metrics_of(*route.send(snapshot))}
    assert set(every) - names == {"gen_ai.execute_tool.duration"}
    found = [
        attributes_of(point.attributes)
        for point in every["gen_ai.execute_tool.duration"].histogram.data_points
    ]
    assert {"gen_ai.tool.name": "read", "gen_ai.agent.name": "build"} in found
    assert any("error.type" in attributes for attributes in found)
    assert all(value for attributes in found for value in attributes.values())


def test_scope_and_resource_say_who_counts(snapshots: dict[str, Snapshot], route: Route) -> None:
    """All metrics are of one scope, with our version, and of one resource."""
    (body,) = route.send(snapshots["turns-2.0.15"])
    (of_resource,) = body.resource_metrics
    (of_scope,) = of_resource.scope_metrics
    assert (of_scope.scope.name, of_scope.scope.version) == ("opencode_exporter", __version__)
    assert attributes_of(of_resource.resource.attributes) == {
        "service.name": "opencode-exporter",
        "service.version": __version__,
        "service.instance.id": "7",
    }


@pytest.mark.slow
def test_many_series_go_in_requests_that_receivers_take(route: Route) -> None:
    """What is too large for one request is cut into several, and arrives whole."""
    held = Histogram([10**9] * (len(c.TOOL_DURATION.buckets) + 1), 10**9)
    timed: dict[Labels, Value] = {(f"tool_{n}", "completed"): held for n in range(1000)}
    counted: dict[Labels, Value] = {(f"tool_{n}", "completed"): n for n in range(9500)}
    snapshot = Snapshot({c.TOOL_DURATION: timed, c.TOOL_INVOCATIONS: counted}, 5000, {}, 1000)
    bodies = route.send(snapshot)
    assert len(bodies) == 3
    largest = max(body.ByteSize() for body in bodies)
    assert largest < LARGEST
    assert pushed(*bodies) == scraped(page_of(snapshot))
