"""A real exporter that pushes to real receivers: what arrives, when, and in whose name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from harness.exporters import Bench
from harness.otlp.published_rules import Samples, attributes_of, metrics_of, pushed, scraped
from harness.otlp.pushes import EXPORTS, calls_of, lines
from harness.otlp.receivers import PROTOCOLS, HttpReceiver, Receiver, each_protocol
from harness.processes.work import counts, serve, working
from harness.recordings import unpack
from harness.waiting import wait_for

GEN_AI = "gen_ai_execute_tool_duration_seconds"
pytestmark = pytest.mark.slow


@pytest.fixture
def receiver(protocol: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that the environment of this test names."""
    with PROTOCOLS[protocol]() as running:
        running.name_in(monkeypatch)
        yield running


def between(one: Samples, value: tuple[Any, float], other: Samples) -> bool:
    """Return whether a pushed sample is what the pages before and after it show, or between."""
    key, number = value
    low, high = sorted((one[key], other[key]))
    return low <= number <= high


@pytest.mark.parametrize("name", ["1.18.33", "2.0.15"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
@each_protocol
def test_push_agrees_with_the_pages_around_it(
    name: str,
    compression: str,
    protocol: str,
    receiver: Receiver,
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every sample of both routes is there, and what does not move is the same."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=blue,authorization=Bearer%20abc")
    unpack(name, bench.directory)
    with serve(bench) as served:
        counting(receiver)
        before = scraped(served.page())
        body, headers = receiver.next(2)  # the second began after that page
        after = scraped(served.page())
    arrived = pushed(body)
    own = {key: value for key, value in arrived.items() if not key[0].startswith(GEN_AI)}
    assert len(own) < len(arrived)
    assert set(own) == set(before) == set(after)
    assert all(between(before, sample, after) for sample in own.items())
    moving = {name for name, labels in own if before[name, labels] != after[name, labels]}
    assert all(name.startswith("opencode_exporter_") for name in moving)
    assert (headers["x-team"], headers["authorization"]) == ("blue", "Bearer abc")
    if protocol == "http":
        assert headers[":path"] == "/v1/metrics"
        assert headers.get("content-encoding", "none") == compression


@each_protocol
def test_push_over_tls_trusts_the_certificate_that_it_is_given(
    protocol: str, bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """OTEL_EXPORTER_OTLP_CERTIFICATE names who is trusted; without it nothing is sent."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    # A company's bundle for everything else must not win over it.
    trustme.CA().cert_pem.write_to_path(tmp_path / "others.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "others.pem"))
    certificate = authority.issue_cert("localhost")
    with PROTOCOLS[protocol](certificate) as receiver, working(bench):
        receiver.name_in(monkeypatch)
        with serve(bench) as served:
            wait_for(lambda: lines(served, "push failed, the next one has it all"))
            assert not receiver.received
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "ca.pem"))
        with serve(bench):
            assert calls_of(counting(receiver)) == 1


def counting(receiver: Receiver) -> ExportMetricsServiceRequest:
    """Return the next request that counts: before the history is in none does."""
    while True:
        body = receiver.next().body
        if calls_of(body):
            return body


@each_protocol
def test_receiver_that_was_away_has_the_totals_at_once(
    protocol: str, receiver: Receiver, bench: Bench
) -> None:
    """One line says that it is gone and one that it is back; the next push has everything."""
    with working(bench, 3) as work, serve(bench) as served:
        assert calls_of(counting(receiver)) == 3
        receiver.stop()
        counts(served, work.add(40))
        wait_for(lambda: (served.page().value(EXPORTS, result="error") or 0) >= 2)
        receiver.start()
        assert calls_of(receiver.next(seconds=30).body) == 43
        wait_for(lambda: lines(served, "push arrives again"))
        (gone,) = lines(served, "push failed, the next one has it all")
        assert gone["endpoint"].startswith(f"http://localhost:{receiver.port}")
        assert "refused" in gone["err"]
        assert len(lines(served, "push arrives again")) == 1
        warned = [line for line in served.log.splitlines() if '"warning"' in line]
        assert len(warned) == 1, warned


@each_protocol
def test_restart_keeps_instance_and_start_times(
    protocol: str, receiver: Receiver, bench: Bench
) -> None:
    """The same instance goes on with the same series, each counting since the same time."""
    unpack("2.0.15", bench.directory)
    bodies = []
    with serve(bench) as served:
        bodies.append(counting(receiver))
        served.stop()
        receiver.received.clear()
        served.start()
        bodies.append(counting(receiver))
    first, second = (dict(starts_of(body)) for body in bodies)
    ids = {
        attributes_of(b.resource_metrics[0].resource.attributes)["service.instance.id"]
        for b in bodies
    }
    assert len(ids) == 1
    assert first == second
    assert len(set(first.values())) > 1


def starts_of(body: ExportMetricsServiceRequest) -> Iterator[tuple[Any, int]]:
    """Yield since when the series count that outlive the process, by their names."""
    for metric in metrics_of(body):
        if metric.name.startswith("opencode.exporter."):
            continue
        for point in (*metric.sum.data_points, *metric.histogram.data_points):
            labels = frozenset(attributes_of(point.attributes).items())
            yield (metric.name, labels), point.start_time_unix_nano


@pytest.mark.parametrize("protocol", ["http"])
def test_resource_is_what_environment_and_flags_say(
    protocol: str, receiver: Receiver, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Service, attributes and the machine's name arrive; GenAI's words stay away when told so."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=blue")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "ours")
    with working(bench), serve(bench, "--otlp.host-name", "--otlp.gen-ai=off"):
        body = counting(receiver)
    found = attributes_of(body.resource_metrics[0].resource.attributes)
    assert (found["service.name"], found["team"]) == ("ours", "blue")
    assert found["host.name"]
    assert len(found["service.instance.id"]) == 36
    assert not [name for name, _ in pushed(body) if name.startswith("gen_ai")]


@pytest.mark.parametrize("protocol", ["http"])
def test_delta_is_refused_with_one_line(
    protocol: str, receiver: Receiver, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever prefers deltas is told once that totals are sent, and gets totals."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
    with working(bench, 2), serve(bench) as served:
        assert calls_of(receiver.next(3).body) == 2
        assert len(lines(served, "temporality is not sent, totals are cumulative")) == 1


@pytest.mark.parametrize("protocol", ["http"])
def test_credentials_of_the_endpoint_are_not_in_the_log(
    protocol: str, receiver: Receiver, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines name the endpoint and the cause, but no secret of the URL or of a header."""
    url = f"http://me:s3cret@localhost:{receiver.port}/v1/metrics?key=s3cret"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization: Bearer s3cret")
    receiver.status = 401
    with working(bench), serve(bench, "--log.level=debug") as served:
        wait_for(lambda: receiver.asked > 2)
        (line,) = lines(served, "push failed, the next one has it all")
        receiver.stop()
        asked = served.page().value(EXPORTS, result="error")
        assert asked is not None
        wait_for(lambda: (served.page().value(EXPORTS, result="error") or 0) > asked + 1)
        receiver.start()
        assert line["endpoint"] == f"http://localhost:{receiver.port}/v1/metrics"
        assert "401" in line["err"]
        (line,) = lines(served, "OTLP setting is not used")
        assert line["err"] == "a header is not of the form name=value"
        assert "s3cret" not in served.log


@each_protocol
def test_endpoint_that_hangs_holds_up_nothing(
    protocol: str, receiver: Receiver, bench: Bench
) -> None:
    """Polls and scrapes go on beside a push that gets no answer."""
    receiver.hangs = True
    with working(bench) as work, serve(bench) as served:
        wait_for(lambda: receiver.asked)
        for _ in range(5):
            counts(served, work.add(), 2)


@pytest.mark.parametrize("protocol", ["http"])
def test_counts_of_pushes_are_on_the_page(protocol: str, receiver: Receiver, bench: Bench) -> None:
    """Both results are there from the start, at 0, and each push adds one."""
    receiver.hangs = True
    with working(bench), serve(bench) as served:
        first = served.page()
        assert [first.value(EXPORTS, result=result) for result in ("ok", "error")] == [0, 0]
        receiver.hangs = False
        receiver.stop()
        receiver.start()
        wait_for(lambda: (served.page().value(EXPORTS, result="ok") or 0) >= 2)


def test_disabled_sdk_pushes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SDK_DISABLED wins over an endpoint; no count of pushes is shown then."""
    with HttpReceiver() as receiver, working(bench):
        receiver.name_in(monkeypatch)
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        with serve(bench) as served:
            counts(served, 1)
            assert EXPORTS not in served.page().samples
            assert not receiver.asked
            assert "OTLP" not in served.log


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "OTLP protocol 'http/json' is not supported"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "a:4318", "OTEL_EXPORTER_OTLP_ENDPOINT 'a:4318' has no"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", '"http://a"', "OTEL_EXPORTER_OTLP_METRICS_ENDP"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://a", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT "),
    ],
)
def test_bad_settings_end_the_start_with_a_sentence(
    name: str, value: str, sentence: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the environment says and means nothing is told as of flags, before all else."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:1")
    monkeypatch.setenv(name, value)
    words = ("serve", "--otlp.traces", f"--ledger.path={bench.ledger}")
    done = subprocess.run(
        [sys.executable, "-m", "opencode_exporter", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"opencode-exporter: {sentence}")
    assert len(done.stderr.splitlines()) == 1
    assert not bench.ledger.exists()


def test_run_that_does_not_push_loads_nothing_of_opentelemetry() -> None:
    """Startup time and memory of a plain run stay what they are without OTLP."""
    code = (
        "import sys, opencode_exporter.commands.cli, opencode_exporter.commands.report;"
        "import opencode_exporter.service.service;"
        "sys.exit(any(name.split('.')[0] in ('opentelemetry', 'grpc') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@each_protocol
def test_a_new_series_is_pushed_at_zero_first(
    protocol: str, receiver: Receiver, bench: Bench
) -> None:
    """
    What a backend adds up is the difference of two pushes: a first value had none before it.

    A push that does not arrive has not been seen, and its 0 goes with the next one.
    """
    usage = "opencode_tool_usage_total"

    def calls(body: ExportMetricsServiceRequest) -> dict[str, float]:
        return {
            dict(labels)["tool"]: value
            for (name, labels), value in pushed(body).items()
            if name == usage
        }

    with working(bench) as work, serve(bench) as served:
        assert calls(counting(receiver)) == {"read": 1}
        receiver.stop()
        work.add(2, tool="grep")
        wait_for(lambda: (served.page().value(EXPORTS, result="error") or 0) >= 2)
        receiver.start()
        assert calls(receiver.next(seconds=30).body) == {"read": 1, "grep": 0}
        assert calls(receiver.next().body) == {"read": 1, "grep": 2}
