"""The sender of spans: what the batch processor of OpenTelemetry exports by."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from opencode_exporter.clock import Clock
from opencode_exporter.expose.otlp.link import Link
from opencode_exporter.expose.otlp.session import session
from opencode_exporter.expose.otlp.target import SpanTarget
from opencode_exporter.expose.otlp.troubles import Troubles

log = logging.getLogger(__name__)


class SpanSender(Link[Sequence[ReadableSpan]], SpanExporter):
    """
    Sends spans to a target.

    Attributes:
        spans: How many there were, by result: those that arrived, those that did not, and
            those that whoever sends has dropped.
    """

    def __init__(self, target: SpanTarget, clock: Clock) -> None:
        self.spans = {"ok": 0, "error": 0, "dropped": 0}
        self._troubles = Troubles(
            log, clock, target.shown, lost="spans did not arrive", over="spans arrive again"
        )
        super().__init__(target)

    def _over_http(self) -> SpanExporter:
        return OTLPSpanExporter(self._target.url, session=session(self._target.provider))

    def _over_grpc(self, compression: Any) -> SpanExporter:
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter  # noqa: PLC0415

        return trace_exporter.OTLPSpanExporter(self._target.url, compression=compression)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send some spans; they are not sent again."""
        cause = self.send(spans)
        self.tell(partial(self._troubles.ended, cause))
        self.spans["error" if cause else "ok"] += len(spans)
        return SpanExportResult.FAILURE if cause else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Send nothing more."""
        self.close()
