"""Pushes by a process, and what has arrived."""

from __future__ import annotations

import json
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from harness.otlp.published_rules import pushed
from harness.processes.served import Served
from harness.processes.work import CALLS

EXPORTS = "opencode_exporter_otlp_exports_total"


def lines(served: Served, text: str) -> list[dict[str, Any]]:
    """Return the lines of the log with a message."""
    found = [json.loads(line) for line in served.log.splitlines() if line.startswith("{")]
    return [line for line in found if line["msg"] == text]


def calls_of(body: ExportMetricsServiceRequest) -> float:
    """Return how many calls a request says have ended."""
    return sum(value for (name, _), value in pushed(body).items() if name == CALLS)
