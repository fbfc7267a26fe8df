"""What becomes a span, of what happens in real recordings while the exporter looks on."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable

import apsw
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from harness.exporters import Bench
from harness.otlp.published_rules import attributes_of
from harness.otlp.receivers import HttpReceiver
from harness.otlp.traced_exporter import TracedExporter, spans_of
from harness.places import RECORDINGS
from harness.recordings import unpack
from harness.replaying import Replay
from opencode_exporter import catalog as c
from opencode_exporter.counting.series import Histogram, Labels
from opencode_exporter.service.exporter import Exporter

NAMES = sorted(path.parent.name for path in RECORDINGS.glob("*/truth.json"))
NS_PER_MS = 1_000_000


def replayed(name: str, bench: Bench, receiver: HttpReceiver, restarts: float) -> Exporter:
    """Replay a recording before an exporter that sends spans; return the last that ran."""
    chance = random.Random(name)  # noqa: S311  # of a test
    replay = Replay(unpack(name, bench.directory / "old"), bench.source)
    moves = replay.moves()
    bench.clock.ms = moves[0].at
    traced = TracedExporter(bench, receiver)
    traced.poll()
    for move in moves:
        bench.clock.ms = max(bench.clock.ms, move.at)
        move.write()
        if chance.random() < 0.5:
            traced.poll()
        if chance.random() < restarts:
            traced.close()
            traced = TracedExporter(bench, receiver)
    replay.close()
    traced.poll()
    bench.clock.advance(hours=24)
    traced.poll()
    traced.close()
    return traced.exporter


def times_of(spans: Iterable[Span]) -> dict[Labels, list[int]]:
    """Return how long spans took, ms, by tool and status."""
    found: defaultdict[Labels, list[int]] = defaultdict(list)
    for span in spans:
        facts = attributes_of(span.attributes)
        took = (span.end_time_unix_nano - span.start_time_unix_nano) // NS_PER_MS
        found[facts["gen_ai.tool.name"], facts["opencode.status"]].append(took)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_spans_are_what_the_histogram_counts(
    name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over polls and restarts, each measured invocation is one span, and of its duration."""
    with HttpReceiver() as receiver:
        receiver.name_in(monkeypatch)
        exporter = replayed(name, bench, receiver, 0.05)
        spans = spans_of(receiver.traced)
    counted = exporter.ledger.published.series[c.TOOL_DURATION.name]
    assert {
        labels: [len(times), sum(times)]
        for labels, times in times_of(spans).items()
        if labels[1] in ("completed", "error")
    } == {
        labels: [held.count, held.total]
        for labels, held in counted.items()
        if isinstance(held, Histogram)
    }
    assert len({span.span_id for span in spans}) == len(spans) > 10


_CALLS = {
    "session": "SELECT session_id, count(*) FROM part WHERE data ->> 'type' = 'tool' "
    "AND data ->> '$.state.time.end' IS NOT NULL GROUP BY 1",
    "session_v2": "SELECT session_id, sum((SELECT count(*) FROM json_each(data, '$.content') "
    "WHERE value ->> '$.time.completed' IS NOT NULL)) FROM session_message GROUP BY 1",
}
"""What says how many calls have ended in each session, by the table of these."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sessions"),
    [
        ("turns-1.2.27", "session"),
        ("turns-1.18.33", "session"),
        ("turns-2.0.15", "session_v2"),
    ],
)
def test_session_and_its_subagents_are_one_trace(
    name: str, sessions: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many traces as topmost sessions; below a sub-agent's call is all that it did."""
    with HttpReceiver() as receiver:
        receiver.name_in(monkeypatch)
        replayed(name, bench, receiver, 0)
        spans = spans_of(receiver.traced)
    database = apsw.Connection(str(bench.source))
    sql = f"SELECT id, parent_id FROM {sessions} WHERE parent_id IS NOT NULL"
    above = {str(child): str(parent) for child, parent in database.execute(sql)}
    calls: Counter[str] = Counter()
    for session, count in database.execute(_CALLS[sessions]):
        calls[str(session)] += count if isinstance(count, int) else 0
    calls = +calls
    database.close()
    roots = set(calls)
    while below := roots & above.keys():
        roots = roots - below | {above[session] for session in below}
    assert len({span.trace_id for span in spans}) == len(roots)
    delegated = [span for span in spans if span.parent_span_id]
    assert len(delegated) == sum(calls[session] for session in above) > 0
    by_id = {(span.trace_id, span.span_id): span for span in spans}
    for span in delegated:
        caller = by_id[span.trace_id, span.parent_span_id]
        assert caller.name == "execute_tool subagent"
        assert caller.start_time_unix_nano <= span.start_time_unix_nano
        assert span.end_time_unix_nano <= caller.end_time_unix_nano
