"""
A message may have thousands of calls, parts or files, and is read within the same bounds.

What is at hand at once is bounded by what it holds, not by the number of its rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from decode.messages_v1 import USED, put, read, step, table
from harness.clock import FakeClock
from harness.databases import V1, V2, call
from harness.exporters import Bench, exposed
from harness.pages import counted
from harness.rereading import forget_cursors
from opencode_exporter.chunk import Chunk
from opencode_exporter.clock import Patience
from opencode_exporter.counting.summary import SummedChunk
from opencode_exporter.events import Step, weight
from opencode_exporter.ledger.ledger import Ledger
from opencode_exporter.service import read_ahead, source_poll
from opencode_exporter.source.opencode.source import Source
from opencode_exporter.source.opencode.tables import message_parts_v1, stream_v1
from opencode_exporter.source.opencode.tables.table import WITHOUT_BOUNDS
from opencode_exporter.source.opencode.tailer import _WEIGHT, Tailer

EACH: Final = 3000


def steps_v2(path: Path, rows: int, calls: int) -> None:
    """Write steps of 2.x with so many calls."""
    with V2(path) as database, database.db:
        session = database.session()
        for row in range(rows):
            database.assistant(session, [call(f"call_{row}_{number}") for number in range(calls)])


def chunks(path: Path, clock: FakeClock) -> list[Chunk]:
    """Return what a first read yields."""
    tailer = Tailer(clock, Patience(clock, 1000))
    with Source(path, "").open() as reader:
        return [*tailer.read(reader, tailer.ahead(reader, {}), ())]


def test_few_steps_with_many_calls_are_in_memory_at_once(bench: Bench) -> None:
    """A hundred rows of a megabyte, each with 7 500 calls, took 300 MB."""
    steps_v2(bench.source, 8, EACH)
    bench.clock.advance(hours=100)
    found = chunks(bench.source, bench.clock)
    assert sum(len(chunk.events) for chunk in found) == 8 * (EACH + 1)
    assert max(sum(map(weight, chunk.events)) for chunk in found) <= _WEIGHT + 2 * EACH + 1


@pytest.mark.slow
def test_a_batch_is_bounded_by_its_events(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was by its rows alone: their keys and sums waited for the commit, all of them."""
    monkeypatch.setattr(source_poll, "_COMMIT_ROWS", 100)
    steps_v2(bench.source, 8, EACH)
    bench.clock.advance(hours=100)
    waiting: list[int] = []
    commit = Ledger.commit

    def noted(ledger: Ledger) -> None:
        waiting.append(len(ledger._batch.admission.seen))
        commit(ledger)

    monkeypatch.setattr(Ledger, "commit", noted)
    exporter = bench.exporter()
    exporter.poll()
    assert counted(exposed(exporter)) == {("read", "completed"): 8 * EACH}
    exporter.close()
    assert max(waiting) < 4 * (EACH + 2)


@pytest.mark.slow
def test_a_summary_is_bounded_by_its_events(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of a thousand messages was one; those that read ahead took 240 MB."""
    monkeypatch.setattr(source_poll, "WORTH_IT_ROWS", 1)
    steps_v2(bench.source, 40, 600)
    bench.clock.advance(hours=100)
    held: list[int] = []
    apply = Ledger.apply

    def noted(ledger: Ledger, source: str, chunk: Chunk) -> None:
        if isinstance(chunk, SummedChunk):
            held.append(sum(map(weight, chunk.summary.rows)))
        apply(ledger, source, chunk)

    monkeypatch.setattr(Ledger, "apply", noted)
    for _ in range(2):  # a second time each summary is known, and read again event by event
        exporter = bench.exporter()
        exporter.poll()
        page = exposed(exporter)
        assert counted(page) == {("read", "completed"): 40 * 600}
        assert page.total("opencode_messages_total") == 40
        exporter.close()
        forget_cursors(bench.ledger)
    assert len(held) >= 2
    assert max(held) <= read_ahead._SUMMED


def heavy_v1(database: V1, messages: int, parts: int, **more: Any) -> list[str]:
    """Write steps of 1.x with so many calls, each with tokens at its end."""
    written = []
    for number in range(messages):
        message = step(database, finish="tool-calls")
        put(database, message, type="step-start")
        for part in range(parts):
            database.tool(message, call=f"call_{number}_{part}", **more)
        put(database, message, type="step-finish", reason="tool-calls", tokens=USED, cost=0.25)
        written.append(message)
    return written


def test_messages_with_large_parts_are_read_a_few_at_a_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts of 64 messages were at hand together, with all that is asked of their inputs."""
    with V1(bench.source) as database, database.db:
        heavy_v1(database, 20, 3, input={"filePath": "a.py", "content": "x" * 4000})
    bench.clock.advance(hours=100)
    whole = read(bench.source, bench.clock).events
    asked: list[int] = []
    portion = message_parts_v1.MessageParts._of

    def noted(self: message_parts_v1.MessageParts, ids: list[str]) -> Any:
        found = portion(self, ids)
        asked.append(found.bytes)
        return found

    monkeypatch.setattr(message_parts_v1.MessageParts, "_of", noted)
    monkeypatch.setattr(message_parts_v1, "WHOLE_BYTES", 30_000)
    names = [event.message for event in whole if isinstance(event, Step)]
    with table(bench.source, bench.clock) as messages:
        assert messages.read_again(names).chunk.events == whole
    assert len(whole) == 20
    assert max(asked) <= 45_000


def test_of_more_parts_than_a_message_can_have_the_calls_count(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a step says of them is cut; its tokens come last, and are whole."""
    monkeypatch.setattr(message_parts_v1, "MOST", 50)
    monkeypatch.setattr(stream_v1, "MOST", 50)
    with V1(bench.source) as database, database.db:
        heavy_v1(database, 1, 120)
    bench.clock.advance(hours=100)
    (event,) = read(bench.source, bench.clock).events
    assert isinstance(event, Step)
    assert len(event.calls) == 49  # before them the step began
    assert event.tokens.input == USED["input"]
    assert event.is_over
    exporter = bench.exporter()
    exporter.poll()
    assert counted(exposed(exporter)) == {("read", "completed"): 120}
    exporter.close()


def test_rows_that_are_read_again_come_some_at_a_time(bench: Bench) -> None:
    """Five hundred rows that moved were one chunk, whatever they held."""
    with V1(bench.source) as database, database.db:
        session = database.session()
        for _ in range(130):
            database.message(session, role="user")
    bench.clock.ms = database.now + 1000
    with table(bench.source, bench.clock) as messages:
        names = [row.row for row in messages.read_after(0, WITHOUT_BOUNDS, {}).chunk.open_rows]
    tailer = Tailer(bench.clock, Patience(bench.clock, 1000))
    with Source(bench.source, "").open() as reader:
        found = [*tailer.again(reader, {"message": names})]
    assert sum(len(chunk.events) for chunk in found) == 130
    assert max(len(chunk.events) for chunk in found) <= 50
