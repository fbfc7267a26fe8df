"""Spans that a process sends."""

from __future__ import annotations

from harness.processes.served import Served
from harness.processes.work import Work, counts
from harness.waiting import wait_for

SPANS = "opencode_exporter_otlp_spans_total"
TRACES = "--otlp.traces"
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "100"}


def add(work: Work, served: Served, calls: int) -> None:
    """Let calls end that the exporter counts live."""
    wait_for(served.is_ready)
    counts(served, work.calls)
    work.happen_now()
    counts(served, work.add(calls))
