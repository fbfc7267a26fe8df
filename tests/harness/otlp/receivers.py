"""
Real receivers of OTLP metrics and spans, over HTTP and gRPC, in threads of the test.

They speak by the protocol's own generated code, keep every request with its headers, and
can fail, hang, end, and begin again at their address. Nothing here knows what a
test asserts.
"""

from __future__ import annotations

import gzip
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple, Self

import grpc  # type: ignore[import-untyped]
import pytest
import trustme
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from harness.processes.ports import free_port
from harness.waiting import PATIENCE_S, wait_for


class Received(NamedTuple):
    """A request of metrics."""

    body: ExportMetricsServiceRequest
    headers: Mapping[str, str]


class Traced(NamedTuple):
    """A request of spans."""

    body: ExportTraceServiceRequest
    headers: Mapping[str, str]


@dataclass
class Receiver:
    """
    Takes exports while its block runs, and whenever it has been started.

    Attributes:
        certificate: What it shows, if it speaks TLS.
        status: What it answers, as an HTTP status; 200 takes what is sent.
        hangs: Whether it does not answer at all.
        location: Where its answers point to, if anywhere.
        cookie: What its answers ask to be sent back, if anything.
        rest: What follows the head of an answer, if not one of OTLP; it never is all.
        received: Every request of metrics so far.
        traced: Every request of spans so far.
    """

    certificate: trustme.LeafCert | None = None
    status: int = 200
    hangs: bool = False
    location: str = ""
    cookie: str = ""
    rest: Callable[[], bytes] | None = None
    port: int = field(default_factory=free_port)
    received: list[Received] = field(default_factory=list)
    traced: list[Traced] = field(default_factory=list)
    asked: int = 0
    protocol: str = ""

    def __post_init__(self) -> None:
        self._released = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        """What tells an exporter to push here, often, and not to try for long."""
        scheme = "https" if self.certificate else "http"
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"{scheme}://localhost:{self.port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": self.protocol,
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2",  # seconds, as the SDK for Python reads it
        }

    def name_in(self, environment: pytest.MonkeyPatch, **more: str) -> None:
        """Make the processes of a test push here."""
        for name, value in (self.environment | more).items():
            environment.setenv(name, value)

    def start(self) -> None:
        """Listen."""
        self._released.clear()

    def stop(self) -> None:
        """Go away; requests that hang are dropped."""
        self._released.set()

    def take(self, body: bytes, headers: Mapping[str, str], *, spans: bool = False) -> None:
        """Note a request; ``spans``: it is one of these."""
        self.asked += 1
        if self.hangs:
            self._released.wait(60)
        elif self.status == 200 and spans:
            self.traced.append(Traced(ExportTraceServiceRequest.FromString(body), headers))
        elif self.status == 200:
            self.received.append(Received(ExportMetricsServiceRequest.FromString(body), headers))

    def next(self, count: int = 1, seconds: float = PATIENCE_S) -> Received:
        """Wait for that many requests from now on; return the last of them."""
        wanted = len(self.received) + count
        wait_for(lambda: len(self.received) >= wanted, seconds)
        return self.received[wanted - 1]


class HttpReceiver(Receiver):
    """OTLP over HTTP, in protobuf."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.protocol = "http/protobuf"

    def start(self) -> None:
        """Listen."""
        super().start()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers["content-encoding"] == "gzip":
                    body = gzip.decompress(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                spans = "trace" in self.path
                receiver.take(body, {":path": self.path, **headers}, spans=spans)
                self.send_response(receiver.status)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                if receiver.cookie:
                    self.send_header("Set-Cookie", receiver.cookie)
                answer = ExportMetricsServiceResponse().SerializeToString()  # empty, for both
                self.send_header("Content-Length", str(1 << 40 if receiver.rest else len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                while receiver.rest and not receiver._released.is_set():
                    self.wfile.write(receiver.rest())

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients vanish
        if self.certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.certificate.configure_cert(context)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Go away; requests that hang are dropped."""
        super().stop()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class GrpcReceiver(Receiver):
    """OTLP over gRPC, by the service that is generated from the protocol's definition."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.protocol = "grpc"

    def start(self) -> None:
        """Listen."""
        super().start()
        receiver = self

        class Service(MetricsServiceServicer):
            def Export(self, request: ExportMetricsServiceRequest, context: Any) -> Any:  # noqa: N802
                headers = {name: str(value) for name, value in context.invocation_metadata()}
                receiver.take(request.SerializeToString(), headers)
                if receiver.status != 200:
                    context.abort(grpc.StatusCode.UNAUTHENTICATED, "no such key")
                return ExportMetricsServiceResponse()

        class SpanService(TraceServiceServicer):
            def Export(self, request: ExportTraceServiceRequest, context: Any) -> Any:  # noqa: N802
                headers = {name: str(value) for name, value in context.invocation_metadata()}
                receiver.take(request.SerializeToString(), headers, spans=True)
                if receiver.status != 200:
                    context.abort(grpc.StatusCode.UNAUTHENTICATED, "no such key")
                return ExportTraceServiceResponse()

        self._server = grpc.server(ThreadPoolExecutor(4))
        add_TraceServiceServicer_to_server(SpanService(), self._server)  # type: ignore[no-untyped-call]
        add_MetricsServiceServicer_to_server(Service(), self._server)  # type: ignore[no-untyped-call]
        address = f"127.0.0.1:{self.port}"
        if self.certificate:
            key = self.certificate.private_key_pem.bytes()
            chain = b"".join(blob.bytes() for blob in self.certificate.cert_chain_pems)
            credentials = grpc.ssl_server_credentials([(key, chain)])
            self._server.add_secure_port(address, credentials)
        else:
            self._server.add_insecure_port(address)
        self._server.start()

    def stop(self) -> None:
        """Go away; requests that hang are dropped."""
        super().stop()
        self._server.stop(None).wait(PATIENCE_S)


PROTOCOLS: Final = {"http": HttpReceiver, "grpc": GrpcReceiver}
each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)
