"""Spans of a working OpenCode, and their exemplars in a real Prometheus."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from contract.recorder import Dialect, Sandbox, scenes, turn_scenes
from harness.otlp.receivers import HttpReceiver
from harness.otlp.traced_exporter import spans_of
from harness.processes.prometheus import Prometheus
from harness.processes.served import Served
from harness.real_tools import real_opencode
from harness.waiting import wait_for

pytestmark = [pytest.mark.real]


def path_of(span: Span, spans: dict[bytes, Span]) -> tuple[str, ...]:
    """Return the names of the tools above a span, and its own."""
    own = (span.name.removeprefix("execute_tool "),)
    above = spans.get(span.parent_span_id)
    return (*path_of(above, spans), *own) if above is not None else own


@pytest.mark.parametrize("version", ["1.2.27", "1.18.33", "2.0.15"])
def test_subagents_of_a_working_opencode_are_below_their_calls(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it works each call names whom it started, so that no span is without its parent."""
    with (
        HttpReceiver() as receiver,
        Sandbox(real_opencode(version), tmp_path / "oc") as oc,
    ):
        receiver.name_in(monkeypatch, OTEL_BSP_SCHEDULE_DELAY="100")
        d = Dialect(oc.binary, oc.project)
        exporter = Served(
            oc.database, tmp_path / "exporter", "--otlp.traces", home=oc.root / "home"
        )
        oc.run(scenes.bulk(d, "before", 3))
        with (
            exporter,
            Prometheus(
                exporter.target, tmp_path / "prometheus", features=("exemplar-storage",)
            ) as prometheus,
        ):
            wait_for(exporter.is_ready)
            for top, *below in (turn_scenes.nested(d), turn_scenes.side_by_side(d)):
                oc.model.add(*below)
                oc.run(top)
            live = len(oc.model.issued) - 3
            wait_for(lambda: len(spans_of(receiver.traced)) >= live)
            prometheus.scraped(time.time(), times=2)  # the first shows new series at 0
            stored = prometheus.api(
                "query_exemplars",
                {
                    "query": "opencode_tool_duration_seconds_bucket",
                    "start": str(time.time() - 600),
                    "end": str(time.time() + 60),
                },
            )
        spans = {span.span_id: span for span in spans_of(receiver.traced)}
    assert Counter(path_of(span, spans) for span in spans.values()) == {
        ("skill",): 1,
        ("subagent",): 3,
        ("subagent", "skill"): 1,
        ("subagent", "subagent"): 1,
        ("subagent", "subagent", "shell"): 1,
        ("subagent", "shell"): 3,
    }
    traces = {span.trace_id.hex() for span in spans.values()}
    assert len(traces) == 2
    shown = {one["labels"]["trace_id"] for found in stored for one in found["exemplars"]}
    assert shown <= traces
    assert shown
