"""Which invocations become spans, what these say, and what is never in them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from harness.databases import V1, V2, call
from harness.exporters import Bench, exposed
from harness.otlp.published_rules import attributes_of
from harness.otlp.receivers import PROTOCOLS, Receiver, each_protocol
from harness.otlp.traced_exporter import spans_of, tracing
from opencode_exporter.errors import LedgerError
from opencode_exporter.expose.filters import Filters, NameFilter
from opencode_exporter.ledger.store import Store

SPANS = "opencode_exporter_otlp_spans_total"


@pytest.fixture
def protocol() -> str:
    """By which a test sends where it does not matter."""
    return "http"


@pytest.fixture
def receiver(protocol: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that the environment of this test names."""
    with PROTOCOLS[protocol]() as running:
        running.name_in(monkeypatch)
        yield running


@pytest.fixture
def v1(bench: Bench) -> Iterator[V1]:
    """A database of 1.x with a call in it from before the exporter began."""
    with V1(bench.source) as database:
        database.tool(database.message(database.session()), tool="grep")
        yield database


def now(bench: Bench, database: V1 | V2) -> None:
    """Let what is written next happen after the baseline, and be over at the next poll."""
    database.now = bench.clock.ms + 1000
    bench.clock.advance(ms=60_000)


def one(spans: list[Span]) -> Span:
    """Return the only span."""
    (span,) = spans
    return span


@each_protocol
def test_span_has_the_words_of_the_conventions(bench: Bench, v1: V1, receiver: Receiver) -> None:
    """Name, kind, attributes, status and times of a call that failed, by both protocols."""
    with tracing(bench, receiver) as traced:
        traced.poll()
        now(bench, v1)
        message = v1.message(v1.session())
        v1.tool(message, tool="bash", status="error", error="Transport error", start=v1.now + 7)
        traced.poll()
        span = one(traced.spans())
    assert (span.name, span.kind) == ("execute_tool shell", Span.SPAN_KIND_INTERNAL)
    assert attributes_of(span.attributes) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "shell",
        "gen_ai.agent.name": "build",
        "error.type": "network",
        "opencode.status": "error",
        "opencode.project": "demo",
    }
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert span.end_time_unix_nano - span.start_time_unix_nano == 500 * 10**6
    assert span.start_time_unix_nano % 10**6 == 0
    assert not span.parent_span_id


def test_span_of_a_skill_load_names_the_skill(bench: Bench, v1: V1, receiver: Receiver) -> None:
    """The skill's name is there once it is real; what a model made up is `_unknown`."""
    with tracing(bench, receiver) as traced:
        traced.poll()
        now(bench, v1)
        message = v1.message(v1.session())
        for name, status in (("real", "completed"), ("made-up", "error")):
            v1.tool(message, call=name, tool="skill", status=status, input={"name": name})
        traced.poll()
        spans = [attributes_of(span.attributes) for span in traced.spans()]
    assert [(span["opencode.status"], span["gen_ai.skill.name"]) for span in spans] == [
        ("completed", "real"),
        ("error", "_unknown"),
    ]


def test_wait_for_permission_is_before_the_span(bench: Bench, receiver: Receiver) -> None:
    """A span of 2.x begins when its call ran, as the duration does."""
    with V2(bench.source) as database, tracing(bench, receiver) as traced:
        traced.poll()
        now(bench, database)
        at = database.now
        calls = [call(created=at, ran=at + 900, completed=at + 1000)]
        database.assistant(database.session(), calls)
        bench.clock.advance(ms=5000)
        traced.poll()
        span = one(traced.spans())
    assert span.start_time_unix_nano == (at + 900) * 10**6
    assert span.end_time_unix_nano == (at + 1000) * 10**6


def test_history_copies_and_what_never_ended_are_no_spans(
    bench: Bench, v1: V1, receiver: Receiver
) -> None:
    """Of a history, its fork, an abandoned call and one end the last alone is a span."""
    with tracing(bench, receiver) as traced:
        traced.poll()
        now(bench, v1)
        session = v1.session()
        v1.tool(v1.message(session), tool="glob", status="running")
        v1.tool(v1.message(session), tool="read")
        v1.fork(session)
        traced.poll()
        bench.clock.advance(hours=24)
        traced.poll()
        page = exposed(traced.exporter)
        assert page.value("opencode_tool_invocations_total", tool="glob", status="abandoned") == 1
        assert one(traced.spans()).name == "execute_tool read"


def test_what_was_before_the_baseline_is_none_though_it_counts_later(
    bench: Bench, v1: V1, receiver: Receiver
) -> None:
    """A session that is imported counts, but its spans would be of a time long gone."""
    with tracing(bench, receiver) as traced:
        traced.poll()
        v1.tool(v1.message(v1.session()), tool="read")
        traced.poll()
        page = exposed(traced.exporter)
        assert page.value("opencode_tool_invocations_total", tool="read", status="completed") == 1
        assert not traced.spans()


def test_what_ended_while_it_was_down_is_sent_once(
    bench: Bench, v1: V1, receiver: Receiver
) -> None:
    """A start sends what it counts, and no start sends it again."""
    with tracing(bench, receiver) as traced:
        traced.poll()
    now(bench, v1)
    v1.tool(v1.message(v1.session()), tool="read")
    for _ in range(2):
        with tracing(bench, receiver) as traced:
            traced.poll()
    assert one(spans_of(receiver.traced)).name == "execute_tool read"


@pytest.mark.parametrize("again", [False, True])
def test_span_is_sent_after_its_commit(
    again: bool, bench: Bench, v1: V1, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that cannot be written sends nothing; read again, it sends each span once."""
    with tracing(bench, receiver) as traced:
        traced.poll()
        now(bench, v1)
        v1.tool(v1.message(v1.session()), tool="read")

        def full(*_: Any) -> None:
            raise LedgerError("no room", hint="make some")

        with monkeypatch.context() as broken:
            broken.setattr(Store, "write", full)
            traced.poll()
        if again:
            traced.poll()
        assert [span.name for span in traced.spans()] == ["execute_tool read"] * again


def test_ids_are_the_same_for_the_same_and_no_plain_hash(
    bench: Bench, v1: V1, receiver: Receiver
) -> None:
    """Calls of a session share a trace; whoever knows its id cannot tell by the trace."""
    with tracing(bench, receiver) as traced:
        traced.poll()
        now(bench, v1)
        session = v1.session()
        for name in ("read", "grep"):
            v1.tool(v1.message(session), tool=name)
            traced.poll()
        first, second = traced.spans()
    assert first.trace_id == second.trace_id
    assert first.span_id != second.span_id
    for digest in ("blake2b", "sha256", "md5"):
        assert first.trace_id != hashlib.new(digest, f"t {session}".encode()).digest()[:16]


def test_subagent_asked_again_has_the_call_that_asked(
    bench: Bench, v1: V1, receiver: Receiver
) -> None:
    """Of two calls of one sub-agent, each has the work that it caused, even while it runs."""
    with tracing(bench, receiver) as traced:
        traced.poll()
        now(bench, v1)
        session = v1.session()
        child = v1.session(parent=session)
        metadata = {"sessionId": child}
        for number in range(2):
            task = v1.tool(
                v1.message(session),
                call=f"call_{number}",
                tool="task",
                status="running",
                metadata=metadata,
            )
            traced.poll()
            v1.tool(v1.message(child), tool="read")
            bench.clock.ms = max(bench.clock.ms, v1.now + 1000)
            traced.poll()
            v1.rewrite(task, status="completed", metadata=metadata)
            v1.now += 600
            bench.clock.ms = max(bench.clock.ms, v1.now + 1000)
            traced.poll()
        spans = traced.spans()
    assert [span.name for span in spans] == ["execute_tool read", "execute_tool subagent"] * 2
    assert len({span.trace_id for span in spans}) == 1
    assert [spans[0].parent_span_id, spans[2].parent_span_id] == [
        spans[1].span_id,
        spans[3].span_id,
    ]


@pytest.mark.parametrize(
    ("settings", "projects"),
    [
        ({"project_names": "name"}, {"demo"}),
        ({"project_names": "off"}, {None}),
        ({"project_names": "hash"}, None),
    ],
)
def test_project_is_shown_as_the_metrics_show_it(
    settings: Any, projects: Any, bench: Bench, v1: V1, receiver: Receiver
) -> None:
    """By name, as the same hash, or not at all."""
    with tracing(bench, receiver, **settings) as traced:
        traced.poll()
        now(bench, v1)
        v1.tool(v1.message(v1.session()), tool="read")
        traced.poll()
        page = exposed(traced.exporter)
        shown = {project for (project,) in page.by("opencode_tool_usage_total", "project")}
        found = {attributes_of(one(traced.spans()).attributes).get("opencode.project")}
    assert found == (projects or shown)


def test_what_is_left_out_of_the_page_is_left_out_of_the_spans(
    bench: Bench, v1: V1, receiver: Receiver
) -> None:
    """An excluded tool has no span, and a load of an excluded skill does not name it."""
    hidden = NameFilter(exclude=re.compile("secret.*"))
    with tracing(bench, receiver, filters=Filters(tool=hidden, skill=hidden)) as traced:
        traced.poll()
        now(bench, v1)
        message = v1.message(v1.session())
        v1.tool(message, call="1", tool="secret_tool")
        v1.tool(message, call="2", tool="skill", input={"name": "secret-skill"})
        traced.poll()
        span = one(traced.spans())
    assert span.name == "execute_tool skill"
    assert "secret" not in str(span)


def test_names_beyond_the_limit_are_other(bench: Bench, v1: V1, receiver: Receiver) -> None:
    """A span has the label that the metrics have: its tool's name, or `_other`."""
    with tracing(bench, receiver) as traced:
        traced.poll()
        now(bench, v1)
        message = v1.message(v1.session())
        for number in range(120):
            v1.tool(message, call=f"call_{number}", tool=f"tool_{number}")
        bench.clock.ms = v1.now + 1000
        traced.poll()
        page = exposed(traced.exporter)
        spans = [attributes_of(span.attributes) for span in traced.spans()]
    counted = page.by("opencode_tool_invocations_total", "tool")
    named = [span["gen_ai.tool.name"] for span in spans]
    assert {name: named.count(name) for name in named} == {
        name: count for (name,), count in counted.items() if name != "grep"
    }
    assert named.count("_other") > 20


def test_spans_that_find_no_room_are_dropped_and_counted(
    bench: Bench, v1: V1, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the endpoint hangs, the queue takes what it holds; results are on the page."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "600")
    receiver.hangs = True
    with tracing(bench, receiver) as traced:
        traced.poll()
        now(bench, v1)
        message = v1.message(v1.session())
        for number in range(1000):
            v1.tool(message, call=f"call_{number}", tool="read", start=v1.now, end=v1.now)
        bench.clock.ms = v1.now + 1000
        traced.poll()
        page = exposed(traced.exporter)
        assert page.value(SPANS, result="dropped") == 400
        receiver.hangs = False
        receiver.stop()
        receiver.start()
        traced.close()
        results = traced.tracing.spans
    assert results["ok"] + results["error"] == 600
    assert results["ok"] == len(spans_of(receiver.traced)) > 0
