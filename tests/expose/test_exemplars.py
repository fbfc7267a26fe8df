"""Exemplars: on OpenMetrics pages, the trace of the latest invocation in each bucket."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Exemplar

from harness.databases import V1
from harness.exporters import Bench
from harness.otlp.receivers import HttpReceiver
from harness.otlp.traced_exporter import TracedExporter, tracing
from opencode_exporter.expose.filters import Filters, NameFilter

Found = dict[tuple[str, str, str], Exemplar]


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpReceiver]:
    """A receiver that the environment of this test names."""
    with HttpReceiver() as running:
        running.name_in(monkeypatch)
        yield running


@pytest.fixture
def v1(bench: Bench) -> Iterator[V1]:
    """A database of 1.x with a call in it from before the exporter began."""
    with V1(bench.source) as database:
        database.tool(database.message(database.session()), tool="read")
        yield database


def calls(bench: Bench, database: V1, *took_ms: int, tool: str = "read", name: str = "") -> None:
    """Write calls that end now, after so long."""
    message = database.message(database.session())
    for place, ms in enumerate(took_ms):
        start = max(database.now, bench.clock.ms) + 1000
        given: dict[str, Any] = {"input": {"name": name}} if name else {}
        database.tool(
            message, call=f"call_{place}", tool=tool, start=start, end=start + ms, **given
        )
        bench.clock.ms = start + ms + 1000


def page(traced: TracedExporter, accept: str = CONTENT_TYPE_LATEST) -> str:
    """Return the page as it is served."""
    return traced.exporter.pages.metrics(accept, process=False).body.decode()


def exemplars(text: str) -> Found:
    """Return the exemplars of a page, by metric, tool or skill, and bucket."""
    families: Iterable[Metric] = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return {
        (family.name, sample.labels.get("tool") or sample.labels["skill"], sample.labels["le"]): (
            sample.exemplar
        )
        for family in families
        for sample in family.samples
        if sample.exemplar
    }


def test_bucket_has_the_latest_invocation_of_its_span(
    bench: Bench, v1: V1, receiver: HttpReceiver
) -> None:
    """Ids are those of the span, value and time those of the invocation; others stay."""
    with tracing(bench, receiver) as traced:
        traced.poll()
        assert not exemplars(page(traced))
        calls(bench, v1, 5, 500)
        traced.poll()
        first = exemplars(page(traced))
        calls(bench, v1, 400)
        traced.poll()
        second = exemplars(page(traced))
        spans = traced.spans()
    fast, slow = (("opencode_tool_duration_seconds", "read", le) for le in ("0.01", "0.64"))
    assert set(first) == set(second) == {fast, slow}
    assert first[fast] == second[fast]
    for found, span in ((first[fast], 0), (first[slow], 1), (second[slow], 2)):
        sent = spans[span]
        assert found.labels == {
            "trace_id": sent.trace_id.hex(),
            "span_id": sent.span_id.hex(),
        }
        assert found.timestamp is not None
        assert round(float(found.timestamp) * 1000) == sent.end_time_unix_nano // 10**6
    assert [first[slow].value, second[slow].value] == [0.5, 0.4]


def test_skill_loads_have_exemplars_of_their_own(
    bench: Bench, v1: V1, receiver: HttpReceiver
) -> None:
    """A load is in the histogram of the tool and in that of the skill, with one span."""
    with tracing(bench, receiver) as traced:
        traced.poll()
        calls(bench, v1, 20, tool="skill", name="deploy")
        traced.poll()
        found = exemplars(page(traced))
    assert {(metric, name) for metric, name, _ in found} == {
        ("opencode_tool_duration_seconds", "skill"),
        ("opencode_skill_duration_seconds", "deploy"),
    }
    assert len({tuple(one.labels.items()) for one in found.values()}) == 1


def test_page_differs_in_exemplars_alone(bench: Bench, v1: V1, receiver: HttpReceiver) -> None:
    """The text format has none, and without them an OpenMetrics page is as it would be."""
    with tracing(bench, receiver) as traced:
        traced.poll()
        calls(bench, v1, 5, 500)
        traced.poll()
        text, with_them = page(traced, "text/plain"), page(traced)
        for series in traced.exporter.pushes.exemplars._latest.values():
            series.clear()
        without = page(traced)
    assert " # {" not in text + without
    assert re.sub(r" # \{.*", "", with_them) == without


def test_exemplar_of_what_is_left_out_is_left_out(
    bench: Bench, v1: V1, receiver: HttpReceiver
) -> None:
    """Neither a tool nor a skill that is hidden comes back by its exemplars."""
    hidden = NameFilter(exclude=re.compile("read|deploy"))
    with tracing(bench, receiver, filters=Filters(tool=hidden, skill=hidden)) as traced:
        traced.poll()
        calls(bench, v1, 5)
        calls(bench, v1, 5, tool="skill", name="deploy")
        traced.poll()
        found = exemplars(page(traced))
    assert [name for _, name, _ in found] == ["skill"]


def test_there_are_none_without_spans(bench: Bench, v1: V1) -> None:
    """A page of an exporter that sends none has no trace on it."""
    exporter = bench.exporter()
    exporter.poll()
    calls(bench, v1, 5)
    exporter.poll()
    assert " # {" not in exporter.pages.metrics(CONTENT_TYPE_LATEST).body.decode()
    exporter.close()
