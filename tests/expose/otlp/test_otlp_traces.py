"""A real exporter that sends spans to real receivers: when, with what settings, and its end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.endings import end
from harness.exporters import Bench
from harness.otlp.published_rules import attributes_of
from harness.otlp.receivers import PROTOCOLS, HttpReceiver, Receiver, each_protocol
from harness.otlp.span_pushes import QUICK, SPANS, TRACES, add
from harness.otlp.traced_exporter import spans_of
from harness.processes.command import ANYWHERE, Place
from harness.processes.ports import free_port
from harness.processes.served import Served
from harness.processes.work import counts, serve, working
from harness.waiting import SOON_S, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def protocol() -> str:
    """By which a test sends where it does not matter."""
    return "http"


@pytest.fixture
def receiver(protocol: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that the environment of this test names."""
    with PROTOCOLS[protocol]() as running:
        running.name_in(monkeypatch, **QUICK)
        yield running


def lines(served: Served, text: str) -> list[dict[str, Any]]:
    """Return the lines of the log with a message."""
    found = [json.loads(line) for line in served.log.splitlines() if line.startswith("{")]
    return [line for line in found if line["msg"] == text]


@each_protocol
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_spans_arrive_beside_the_metrics(
    protocol: str,
    compression: str,
    receiver: Receiver,
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the same resource, with the headers that are named for them, and only live ones."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-team=blue")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=blue")
    with working(bench, 3) as work, serve(bench, TRACES) as served:
        add(work, served, 5)
        wait_for(lambda: len(spans_of(receiver.traced)) == 5)
        wait_for(lambda: served.page().value(SPANS, result="ok") == 5)
        metrics = receiver.next().body
    body, headers = receiver.traced[0]
    assert headers["x-team"] == "blue"
    if protocol == "http":
        assert headers[":path"] == "/v1/traces"
        assert headers.get("content-encoding", "none") == compression
    resources = [
        attributes_of(found.resource.attributes)
        for found in (body.resource_spans[0], metrics.resource_metrics[0])
    ]
    assert resources[0] == resources[1]
    assert len(resources[0]["service.instance.id"]) == 36
    (of_scope,) = body.resource_spans[0].scope_spans
    assert of_scope.scope.name == "opencode_exporter"


def test_endpoint_for_spans_alone_is_enough(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken as it is, and nothing is pushed to it but spans."""
    with HttpReceiver() as receiver, working(bench) as work:
        url = f"http://localhost:{receiver.port}/some/traces"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with serve(bench, TRACES) as served:
            add(work, served, 2)
            wait_for(lambda: len(spans_of(receiver.traced)) == 2)
        assert receiver.traced[0].headers[":path"] == "/some/traces"
        assert not receiver.received


@pytest.mark.parametrize(
    ("words", "more"),
    [
        ((), {}),
        ((TRACES,), {"OTEL_TRACES_EXPORTER": "none"}),
        ((TRACES,), {"OTEL_SDK_DISABLED": "true"}),
    ],
)
def test_no_span_is_sent_unless_flag_and_environment_say_so(
    words: tuple[str, ...],
    more: dict[str, str],
    receiver: Receiver,
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Off by default; where the environment says no, the log tells whoever set the flag."""
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    with working(bench) as work, serve(bench, *words) as served:
        add(work, served, 2)
        assert SPANS not in served.page().samples
        assert end(served) < SOON_S
        told = "no spans are sent: the environment names no endpoint, or switches them off"
        assert len(lines(served, told)) == len(words)
    assert not receiver.traced


@each_protocol
def test_end_sends_the_last_spans(
    protocol: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for the next batch, for an hour maybe, goes with SIGTERM."""
    with PROTOCOLS[protocol]() as receiver, working(bench) as work:
        receiver.name_in(monkeypatch, OTEL_BSP_SCHEDULE_DELAY="3600000")
        with serve(bench, TRACES) as served:
            add(work, served, 7)
            assert not receiver.traced
            assert end(served) < SOON_S
        assert len(spans_of(receiver.traced)) == 7


@each_protocol
def test_end_does_not_wait_for_an_endpoint_that_hangs(
    protocol: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spans and metrics have the same second, and each a line that it was too short."""
    with PROTOCOLS[protocol](hangs=True) as receiver, working(bench) as work:
        receiver.name_in(monkeypatch, **QUICK, OTEL_EXPORTER_OTLP_TIMEOUT="60")
        with serve(bench, TRACES) as served:
            add(work, served, 3)
            wait_for(lambda: receiver.asked >= 2)
            assert end(served) < SOON_S
            for what in ("last push did not end in time", "last spans did not end in time"):
                assert len(lines(served, what)) == 1


@each_protocol
def test_endpoint_that_is_gone_costs_spans_and_one_line(
    protocol: str, receiver: Receiver, bench: Bench
) -> None:
    """They are counted as errors; polls go on, and later spans arrive."""
    with working(bench) as work, serve(bench, TRACES) as served:
        receiver.stop()
        add(work, served, 3)
        wait_for(lambda: served.page().value(SPANS, result="error") == 3)
        receiver.start()
        counts(served, work.add(4))
        wait_for(lambda: len(spans_of(receiver.traced)) == 4)
        wait_for(lambda: lines(served, "spans arrive again"))
        (gone,) = lines(served, "spans did not arrive")
        # Over gRPC, OpenTelemetry does not repeat a line that the metrics have just had.
        assert "refused" in gone["err"] or "could not be reached" in gone["err"]
        assert gone["endpoint"].startswith(f"http://localhost:{receiver.port}")


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_demo_shows_traces(
    generation: str, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulated agent's work arrives as it happens, and its three days of history do not."""
    words = ("demo", f"--demo.generation={generation}", "--demo.pace=100", TRACES, *ANYWHERE)
    began = time.time_ns()
    with Place(tmp_path).running(*words):
        wait_for(lambda: len(spans_of(receiver.traced)) >= 30, 60)
    for span in spans_of(receiver.traced):
        assert span.end_time_unix_nano >= began - 60 * 10**9
        assert span.name.startswith("execute_tool ")


def test_queue_that_is_none_ends_the_start_with_a_sentence(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What OpenTelemetry would not take is told by the variable's name, before anything runs."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://localhost:{free_port()}")
    for value, told, code in (
        ("many", "'many' is not a number of spans", 2),
        ("5", "OTEL_BSP_", 1),  # less than a batch, as OpenTelemetry finds
    ):
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", value)
        with working(bench):
            served = serve(bench, TRACES)
            (bench.directory / "run").mkdir(exist_ok=True)
            served.launch()
            assert served.wait(20) == code
            assert told in served.log
