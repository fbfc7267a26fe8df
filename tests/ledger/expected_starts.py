"""
Since when series count, and when what they count happened first, as the oracle reads it.

Nothing here knows what a test asserts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from contract.oracle.model import Call, Row, Session
from contract.oracle.reading import read
from harness.clock import HOUR_MS
from harness.databases import V1
from harness.exporters import Bench
from harness.places import RECORDINGS
from harness.recordings import truth, unpack
from opencode_exporter import catalog as c
from opencode_exporter.counting.series import Labels
from opencode_exporter.expose.snapshot import Snapshot
from opencode_exporter.service.exporter import Exporter

NAMES = sorted(path.parent.name for path in RECORDINGS.glob("*/truth.json"))
Series = tuple[str, Labels]
Happened = dict[Series, int]
"""When what a series counts happened for the first time, Unix ms."""
NEW = "opencode_tool_usage_total"
"""A metric that shows no series before there is something to count."""


def first_events(*paths: Path) -> Happened:
    """Return the first event of many series of databases at rest, as the oracle reads them."""
    return {series: min(times) for series, times in event_times(*paths).items()}


def event_times(*paths: Path) -> dict[Series, list[int]]:
    """
    Return when what many series count happened, Unix ms, as the oracle reads it.

    A session is there with each of its messages, tokens with each step that used some.
    """
    found: dict[Series, list[int]] = defaultdict(list)
    for session in read(*paths):
        for row in session.rows:
            for series, at in _of_row(session, row):
                found[series].append(at)
    return found


def _of_row(session: Session, row: Row) -> Iterator[tuple[Series, int]]:
    if row.role:
        yield ("opencode_messages_total", (row.role, row.agent)), row.created
        yield ("opencode_sessions_total", (session.kind, session.project)), row.created
    if row.compaction:
        yield (c.COMPACTIONS.name, (row.compaction,)), row.created
    if row.kind != "step":
        return
    over = row.completed or row.created
    for kind, used in row.tokens.items():
        if used:
            yield ("opencode_tokens_total", (row.provider, row.model, kind)), over
    if row.finish:
        yield ("opencode_steps_total", (row.provider, row.model, row.finish)), over
    for call in row.calls:
        yield from _of_call(session, row, call)


def _of_call(session: Session, row: Row, call: Call) -> Iterator[tuple[Series, int]]:
    if call.ended is None:
        return  # it is over when it is given up, which the database does not show
    status = call.status
    where = (row.agent, session.project, status)
    yield ("opencode_tool_invocations_total", (call.tool, status)), call.ended
    yield ("opencode_tool_usage_total", (call.tool, *where)), call.ended
    if call.reason:
        yield ("opencode_tool_errors_total", (call.tool, call.reason)), call.ended


def started(moment: Snapshot) -> Happened:
    """Return the start of every series that counts, by metric and labels."""
    return {
        (metric.name, labels): moment.start_ms(metric, labels)
        for metric, series in moment.series.items()
        if metric.kind != "gauge"
        for labels in series
    }


def counting(moment: Snapshot) -> set[Series]:
    """Return the series that have counted something."""
    return {
        (metric.name, labels)
        for metric, series in moment.series.items()
        for labels, value in series.items()
        if value
    }


@contextmanager
def polled(bench: Bench, **settings: Any) -> Iterator[Exporter]:
    """Give an exporter that has polled once."""
    with closing(bench.exporter(**settings)) as exporter:
        exporter.poll()
        yield exporter


def recorded(name: str, bench: Bench) -> Bench:
    """Lay out a recording, a day after it was made."""
    unpack(name, bench.directory)
    bench.clock.ms = truth(name)["recorded_at_ms"] + 24 * HOUR_MS
    return bench


def called(bench: Bench, tool: str, at: int) -> None:
    """Write a call of 1.x that began at a time and took 20 ms, and let a second pass."""
    with V1(bench.source, ddl="" if bench.source.exists() else None, now=at - 3) as db:
        db.tool(db.message(db.session()), tool=tool, start=at, end=at + 20)
    bench.clock.ms = max(bench.clock.ms, at) + 1000
