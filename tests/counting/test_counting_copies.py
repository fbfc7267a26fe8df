"""Forks, deleted sessions and renumbered rows neither repeat an invocation nor lose one."""

from __future__ import annotations

import pytest

from counting.copied_sessions import BOTH, Generation, copies, start, work
from harness.exporters import Bench
from harness.pages import counted, polled, running
from harness.rereading import forget_cursors


@BOTH
@pytest.mark.parametrize("between", [False, True], ids=["one poll", "two polls"])
def test_copies_of_a_fork_are_skipped(
    bench: Bench, generation: Generation, *, between: bool
) -> None:
    """A fork's copies are known as such, and what it does after them counts."""
    exporter = bench.exporter()
    with generation(bench.source) as db:
        session = db.session()
        work(db, session, "call_1", "call_2")
        if between:
            polled(exporter)
        fork = db.fork(session)
        work(db, fork, "call_1", tool="grep")
        page = polled(exporter)
    assert counted(page) == {("read", "completed"): 2, ("grep", "completed"): 1}
    assert copies(page) == 2
    exporter.close()


@BOTH
def test_fork_whose_original_was_counted_and_deleted(bench: Bench, generation: Generation) -> None:
    """A copy is a copy though its original was deleted before the fork was read."""
    exporter = bench.exporter()
    with generation(bench.source) as db:
        session = db.session()
        work(db, session, "call_1", "call_2")
        polled(exporter)
        db.fork(session)
        db.delete_session(session)
        page = polled(exporter)
    assert counted(page) == {("read", "completed"): 2}
    assert copies(page) == 2
    exporter.close()


@BOTH
def test_fork_whose_original_was_never_seen_counts(bench: Bench, generation: Generation) -> None:
    """A copy whose original was deleted before anything was read stands for it, once."""
    exporter = bench.exporter()
    with generation(bench.source) as db:
        session = db.session()
        work(db, session, "call_1", "call_2")
        fork = db.fork(session)
        db.delete_session(session)
        page = polled(exporter)
        assert counted(page) == {("read", "completed"): 2}
        assert copies(page) == 0
        db.fork(fork)
        page = polled(exporter)
    assert counted(page) == {("read", "completed"): 2}
    assert copies(page) == 2
    exporter.close()


@BOTH
def test_original_deleted_after_the_fork_was_read(bench: Bench, generation: Generation) -> None:
    """Counts do not fall with a deleted original, and its fork's copies stay copies."""
    exporter = bench.exporter()
    with generation(bench.source) as db:
        session = db.session()
        work(db, session, "call_1")
        db.fork(session)
        polled(exporter)
        db.delete_session(session)
        exporter.close()
        forget_cursors(bench.ledger)
        exporter = bench.exporter()
        page = polled(exporter)
    assert counted(page) == {("read", "completed"): 1}
    assert copies(page) == 1
    exporter.close()


@BOTH
@pytest.mark.parametrize("between", [False, True], ids=["one poll", "three polls"])
def test_fork_of_a_fork(bench: Bench, generation: Generation, *, between: bool) -> None:
    """Copies of copies are copies, and each session's own calls count."""
    exporter = bench.exporter()
    with generation(bench.source) as db:
        session = db.session()
        work(db, session, "call_1")
        for _ in range(2):
            if between:
                polled(exporter)
            session = db.fork(session)
            work(db, session, "call_1")
        page = polled(exporter)
    assert counted(page) == {("read", "completed"): 3}
    assert copies(page) == 1 + 2
    exporter.close()


@BOTH
@pytest.mark.parametrize("between", [False, True], ids=["one poll", "two polls"])
@pytest.mark.parametrize("deleted", [False, True], ids=["kept", "deleted"])
def test_copy_of_an_open_call_is_not_open(
    bench: Bench, generation: Generation, *, between: bool, deleted: bool
) -> None:
    """Only the original runs and ends; its copy stays as it is for ever."""
    exporter = bench.exporter()
    with generation(bench.source) as db:
        session = db.session()
        end = start(db, session)
        if between:
            assert running(polled(exporter)) == 1
        fork = db.fork(session)
        page = polled(exporter)
        assert (counted(page), running(page), copies(page)) == ({}, 1, 1)
        if deleted:
            db.delete_session(fork)
        end()
        page = polled(exporter)
        assert (counted(page), running(page)) == ({("read", "completed"): 1}, 0)
        bench.clock.advance(hours=7)
        db.session()
        page = polled(exporter)
    assert (counted(page), running(page)) == ({("read", "completed"): 1}, 0)
    assert copies(page) == 1
    exporter.close()


@BOTH
@pytest.mark.parametrize("new", [1, 40, 41, 90])
def test_rowids_of_a_deleted_session_are_given_again(
    bench: Bench, generation: Generation, new: int
) -> None:
    """New rows at the rowids of rows that were read and deleted all count."""
    exporter = bench.exporter()
    with generation(bench.source) as db:
        for _ in range(2):
            session = db.session()
            for number in range(40):
                work(db, session, f"call_{number}")
        polled(exporter)
        db.delete_session(session)
        session = db.session()
        for number in range(new):
            work(db, session, f"call_{number}")
        for _ in range(2):
            page = polled(exporter)
            assert counted(page) == {("read", "completed"): 80 + new}
            db.session()
    exporter.close()


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("new", [0, 1, 40, 41])
def test_vacuum_between_polls(
    bench: Bench, generation: Generation, new: int, *, restart: bool
) -> None:
    """Rows that VACUUM has renumbered are recognised, and new ones among them count."""
    exporter = bench.exporter()
    with generation(bench.source) as db:
        oldest = db.session()
        for number in range(40):
            work(db, oldest, f"call_{number}")
        for _ in range(2):
            session = db.session()
            for number in range(40):
                work(db, session, f"call_{number}")
        end = start(db, db.session())
        polled(exporter)
        db.delete_session(oldest)
        db.db.execute("VACUUM")
        for number in range(new):
            work(db, session, f"late_{number}")
        if restart:
            exporter.close()
            exporter = bench.exporter()
        page = polled(exporter)
        assert (counted(page), running(page)) == ({("read", "completed"): 120 + new}, 1)
        end()
        page = polled(exporter)
    assert (counted(page), running(page)) == ({("read", "completed"): 121 + new}, 0)
    exporter.close()
