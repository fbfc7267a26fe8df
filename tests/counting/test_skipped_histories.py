"""`--history=skip` holds for each database at its first read, whenever that is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from counting.copied_sessions import BOTH, Generation, start, work
from harness.databases import V1, V2
from harness.exporters import Bench, exposed
from harness.pages import CALLS, counted, polled, running
from opencode_exporter.service import source_poll
from opencode_exporter.service.exporter import Exporter
from source.held_locks import LOCKS, held

CATCHING_UP = "opencode_exporter_catching_up"
ONE = {("read", "completed"): 1}


def history(path: Path, generation: Generation, calls: int) -> str:
    """Write a database with calls of long ago, and return its session."""
    with generation(path) as db:
        session = db.session()
        work(db, session, *(f"call_{number}" for number in range(calls)))
        return session


def add(path: Path, generation: Generation, session: str, name: str, now: int) -> None:
    """Write one more call."""
    with generation(path, ddl="", now=now) as db:
        work(db, session, name)


@pytest.fixture(params=["flag", "damaged ledger"])
def exporter(request: pytest.FixtureRequest, bench: Bench) -> Iterator[Exporter]:
    """An exporter of a directory that skips the history: it was told to, or has lost its ledger."""
    if request.param == "flag":
        found = bench.exporter(source_paths=(bench.directory,), history="skip")
    else:
        bench.ledger.parent.mkdir(parents=True)
        bench.ledger.write_bytes(b"no ledger" * 100)
        found = bench.exporter(source_paths=(bench.directory,))
    yield found
    found.close()


@pytest.mark.slow
@BOTH
def test_history_of_a_database_that_was_locked_is_skipped(
    bench: Bench, exporter: Exporter, generation: Generation
) -> None:
    """A month of calls came in as new when the lock was gone: all had been there before."""
    other = bench.directory / "opencode-next.db"
    first, second = history(bench.source, generation, 3), history(other, generation, 50)
    with held(other, *LOCKS["rollback journal"]):
        assert counted(polled(exporter)) == {}
        add(bench.source, generation, first, "call_new", bench.clock.ms)
        assert counted(polled(exporter)) == ONE
    page = polled(exporter)
    assert (counted(page), page.value(CATCHING_UP)) == (ONE, 0)
    add(other, generation, second, "call_new", bench.clock.ms)
    assert counted(polled(exporter)) == {("read", "completed"): 2}


@BOTH
@pytest.mark.parametrize(
    "ahead",
    [
        pytest.param(False, id="alone"),
        pytest.param(True, id="read ahead", marks=pytest.mark.slow),
    ],
)
def test_history_of_a_database_that_appears_later_is_skipped(
    bench: Bench,
    exporter: Exporter,
    generation: Generation,
    monkeypatch: pytest.MonkeyPatch,
    *,
    ahead: bool,
) -> None:
    """What is in a database when it is first read is its history, however late it comes."""
    if ahead:
        monkeypatch.setattr(source_poll, "WORTH_IT_ROWS", 1)
    history(bench.source, generation, 3)
    assert counted(polled(exporter)) == {}
    other = bench.directory / "opencode-next.db"
    with generation(other) as db:
        session = db.session()
        work(db, session, "call_1", "call_2")
        end = start(db, session)
        page = polled(exporter)
        assert (counted(page), running(page)) == ({}, 1)
        end()
        work(db, session, "call_3")
        page = polled(exporter)
        assert (counted(page), running(page)) == ({("read", "completed"): 2}, 0)
        assert page.by("opencode_sessions_total", "session_kind") == {}


@pytest.mark.parametrize("restart", ["skip", "count"])
def test_first_read_that_is_cut_short_is_skipped_to_its_end(
    bench: Bench, restart: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second database's first read goes on after a restart, and skips what is left of it."""
    history(bench.source, V1, 2)
    paths = (bench.directory,)
    exporter = bench.exporter(source_paths=paths, history="skip")
    polled(exporter)
    session = history(bench.directory / "opencode-next.db", V1, 9)
    apply = exporter.ledger.apply

    def stop(source: str, chunk: object) -> None:
        apply(source, chunk)  # type: ignore[arg-type]
        exporter.poller.stop()

    monkeypatch.setattr("opencode_exporter.source.opencode.tailer.CHUNK_ROWS", 3)
    monkeypatch.setattr(exporter.ledger, "apply", stop)
    exporter.poll()
    assert exporter.ledger.cursors("opencode-next.db")
    exporter.close()
    exporter = bench.exporter(source_paths=paths, history=restart)
    assert counted(polled(exporter)) == {}
    add(bench.directory / "opencode-next.db", V1, session, "call_new", bench.clock.ms)
    assert counted(polled(exporter)) == ONE
    exporter.close()


def test_database_that_is_empty_at_its_first_read(bench: Bench) -> None:
    """It holds no history, so its very first call counts."""
    exporter = bench.exporter(history="skip")
    with V2(bench.source) as db:
        assert counted(polled(exporter)) == {}
        work(db, db.session(), "call_1")
        assert counted(polled(exporter)) == ONE
    exporter.close()


def test_flag_that_is_given_later_holds_for_what_is_read_later(bench: Bench) -> None:
    """What counted before goes on counting; only a database that is new to it is skipped."""
    session = history(bench.source, V1, 1)
    exporter = bench.exporter(source_paths=(bench.directory,))
    assert counted(polled(exporter)) == ONE
    exporter.close()
    add(bench.source, V1, session, "call_1", bench.clock.ms)
    history(bench.directory / "opencode-next.db", V2, 5)
    exporter = bench.exporter(source_paths=(bench.directory,), history="skip")
    assert counted(polled(exporter)) == {("read", "completed"): 2}
    exporter.close()


def test_ledger_that_did_not_note_what_was_read(bench: Bench) -> None:
    """One of an exporter before this one: what it had read goes on counting."""
    session = history(bench.source, V1, 1)
    exporter = bench.exporter(history="skip")
    assert counted(polled(exporter)) == {}
    exporter.close()
    with closing(apsw.Connection(str(bench.ledger))) as ledger:
        ledger.execute("DELETE FROM meta WHERE name LIKE 'read %'")
    add(bench.source, V1, session, "call_1", bench.clock.ms)
    exporter = bench.exporter(history="skip")
    exporter.poll()
    assert exposed(exporter).by(CALLS, "tool", "status") == ONE
    exporter.close()
