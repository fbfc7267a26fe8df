"""An invocation is counted once, when it ends, however its row gets there."""

from __future__ import annotations

from typing import Any

import pytest

from harness.databases import V1, V2, call
from harness.exporters import Bench
from harness.pages import DURATION, LATE, counted, polled, running
from harness.rereading import forget_cursors


def test_v1_part_rewritten_in_place_counts_at_its_end(bench: Bench) -> None:
    """A v1 call is pending, then runs, then counts, with its duration once."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        part = db.tool(db.message(db.session()), status="pending")
        page = polled(exporter)
        assert (counted(page), running(page)) == ({}, 0)
        db.rewrite(part, status="running")
        page = polled(exporter)
        assert (counted(page), running(page)) == ({}, 1)
        oldest = page.value("opencode_tool_in_flight_oldest_start_timestamp_seconds", tool="read")
        assert oldest == (db.now - 1) / 1000
        db.rewrite(part, status="completed")
        for _ in range(3):
            page = polled(exporter)
            assert (counted(page), running(page)) == ({("read", "completed"): 1}, 0)
            assert page.value(f"{DURATION}_count", tool="read", status="completed") == 1
            assert page.value(f"{DURATION}_sum", tool="read", status="completed") == 0.5
            db.rewrite(part, output="titled later")
    exporter.close()


def test_v2_row_rewritten_in_place_counts_each_call_at_its_end(bench: Bench) -> None:
    """Calls of one v2 row end one after the other, and each counts when it does."""
    exporter = bench.exporter()
    with V2(bench.source) as db:
        session = db.session()
        step = db.assistant(session, [call(status="streaming")], completed=None)
        page = polled(exporter)
        assert (counted(page), running(page)) == ({}, 0)
        both = [call(status="running"), call("call_2", status="running")]
        db.rewrite(step, both, completed=None)
        page = polled(exporter)
        assert (counted(page), running(page)) == ({}, 2)
        db.rewrite(step, [call(), call("call_2", status="running")], completed=None)
        page = polled(exporter)
        assert (counted(page), running(page)) == ({("read", "completed"): 1}, 1)
        db.rewrite(step, [call(), call("call_2", status="error")])
        for _ in range(2):
            page = polled(exporter)
            ended = {("read", "completed"): 1, ("read", "error"): 1}
            assert (counted(page), running(page)) == (ended, 0)
            assert page.total(f"{DURATION}_count") == 2
            db.assistant(session, [])
    exporter.close()


@pytest.mark.parametrize("restart", [False, True])
def test_same_time_updated_with_other_data_is_noticed(bench: Bench, *, restart: bool) -> None:
    """A call that ends within the millisecond of its last change is not left open."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        part = db.tool(db.message(db.session()), status="running")
        assert counted(polled(exporter)) == {}
        before = db.db.execute("SELECT time_updated FROM part").get
        db.rewrite(part, status="completed")
        db.db.execute("UPDATE part SET time_updated = ?", (before,))
        if restart:
            exporter.close()
            exporter = bench.exporter()
        page = polled(exporter)
    assert (counted(page), running(page)) == ({("read", "completed"): 1}, 0)
    exporter.close()


def open_call(bench: Bench, generation: type[V1 | V2]) -> tuple[Any, str, Any]:
    """Write a running call; return the database, its session and what ends the call."""
    if generation is V1:
        old = V1(bench.source)
        session = old.session()
        part = old.tool(old.message(session), status="running")
        return old, session, lambda: old.rewrite(part, status="completed")
    new = V2(bench.source)
    session = new.session()
    step = new.assistant(session, [call(status="running")], completed=None)
    return new, session, lambda: new.rewrite(step, [call()])


@pytest.mark.parametrize("generation", [V1, V2])
def test_silent_call_is_abandoned_after_its_time(bench: Bench, generation: type[V1 | V2]) -> None:
    """A call without a change for `--abandon-after` is abandoned, not a moment before."""
    exporter = bench.exporter(abandon_after_ms=3_600_000)
    db, _, end = open_call(bench, generation)
    bench.clock.ms = db.now + 3_599_999
    page = polled(exporter)
    assert (counted(page), running(page)) == ({}, 1)
    bench.clock.advance(ms=1)
    page = polled(exporter)
    assert (counted(page), running(page)) == ({("read", "abandoned"): 1}, 0)
    assert page.total(f"{DURATION}_count") == 0
    assert page.total(LATE) == 0
    # Killed processes leave such rows by the hundred: a poll passes them over.
    assert exporter.ledger.open_rows("opencode.db") == []
    end()
    assert polled(exporter).total(LATE) == 0
    bench.clock.advance(ms=60_000)
    for _ in range(2):
        page = polled(exporter)
        assert (counted(page), running(page)) == ({("read", "abandoned"): 1}, 0)
        assert page.value(LATE, status="completed") == 1
        assert page.total(LATE) == 1
    db.close()
    exporter.close()


@pytest.mark.parametrize("generation", [V1, V2])
def test_later_step_abandons_an_open_call(bench: Bench, generation: type[V1 | V2]) -> None:
    """A session that goes on has given up its open call; one that is beside it has not."""
    exporter = bench.exporter()
    db, session, end = open_call(bench, generation)
    other = db.session()
    if generation is V1:
        db.message(other)
        db.message(session, role="user")
    else:
        db.assistant(other, [])
        db.user(session)
    page = polled(exporter)
    assert (counted(page), running(page)) == ({}, 1)
    if generation is V1:
        db.message(session)
    else:
        db.assistant(session, [])
    page = polled(exporter)
    assert (counted(page), running(page)) == ({("read", "abandoned"): 1}, 0)
    exporter.close()
    end()
    exporter = bench.exporter()
    page = polled(exporter)
    assert (counted(page), running(page)) == ({("read", "abandoned"): 1}, 0)
    assert page.value(LATE, status="completed") == 1
    db.close()
    exporter.close()


@pytest.mark.parametrize("generation", [V1, V2])
def test_vanished_open_call_is_abandoned_at_once(bench: Bench, generation: type[V1 | V2]) -> None:
    """A session deleted while its call runs takes the call's end with it."""
    exporter = bench.exporter()
    db, session, _ = open_call(bench, generation)
    assert running(polled(exporter)) == 1
    db.delete_session(session)
    for _ in range(2):
        page = polled(exporter)
        assert (counted(page), running(page)) == ({("read", "abandoned"): 1}, 0)
        db.session()
    db.close()
    exporter.close()


def test_calls_of_one_message_may_share_their_id(bench: Bench) -> None:
    """Two calls of one message with the same call id are two calls, and stay two."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        message = db.message(db.session())
        first = db.tool(message, call="call_0", status="running")
        second = db.tool(message, call="call_0", status="running")
        assert running(polled(exporter)) == 2
        db.rewrite(second, status="completed")
        page = polled(exporter)
        assert (counted(page), running(page)) == ({("read", "completed"): 1}, 1)
        db.rewrite(first, status="error")
        page = polled(exporter)
        ended = {("read", "completed"): 1, ("read", "error"): 1}
        assert (counted(page), running(page)) == (ended, 0)
    exporter.close()
    forget_cursors(bench.ledger)
    exporter = bench.exporter()
    assert counted(polled(exporter)) == ended
    exporter.close()


def test_items_of_one_row_may_share_their_id(bench: Bench) -> None:
    """In v2 too, calls that share an id within their message all count, once each."""
    exporter = bench.exporter()
    with V2(bench.source) as db:
        session = db.session()
        step = db.assistant(session, [call(), call(status="running")], completed=None)
        page = polled(exporter)
        assert (counted(page), running(page)) == ({("read", "completed"): 1}, 1)
        db.rewrite(step, [call(), call(), call()])
        for _ in range(2):
            page = polled(exporter)
            assert (counted(page), running(page)) == ({("read", "completed"): 3}, 0)
            db.assistant(session, [])
    exporter.close()
