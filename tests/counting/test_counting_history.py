"""What lies before the baseline counts or is skipped as told, and what comes late says so."""

from __future__ import annotations

import pytest

from counting.copied_sessions import BOTH, Generation, copies, start, work
from harness.databases import V1, V2, call
from harness.exporters import Bench
from harness.pages import CALLS, counted, polled, running
from harness.rereading import forget_cursors
from opencode_exporter.chunk import Chunk
from opencode_exporter.source.opencode import tailer

CATCHING_UP = "opencode_exporter_catching_up"
REJECTED = "opencode_exporter_rows_rejected_total"


@BOTH
def test_skipped_history_starts_at_zero(bench: Bench, generation: Generation) -> None:
    """With `--history=skip` only what ends after the baseline counts, and no copy of the rest."""
    exporter = bench.exporter(history="skip")
    with generation(bench.source) as db:
        session = db.session()
        work(db, session, "call_1", "call_2", tool="demo_tool")
        end = start(db, db.session())
        page = polled(exporter)
        assert (counted(page), running(page)) == ({}, 1)
        assert page.value(CALLS, tool="demo_tool", status="completed") == 0
        fork = db.fork(session)
        page = polled(exporter)
        assert (counted(page), copies(page)) == ({}, 2)
        work(db, fork, "call_1")
        end()
        page = polled(exporter)
        assert (counted(page), running(page)) == ({("read", "completed"): 2}, 0)
        exporter.close()
        exporter = bench.exporter(history="skip")
        work(db, fork, "call_3")
        page = polled(exporter)
        assert counted(page) == {("read", "completed"): 3}
    exporter.close()
    forget_cursors(bench.ledger)
    exporter = bench.exporter(history="skip")
    assert counted(polled(exporter)) == {("read", "completed"): 3}
    exporter.close()


@pytest.mark.parametrize("damaged", [False, True])
def test_skipping_outlives_a_restart_within_the_first_read(bench: Bench, damaged: bool) -> None:
    """An exporter that was to skip the history, and died reading it, does not count it later."""
    if damaged:  # a damaged ledger is kept aside, and counting starts at zero from now
        bench.ledger.parent.mkdir(parents=True)
        bench.ledger.write_bytes(b"no ledger" * 100)
    exporter = bench.exporter(history="count" if damaged else "skip")
    exporter.close()
    with V1(bench.source) as db:
        session = db.session()
        work(db, session, "call_1", "call_2")
        exporter = bench.exporter()
        assert counted(polled(exporter)) == {}
        work(db, session, "call_3")
        assert counted(polled(exporter)) == {("read", "completed"): 1}
    exporter.close()


def test_skill_of_a_skipped_history_is_known_and_reloaded(bench: Bench) -> None:
    """A skipped load makes its skill's name real, and the next one in its session a reload."""
    exporter = bench.exporter(history="skip")
    with V2(bench.source) as db:
        session = db.session()
        load = call(name="skill", input={"id": "commit"}, metadata={"name": "commit"})
        db.assistant(session, [load])
        page = polled(exporter)
        assert page.value("opencode_skill_invocations_total", skill="commit", status="error") == 0
        assert page.total("opencode_skill_invocations_total") == 0
        db.skill_row(session, "commit")
        page = polled(exporter)
        assert page.value("opencode_skill_reloads_total", skill="commit") == 1
        assert page.total("opencode_skill_sessions_total") == 0
    exporter.close()


@pytest.mark.parametrize(("minutes", "says"), [(14, 0), (16, 1)])
def test_calls_that_ended_long_ago_say_catching_up(bench: Bench, minutes: int, says: int) -> None:
    """After a downtime the first polls are marked, when they bring calls that ended long ago."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        work(db, db.session(), "call_1")
        page = polled(exporter)  # history of nearly three hours ago, before the baseline
        assert page.value(CATCHING_UP) == 0
        exporter.close()
        work(db, db.session(), "call_2")
        bench.clock.ms = db.now + minutes * 60_000
        exporter = bench.exporter()
        assert polled(exporter).value(CATCHING_UP) == says
        bench.clock.advance(ms=5 * 60_000)
        db.now = bench.clock.ms - 10_000
        work(db, db.session(), "call_3")
        page = polled(exporter)
        assert page.value(CATCHING_UP) == 0
        assert counted(page) == {("read", "completed"): 3}
    exporter.close()


@pytest.mark.parametrize("kind", ["step", "load"])
def test_steps_and_loads_of_long_ago_say_catching_up(bench: Bench, kind: str) -> None:
    """What ends without an invocation, a step of the model or a load by the user, says so too."""
    exporter = bench.exporter()
    with V2(bench.source) as db:
        session = db.session()
        work(db, session, "call_1")
        polled(exporter)
        exporter.close()
        if kind == "step":
            work(db, session)
        else:
            db.user(session, skills=("commit",))
        bench.clock.ms = db.now + 20 * 60_000
        exporter = bench.exporter()
        assert polled(exporter).value(CATCHING_UP) == 1
    exporter.close()


def test_nothing_that_counts_is_shown_before_the_baseline(bench: Bench) -> None:
    """Until the history is in, no count of it is exposed; then it arrives whole."""
    exporter = bench.exporter()
    assert not exporter.ledger.baseline_ms
    exporter.poll()  # there is no database yet
    with V1(bench.source) as db:
        work(db, db.session(), "call_1")
        exporter.poller.stop()
        page = polled(exporter)
        assert CALLS not in page.samples
        assert "opencode_exporter_baseline_timestamp_seconds" not in page.samples
        exporter.poller.stopping.clear()
        page = polled(exporter)
    assert counted(page) == {("read", "completed"): 1}
    began = page.value("opencode_exporter_baseline_timestamp_seconds")
    assert began == bench.clock.ms / 1000
    exporter.close()


def test_rows_of_the_history_that_were_rejected_arrive_whole_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sees them climb while the history is read: an alert asks by how much they grew."""
    monkeypatch.setattr(tailer, "CHUNK_ROWS", 1)
    with V1(bench.source) as db:
        session = db.session()
        for _ in range(9):
            db.raw_part(db.message(session), "{")
    exporter = bench.exporter()
    apply = exporter.ledger.apply

    def stopping(source: str, chunk: Chunk) -> None:
        apply(source, chunk)
        if chunk.cursor is not None and chunk.progress > 0.5:
            exporter.poller.stop()

    monkeypatch.setattr(exporter.ledger, "apply", stopping)
    assert REJECTED not in polled(exporter).samples
    assert exporter.ledger.published.series[REJECTED]  # it has some, and shows none
    monkeypatch.setattr(exporter.ledger, "apply", apply)
    exporter.poller.stopping.clear()
    assert polled(exporter).total(REJECTED) == 9
    exporter.close()
