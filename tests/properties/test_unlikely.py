"""Sequences that hardly ever happen; the machine leaves them out, they are tested here."""

from __future__ import annotations

import pytest

from harness.databases import V1, call
from harness.exporters import Bench
from harness.pages import counted, polled
from harness.rereading import forget_cursors
from harness.upgraded import import_step, upgraded

INTERRUPTED = {
    "type": "tool.interrupted",
    "message": "Tool execution was interrupted before V2 migration",
}


@pytest.mark.parametrize("later", ["step", "night"])
def test_fork_of_a_pending_call_that_ends_unseen(bench: Bench, later: str) -> None:
    """The copy of a call that was pending is a copy, though its original ended unseen."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        session = db.session()
        part = db.tool(db.message(session), status="pending")
        fork = db.fork(session)
        db.rewrite(part, status="completed")
        assert counted(polled(exporter)) == {("read", "completed"): 1}
        if later == "step":
            db.message(fork)
        else:
            bench.clock.advance(hours=7)
        assert counted(polled(exporter)) == {("read", "completed"): 1}
    exporter.close()


def test_fork_of_a_call_that_started_after_it_was_given_up(bench: Bench) -> None:
    """A call given up while pending counts in no fork again, though it ended after all."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        session = db.session()
        part = db.tool(db.message(session), status="pending")
        db.message(session)
        assert counted(polled(exporter)) == {("read", "abandoned"): 1}
        db.rewrite(part, status="completed")
        bench.clock.advance(ms=61_000)
        assert counted(polled(exporter)) == {("read", "abandoned"): 1}
        db.fork(session)
        assert counted(polled(exporter)) == {("read", "abandoned"): 1}
    exporter.close()


def test_fork_of_what_an_upgrade_interrupted(bench: Bench) -> None:
    """A call given up while pending, and interrupted by the upgrade, counts in no fork again."""
    exporter = bench.exporter()
    with upgraded(bench.source) as (old, new):
        session = old.session()
        message = old.message(session)
        old.tool(message, call="call_1", status="pending")
        old.message(session)
        assert counted(polled(exporter)) == {("read", "abandoned"): 1}
        given = call("call_1", status="error", error=INTERRUPTED, ran=None, completed=None)
        import_step(old, new, session, message, [given])
        polled(exporter)
        new.fork(session)
        assert counted(polled(exporter)) == {("read", "abandoned"): 1}
    exporter.close()


@pytest.mark.parametrize("between", [False, True], ids=["one poll", "two polls"])
def test_original_imported_again_beside_its_fork(bench: Bench, *, between: bool) -> None:
    """A session that was deleted unseen and is imported again counts once, with its fork."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        session = db.session()
        created = db.now
        message = db.message(session)
        at = db.now
        part = db.tool(message, call="call_1")
        data = db.db.execute("SELECT data FROM part WHERE id = ?", (part,)).get
        db.fork(session)
        db.delete_session(session)
        if between:
            assert counted(polled(exporter)) == {("read", "completed"): 1}
        db.session(id=session, created=created)
        db.message(session, id=message, created=at)
        db.raw_part(message, data, part=part)
        assert counted(polled(exporter)) == {("read", "completed"): 1}
    exporter.close()


def test_session_that_1x_deleted_after_the_upgrade(bench: Bench) -> None:
    """What 2.x has of a session that 1.x deleted is no other than what 1.x's fork of it has."""
    with upgraded(bench.source) as (old, new):
        session = old.session()
        message = old.message(session)
        part = old.tool(message, call="call_1", status="running")
        old.rewrite(part, status="completed")
        start, end = old.db.execute(
            "SELECT data ->> '$.state.time.start', data ->> '$.state.time.end' FROM part"
        ).get
        old.fork(session)
        given = call("call_1", created=start, ran=None, completed=end)
        import_step(old, new, session, message, [given])
        old.delete_session(session)
        assert counted(bench.read_once()) == {("read", "completed"): 1}


def test_calls_that_share_their_id_across_an_upgrade(bench: Bench) -> None:
    """Of two calls with the same id, the one that the upgrade interrupted is given up at last."""
    exporter = bench.exporter()
    with upgraded(bench.source) as (old, new):
        session = old.session()
        message = old.message(session)
        old.tool(message, call="call_0")
        old.tool(message, call="call_0", status="running")
        assert counted(polled(exporter)) == {("read", "completed"): 1}
        interrupted = call("call_0", status="error", error=INTERRUPTED, ran=None, completed=None)
        import_step(old, new, session, message, [call("call_0"), interrupted])
        polled(exporter)
        bench.clock.advance(hours=7)
        ended = {("read", "completed"): 1, ("read", "abandoned"): 1}
        assert counted(polled(exporter)) == ended
    exporter.close()


def test_import_that_takes_the_rowids_it_had(bench: Bench) -> None:
    """A session deleted and imported again at its old rowids does not hide the rows below it."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        first, second = db.session(), db.session()
        created = db.now
        for number in range(3):
            db.tool(db.message(first), call=f"call_a{number}")
        message = db.message(second)
        at = db.now
        parts = [db.tool(message, call=f"call_b{number}") for number in range(100)]
        sql = "SELECT data FROM part WHERE id = ?"
        saved = [(part, db.db.execute(sql, (part,)).get) for part in parts]
        assert counted(polled(exporter)) == {("read", "completed"): 103}
        db.delete_session(first)
        db.delete_session(second)
        other = db.session()
        for number in range(3):
            db.tool(db.message(other), call=f"call_c{number}")
        db.session(id=second, created=created)
        db.message(second, id=message, created=at)
        for part, data in saved:
            db.raw_part(message, data, part=part)
        assert counted(polled(exporter)) == {("read", "completed"): 106}
    exporter.close()


@pytest.mark.parametrize("steps", [2, 5])
def test_session_with_several_open_steps_deleted_at_once(bench: Bench, steps: int) -> None:
    """Each of them is given up, also those that the later ones had left behind meanwhile."""
    exporter = bench.exporter()
    with V1(bench.source, now=bench.clock.ms) as db:
        session = db.session()
        for _ in range(steps):
            db.tool(db.message(session), status="running")
        bench.clock.advance(ms=1_000)
        assert counted(polled(exporter)) == {}
        bench.clock.advance(ms=61_000)
        db.delete_session(session)
        assert counted(polled(exporter)) == {("read", "abandoned"): steps}
        assert exporter.poller.health["opencode.db"].up
    exporter.close()


def test_step_that_goes_on_in_1x_after_the_upgrade(bench: Bench) -> None:
    """What 2.x has imported of a step does not hide that 1.x still works on it."""
    exporter = bench.exporter()
    with upgraded(bench.source) as (old, new):
        old.now = bench.clock.ms
        session = old.session()
        message = old.message(session)
        part = old.tool(message, call="call_1", status="running")
        given = call("call_1", status="error", error=INTERRUPTED, ran=None, completed=None)
        new.now = old.now
        import_step(old, new, session, message, [given], completed=None)
        bench.clock.advance(ms=1_000)
        polled(exporter)
        old.now = new.now
        old.message(session)
        old.rewrite(part, status="completed")
        bench.clock.advance(ms=61_000)
        before = polled(exporter).by("opencode_messages_total", "role")
        exporter.close()
        forget_cursors(bench.ledger)
        exporter = bench.exporter()
        assert polled(exporter).by("opencode_messages_total", "role") == before
    exporter.close()
