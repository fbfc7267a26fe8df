"""The sender: data points on their way to one endpoint."""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricExporter, MetricsData

from opencode_exporter.expose.otlp.link import Link
from opencode_exporter.expose.otlp.session import session

_POINTS: Final = 5000  # in a request: gRPC receivers refuse more than 4 MiB, unless told


class Sender(Link[MetricsData]):
    """Sends data points to a target.  One thread at a time may send."""

    def _over_http(self) -> MetricExporter:
        return OTLPMetricExporter(
            self._target.url,
            session=session(self._target.provider),
            max_export_batch_size=_POINTS,
        )

    def _over_grpc(self, compression: Any) -> MetricExporter:
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter  # noqa: PLC0415

        return metric_exporter.OTLPMetricExporter(
            self._target.url, compression=compression, max_export_batch_size=_POINTS
        )
