"""What no line of the log may hold, whatever a library has to say of it."""

from __future__ import annotations

import logging
import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import pytest

from harness.clock import FakeClock
from harness.exporters import Bench
from harness.otlp.push_lines import FAILED
from harness.otlp.pushes import lines
from harness.otlp.raw_endpoints import speaking
from harness.otlp.receivers import PROTOCOLS, HttpReceiver, each_protocol
from harness.otlp.slow_pushes import name, pushing
from harness.processes.work import serve, working
from harness.waiting import wait_for
from opencode_exporter.errors import ConfigError
from opencode_exporter.expose.otlp.metrics_push import Sender
from opencode_exporter.expose.otlp.secrets import cleaned, hidden
from opencode_exporter.expose.otlp.target import target_of

SECRET = "s3cret"  # noqa: S105  # planted
PATH = f"/services/{SECRET}path/B4/{SECRET}%2Fend?key={SECRET}query&{SECRET}"


@pytest.fixture(autouse=True)
def everything_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    """Every library says all that it has to say."""
    caplog.set_level(logging.DEBUG)


def nowhere() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def said(caplog: pytest.LogCaptureFixture) -> str:
    """Return all lines with all that they hold; there is no secret among it."""
    texts = [f"{record.getMessage()} {vars(record)} {record.exc_text}" for record in caplog.records]
    everything = "\n".join(text.replace(os.sep + "pytest", "") for text in texts)
    assert SECRET not in everything, everything
    return everything


def cause(caplog: pytest.LogCaptureFixture) -> str:
    """Return why a push failed, as the log says it."""
    said(caplog)
    (line,) = (vars(record) for record in caplog.records if record.getMessage() == FAILED)
    return str(line["err"])


@each_protocol
def test_path_of_a_webhook_is_not_told(
    protocol: str,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Such a path is a key: of it nothing is told, when the push begins and when it fails."""
    kind = {"http": "http/protobuf", "grpc": "grpc"}[protocol]
    url = f"http://127.0.0.1:{nowhere()}"
    with pushing(
        name(monkeypatch, url, METRICS_ENDPOINT=url + PATH, PROTOCOL=kind, TIMEOUT="2"), clock
    ) as push:
        push.start()
        push.polled(is_ready=True)
        wait_for(lambda: push.exports["error"])
        push.stop(5)
    assert "refused" in cause(caplog)
    told = [vars(record)["endpoint"] for record in caplog.records if hasattr(record, "endpoint")]
    assert set(told) == {f"{url}/..."}


@pytest.mark.parametrize(
    "answer",
    [
        f"HTTP/1.1 404 No {PATH} here, Bearer {SECRET}token\r\n\r\n",
        f"HTTP/1.1 200 OK\r\n{SECRET} without a colon\r\nContent-Length: 0\r\n\r\n",
        f"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{SECRET}",
        f"nonsense {PATH} {SECRET}token\r\n\r\n",
        f"HTTP/1.1 307 No\r\nLocation: {PATH}\r\n\r\n",
        f"HTTP/1.1 307 No\r\nLocation: //ada:{SECRET}@example.org{PATH}\r\n\r\n",
    ],
    ids=["echo", "bad header", "too short", "no HTTP", "redirect", "redirect elsewhere"],
)
def test_answer_that_echoes_a_secret_is_told_without(
    answer: str,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An endpoint may say what it was sent, and a library where to: neither is passed on."""
    with speaking(answer.encode()) as port:
        url = f"http://ada:{SECRET}@127.0.0.1:{port}{PATH}"
        environ = name(
            monkeypatch, "", METRICS_ENDPOINT=url, HEADERS=f"x-key=Bearer%20{SECRET}token"
        )
        with pushing(environ, clock) as push:
            push._push()
    said(caplog)


def test_status_that_echoes_a_secret_is_told_without_over_grpc(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The details of a status are the endpoint's own words."""

    class Echo(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, _details: object) -> object:
            def answer(_request: bytes, context: grpc.ServicerContext) -> bytes:
                sent = dict(context.invocation_metadata())
                context.abort(grpc.StatusCode.PERMISSION_DENIED, f"no such key {sent['x-key']}")
                return b""

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(2), handlers=[Echo()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        environ = name(
            monkeypatch,
            f"http://127.0.0.1:{port}",
            PROTOCOL="grpc",
            HEADERS=f"x-key=Bearer%20{SECRET}",
        )
        with pushing(environ, clock) as push:
            push._push()
    finally:
        server.stop(None).wait()
    assert "no such key (hidden) (hidden)" in cause(caplog)


@pytest.mark.parametrize(
    "value", [f"{SECRET}%0Ax", "s3c%0D", "a%00", f"%20%0A{SECRET}", "%0As3c", "%E2%82%AC"]
)
@each_protocol
def test_header_that_cannot_be_sent_is_told_without_any_of_it(
    value: str,
    protocol: str,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nor of one that is so short that it stands in other words, too."""
    kind = {"http": "http/protobuf", "grpc": "grpc"}[protocol]
    environ = name(
        monkeypatch, f"http://127.0.0.1:{nowhere()}", PROTOCOL=kind, HEADERS=f"x-key={value}"
    )
    with pushing(environ, clock) as push:
        push._push()
    told = cause(caplog)
    assert "s3c" not in told
    assert "20ac" not in told
    assert "x-key" not in told


@each_protocol
@pytest.mark.parametrize("variable", ["CERTIFICATE", "METRICS_CERTIFICATE"])
def test_file_that_is_missing_is_told_by_its_variable(
    variable: str,
    protocol: str,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """Whoever mends it looks there anyway, and a path can hold what nobody else should read."""
    kind = {"http": "http/protobuf", "grpc": "grpc"}[protocol]
    missing = str(tmp_path / f"{SECRET}.pem")
    more = {"PROTOCOL": kind, variable: missing}
    with pushing(name(monkeypatch, f"https://127.0.0.1:{nowhere()}", **more), clock) as push:
        push._push()
    assert f"$OTEL_EXPORTER_OTLP_{variable}" in said(caplog)


def test_bundle_that_is_missing_is_told_by_its_variable(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the variable is one of the library's."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", f"/nowhere/{SECRET}.pem")
    with pushing(name(monkeypatch, f"https://127.0.0.1:{nowhere()}"), clock) as push:
        push._push()
    assert "$REQUESTS_CA_BUNDLE" in cause(caplog)


@pytest.mark.parametrize(
    "proxy",
    [
        f"http://ada:{SECRET}@127.0.0.1:{{port}}",
        f"http://ada:{SECRET}/x@127.0.0.1:{{port}}",
        f"http://ada:{SECRET}@:",
        f"ada:{SECRET}@127.0.0.1:x",
        f"socks5://ada:{SECRET}@127.0.0.1:{{port}}",
    ],
)
def test_credentials_of_a_proxy_are_not_told(
    proxy: str,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Proxies have passwords, too, and libraries name proxies that they cannot use."""
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HTTP_PROXY", proxy.format(port=nowhere()))
    with pushing(name(monkeypatch, "http://collector.invalid"), clock) as push:
        push._push()
    assert cause(caplog)


def test_refused_settings_are_told_without_secrets(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also what OpenTelemetry refuses to begin with."""
    environ = name(
        monkeypatch, "http://a", PROTOCOL="grpc", COMPRESSION=SECRET, HEADERS=f"x={SECRET}"
    )
    target = target_of(environ)
    assert target
    with pytest.raises(ConfigError) as caught:
        Sender(target)
    assert SECRET not in str(caught.value)
    said(caplog)


def test_words_are_hidden_as_they_may_be_written() -> None:
    """Escaped or not, quoted as in a program, whole or in parts; what is short stays."""
    environ = {
        "OTEL_EXPORTER_OTLP_HEADERS": "a=Bearer%20to%2Fken,b=with'quote\\slash,c=abc,nothing here",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "d=other",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "/etc/ca.pem",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": "/etc/ca.pem.key",
        "https_proxy": "proxyuser:pr%40xy@proxy.example:1",
    }
    words = hidden(environ, "metrics", "https://user:pass%2Fword@api.example/v1/api/key-1/v1/x")
    assert cleaned("Bearer to/ken to%2Fken here", words) == "(hidden) (hidden) (hidden) (hidden)"
    assert cleaned(repr("with'quote\\slash"), words) == '"(hidden)"'
    assert cleaned("user pass/word pass%2Fword proxyuser pr@xy", words) == " ".join(
        ["(hidden)"] * 5
    )
    assert cleaned("v1/api/key-1/v1/x: key-1", words) == "(hidden): (hidden)"
    assert cleaned("abc api.example other v1", words) == "abc api.example other v1"
    assert cleaned("/etc/ca.pem, /etc/ca.pem.key", words) == (
        "$OTEL_EXPORTER_OTLP_CERTIFICATE, $OTEL_EXPORTER_OTLP_CLIENT_KEY"
    )
    assert cleaned("anything", {}) == "anything"


@pytest.mark.slow
def test_process_says_nothing_of_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does anything else that the process writes, at the level that says most."""
    with HttpReceiver(status=401) as receiver, working(bench):
        endpoint = f"http://localhost:{receiver.port}{PATH}"
        receiver.name_in(
            monkeypatch,
            OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=endpoint,
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=endpoint,
            OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Bearer%20{SECRET},{SECRET}",
            OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=f"/nowhere/{SECRET}.pem",
        )
        with serve(bench, "--otlp.traces", "--log.level=debug") as served:
            wait_for(lambda: lines(served, FAILED))
            served.stop()
            assert SECRET not in served.log


@each_protocol
def test_each_cause_of_a_failure_is_told(
    protocol: str,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    A second failure has its own cause in the log, however soon it comes.

    OpenTelemetry's exporter for gRPC says the same sentence once in twenty seconds, with
    whatever is in it; the log then had that nobody could be reached.
    """
    with PROTOCOLS[protocol](status=401) as receiver:
        receiver.name_in(monkeypatch)
        with pushing(receiver.environment, clock) as push:
            for _ in range(3):
                push._push()
                clock.advance(ms=60_000)
    told = [vars(line)["err"] for line in caplog.records if line.getMessage() == FAILED]
    assert len(told) == 3
    assert len(set(told)) == 1
    assert re.search("401|no such key", told[0])
