"""
An exporter in this process that sends spans to a receiver.

Nothing here knows what a test asserts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from harness.exporters import Bench
from harness.otlp.receivers import Receiver, Traced
from opencode_exporter.expose.otlp.span_push import Tracing
from opencode_exporter.expose.otlp.target import span_target_of
from opencode_exporter.service.exporter import Exporter


class TracedExporter:
    """An exporter whose live invocations become spans, as the environment says."""

    def __init__(self, bench: Bench, receiver: Receiver, **settings: Any) -> None:
        target = span_target_of(os.environ)
        assert target
        self.exporter: Exporter = bench.exporter(**settings)
        self.tracing = Tracing(
            target,
            self.exporter.ledger,
            self.exporter.settings.filters,
            self.exporter.settings.project_names,
            bench.clock,
            self.exporter.pushes,
        )
        self.tracing.start()
        self._receiver = receiver

    def poll(self) -> None:
        """Poll once."""
        self.exporter.poll()

    def close(self) -> None:
        """Send what waits and end; safe to call again."""
        self.tracing.stop(10)
        self.exporter.close()

    def spans(self) -> list[Span]:
        """End, and return all spans that arrived."""
        self.close()
        return spans_of(self._receiver.traced)


@contextmanager
def tracing(bench: Bench, receiver: Receiver, **settings: Any) -> Iterator[TracedExporter]:
    """Make an exporter that sends spans; it is closed when the block ends."""
    traced = TracedExporter(bench, receiver, **settings)
    try:
        yield traced
    finally:
        traced.close()


def spans_of(requests: Iterable[Traced]) -> list[Span]:
    """Return the spans of requests, in the order in which they arrived."""
    return [span for request in requests for span in spans_in(request.body)]


def spans_in(body: ExportTraceServiceRequest) -> Iterator[Span]:
    """Yield the spans of a request."""
    for of_resource in body.resource_spans:
        for of_scope in of_resource.scope_spans:
            yield from of_scope.spans
