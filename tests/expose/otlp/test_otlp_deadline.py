"""How long an endpoint can hold a push: not beyond the timeout, whatever it says and how."""

from __future__ import annotations

import gzip
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import grpc  # type: ignore[import-untyped]
import pytest
import trustme
from opentelemetry.sdk.trace.export import SpanExportResult

from harness.clock import FakeClock
from harness.otlp.push_lines import FAILED
from harness.otlp.raw_endpoints import speaking
from harness.otlp.slow_pushes import name, pushing
from harness.waiting import SOON_S
from opencode_exporter.expose.otlp.span_push import SpanSender
from opencode_exporter.expose.otlp.target import span_target_of

HEAD: Final = b"HTTP/1.1 200 OK\r\n"
SETTINGS: Final = b"\0\0\0\4\0\0\0\0\0"
PING: Final = b"\0\0\x08\6\0\0\0\0\0" + b"\0" * 8
SLOW: Final = {
    "nothing": (b"", b""),
    "the first line": (b"HTTP/1.", b"0"),
    "the reason": (HEAD[:-2], b"x"),
    "a header": (HEAD + b"X-A: ", b"x"),
    "header after header": (HEAD, b"A: b\r\n"),
    "one answer before the other": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the body": (HEAD + b"Content-Length: 100000\r\n\r\n", b"x"),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "the length of a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "what follows the chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"A: b\r\n"),
    "no length": (HEAD + b"\r\n", b"x"),
    "an error": (b"HTTP/1.1 503 No\r\nContent-Length: 99999\r\n\r\n", b"x"),
    "a redirect": (b"HTTP/1.1 307 No\r\nLocation: ", b"x"),
}
"""What an endpoint says at first, and then again and again."""


def ends(work: Callable[[], object]) -> bool:
    """Return whether work ends soon, and not when its endpoint goes."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(SOON_S)
    return not thread.is_alive()


@pytest.mark.parametrize("slow", SLOW)
def test_slow_endpoint_holds_no_push(
    slow: str,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Every part of an answer can come drop by drop: the push fails within its timeout.

    The timeout was one between two bytes, so that a byte now and then held it for ever.
    """
    first, again = SLOW[slow]
    with (
        speaking(first, again or b"", pause_s=0.05 if again else 3600) as port,
        pushing(name(monkeypatch, f"http://127.0.0.1:{port}"), clock) as push,
    ):
        assert ends(push._push)
        assert push.exports == {"ok": 0, "error": 1}
    (line,) = (vars(record) for record in caplog.records if record.getMessage() == FAILED)
    assert line["err"]


def test_slow_endpoint_holds_no_push_behind_tls(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same by TLS, of which each record has the least that it can have."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("localhost")
    with speaking(HEAD + b"X-A: ", b"x", certificate=certificate) as port:
        url = f"https://localhost:{port}"
        environ = name(monkeypatch, url, CERTIFICATE=str(tmp_path / "ca.pem"))
        with pushing(environ, clock) as push:
            assert ends(push._push)
            assert push.exports == {"ok": 0, "error": 1}


def test_slow_proxy_holds_no_push(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that has not done with its answer to CONNECT is not waited for either."""
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    with speaking(HEAD + b"X-A: ", b"x") as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        with pushing(name(monkeypatch, "https://collector.invalid"), clock) as push:
            assert ends(push._push)
            assert push.exports == {"ok": 0, "error": 1}


def test_slow_handshake_holds_no_push(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TLS record that never is whole: the handshake ends with the timeout."""
    with (
        speaking(b"\x16\x03\x03\x40\0", b"\2") as port,
        pushing(name(monkeypatch, f"https://127.0.0.1:{port}"), clock) as push,
    ):
        assert ends(push._push)
        assert push.exports == {"ok": 0, "error": 1}


def test_slow_endpoint_holds_no_push_over_grpc(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over gRPC a connection that goes on speaking has no answer in time either."""
    with (
        speaking(SETTINGS, PING) as port,
        pushing(name(monkeypatch, f"http://127.0.0.1:{port}", PROTOCOL="grpc"), clock) as push,
    ):
        assert ends(push._push)
        assert push.exports == {"ok": 0, "error": 1}


def test_slow_endpoint_holds_no_spans(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans have the same deadline."""
    results = []
    with speaking(HEAD + b"X-A: ", b"x") as port:
        target = span_target_of(name(monkeypatch, f"http://127.0.0.1:{port}"))
        assert target
        sender = SpanSender(target, clock, {})
        assert ends(lambda: results.append(sender.export([])))
        sender.close()
    assert results == [SpanExportResult.FAILURE]


@pytest.mark.slow
@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"gzip, gzip"])
def test_answer_is_not_unpacked(
    encoding: bytes, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small answer that would be a hundred megabytes stays a small one: nobody reads it."""
    packed = gzip.compress(b"\0" * 100_000_000, 9)
    assert len(packed) < 1 << 20
    length = str(len(packed)).encode()
    head = HEAD + b"Content-Encoding: " + encoding + b"\r\nContent-Length: " + length + b"\r\n\r\n"
    with (
        speaking(head + packed) as port,
        pushing(name(monkeypatch, f"http://127.0.0.1:{port}", TIMEOUT="10"), clock) as push,
    ):
        tracemalloc.start()
        try:
            push._push()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert push.exports == {"ok": 1, "error": 0}
    assert peak < 10_000_000


@pytest.mark.slow
def test_answer_is_not_unpacked_over_grpc(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is packed, and larger than a message may be, is an error there."""

    class Bomb(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, _details: object) -> object:
            def answer(_request: bytes, context: grpc.ServicerContext) -> bytes:
                context.set_compression(grpc.Compression.Gzip)
                return b"\0" * 100_000_000

            return grpc.unary_unary_rpc_method_handler(answer)

    options = [("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Bomb()], options=options)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        environ = name(monkeypatch, f"http://127.0.0.1:{port}", PROTOCOL="grpc", TIMEOUT="3")
        with pushing(environ, clock) as push:
            push._push()
            assert push.exports == {"ok": 0, "error": 1}
    finally:
        server.stop(None).wait()
