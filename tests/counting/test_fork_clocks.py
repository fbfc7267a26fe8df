"""A fork's copies are known for what they are whatever the clock did before it was made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from counting.copied_sessions import copies
from counting.turn_rows import TABLES, Database, turn
from harness.clock import HOUR_MS
from harness.databases import V1, V2, call
from harness.exporters import Bench, Exposed
from harness.pages import counted, polled, running
from opencode_exporter.service import source_poll

BOTH = pytest.mark.parametrize("generation", [V1, V2])
BACK = pytest.mark.parametrize(
    "back_ms", [45_000, HOUR_MS, 400 * 24 * HOUR_MS], ids=["45s", "1h", "400d"]
)
BETWEEN = pytest.mark.parametrize("between", [False, True], ids=["one poll", "polls between"])


def work(page: Exposed) -> dict[str, Any]:
    """Return what the page says of work: all but sessions, and what is the exporter's."""
    return {
        name: {labels: value for labels, value in series.items() if value}
        for name, series in page.samples.items()
        if name.startswith("opencode_")
        and not name.startswith(("opencode_exporter_", "opencode_source_", "opencode_session"))
    }


@pytest.mark.slow
@BOTH
@BACK
@BETWEEN
def test_fork_after_the_clock_was_set_back(
    bench: Bench, generation: type[Database], back_ms: int, *, between: bool
) -> None:
    """Its copies were not older than it, and counted as if they were its own."""
    exporter = bench.exporter()
    with generation(bench.source) as db:
        session = db.session()
        for number in range(6):
            turn(db, session, f"call_{number}", pause_ms=12_000)
        alone = polled(exporter) if between else bench.read_once()
        db.now -= back_ms
        fork = db.fork(session)
        page = polled(exporter)
        assert work(page) == work(alone)
        assert page.by("opencode_sessions_total", "session_kind") == {("root",): 1, ("fork",): 1}
        assert copies(page) == 6
        turn(db, fork, "call_own")
        turn(db, session, "call_more")
        assert counted(polled(exporter)) == {("read", "completed"): 8}
        assert counted(bench.read_once()) == {("read", "completed"): 8}
    exporter.close()


@BOTH
@BETWEEN
def test_fork_of_such_a_fork(bench: Bench, generation: type[Database], *, between: bool) -> None:
    """A second fork is made before, and a third after the clock is right again."""
    exporter = bench.exporter()
    with generation(bench.source) as db:
        session = db.session()
        turn(db, session, "call_0", pause_ms=20_000)
        db.now -= HOUR_MS
        for number in range(1, 4):
            if between:
                polled(exporter)
            session = db.fork(session)
            db.now += HOUR_MS * (number == 2)
            turn(db, session, f"call_{number}", pause_ms=20_000)
        page = polled(exporter)
        assert counted(page) == {("read", "completed"): 4}
        assert copies(page) == 1 + 2 + 3
        assert page.total("opencode_tokens_total") == 4 * 2 * 110
    exporter.close()


@pytest.mark.slow
@BOTH
@BETWEEN
def test_fork_that_is_read_before_its_origin(
    bench: Bench, generation: type[Database], monkeypatch: pytest.MonkeyPatch, *, between: bool
) -> None:
    """Renumbered, a fork may come first: what it repeats counts once, and so do open calls."""
    monkeypatch.setattr(source_poll, "WORTH_IT_ROWS", 1)
    exporter = bench.exporter()
    with generation(bench.source) as db:
        session = db.session()
        turn(db, session, "call_0", pause_ms=20_000)
        end = start(db, session)
        db.now -= HOUR_MS
        fork = db.fork(session)
        for table in TABLES[generation]:
            sql = f"UPDATE {table} SET rowid = rowid + 10000 WHERE session_id = ?"
            db.db.execute(sql, (session,))
        if between:
            put_back = taken_away(db, session)
            polled(exporter)
            put_back()
        page = polled(exporter)
        assert (counted(page), running(page)) == ({("read", "completed"): 1}, 1)
        end()
        page = polled(exporter)
        assert (counted(page), running(page)) == ({("read", "completed"): 2}, 0)
        turn(db, fork, "call_own")
        bench.clock.advance(hours=7)
        turn(db, session, "call_last")
        page = polled(exporter)
        assert (counted(page), running(page)) == ({("read", "completed"): 4}, 0)
    exporter.close()


def taken_away(db: Database, session: str) -> Callable[[], None]:
    """Delete the rows of a session; return what writes them again where they were."""
    kept = {}
    for table in TABLES[type(db)]:
        sql = f"SELECT rowid, * FROM {table} WHERE session_id = ?"
        kept[table] = db.db.execute(sql, (session,)).fetchall()
    for table in kept:
        db.db.execute(f"DELETE FROM {table} WHERE session_id = ?", (session,))

    def put_back() -> None:
        for table, rows in kept.items():
            names = ["rowid", *(row[1] for row in db.db.execute(f"PRAGMA table_info({table})"))]
            places = ", ".join("?" * len(names))
            sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})"
            db.db.executemany(sql, rows)

    return put_back


def start(db: Database, session: str, status: str = "running") -> Any:
    """Write a step with an open call; return what ends the call."""
    if isinstance(db, V1):
        part = db.tool(db.message(session), call="call_open", status=status)
        return lambda: db.rewrite(part, status="completed")
    step = db.assistant(session, [call("call_open", status=status)], completed=None)
    return lambda: db.rewrite(step, [call("call_open")])


@pytest.mark.slow
@BOTH
@BETWEEN
@BACK
@pytest.mark.parametrize("status", ["pending", "running"])
def test_fork_while_a_call_is_in_flight(
    bench: Bench, generation: type[Database], back_ms: int, status: str, *, between: bool
) -> None:
    """The copy of an open call is not open, and is never given up."""
    exporter = bench.exporter()
    with generation(bench.source) as db:
        session = db.session()
        turn(db, session, "call_0", pause_ms=20_000)
        end = start(db, session, status)
        if between:
            polled(exporter)
        db.now -= back_ms
        fork = db.fork(session)
        page = polled(exporter)
        assert running(page) == (status == "running")
        db.now += back_ms
        end()
        turn(db, fork, "call_own")
        bench.clock.advance(hours=7)
        page = polled(exporter)
        assert (counted(page), running(page)) == ({("read", "completed"): 3}, 0)
    exporter.close()


@BOTH
@BACK
def test_fork_whose_origin_was_deleted_unseen(
    bench: Bench, generation: type[Database], back_ms: int
) -> None:
    """What only copies tell counts, once among all copies of it."""
    exporter = bench.exporter()
    with generation(bench.source) as db:
        session = db.session()
        turn(db, session, "call_0", pause_ms=20_000)
        db.now -= back_ms
        forks = [db.fork(session) for _ in range(2)]
        db.delete_session(session)
        page = polled(exporter)
        assert counted(page) == {("read", "completed"): 1}
        assert page.total("opencode_tokens_total") == 2 * 110
        turn(db, forks[0], "call_1")
        db.fork(forks[0])
        page = polled(exporter)
        assert counted(page) == {("read", "completed"): 2}
        assert page.total("opencode_tokens_total") == 4 * 110
    exporter.close()


@BOTH
@pytest.mark.parametrize("status", ["pending", "running"])
def test_session_whose_clock_is_set_back_loses_nothing(
    bench: Bench, generation: type[Database], status: str
) -> None:
    """Its calls are older than it from then on: a pending one was taken for a copy, and lost."""
    exporter = bench.exporter()
    with generation(bench.source) as db:
        session = db.session()
        turn(db, session, "call_0")
        db.now -= HOUR_MS
        end = start(db, session, status)
        assert running(polled(exporter)) == (status == "running")
        end()
        turn(db, session, "call_1")
        page = polled(exporter)
        assert (counted(page), copies(page)) == ({("read", "completed"): 3}, 0)
        db.fork(session)
        page = polled(exporter)
        assert (counted(page), copies(page)) == ({("read", "completed"): 3}, 3)
        assert counted(bench.read_once()) == {("read", "completed"): 3}
    exporter.close()


@BOTH
@pytest.mark.parametrize("deleted", [False, True], ids=["kept", "deleted"])
def test_session_that_is_exported_and_imported(
    bench: Bench, generation: type[Database], *, deleted: bool
) -> None:
    """An import has all its ids, and rows of its own times: it counts once, in any database."""
    other = bench.directory / "opencode-other.db"
    exporter = bench.exporter(source_paths=(bench.directory,))
    with generation(bench.source) as db, generation(other, now=db.now) as into:
        into.now -= HOUR_MS
        session = db.session()
        turn(db, session, "call_0")
        page = polled(exporter)
        rows = {
            table: db.db.execute(
                f"SELECT * FROM {table} WHERE session_id = ? ORDER BY rowid", (session,)
            ).fetchall()
            for table in TABLES[generation]
        }
        if deleted:
            db.delete_session(session)
        for target in (into, *([db] if deleted else [])):
            target.session(id=session, created=db.now if deleted else into.now)
            for table, found in rows.items():
                _write(target, table, found)
        assert work(polled(exporter)) == work(page)
    exporter.close()


def _write(db: Database, table: str, rows: list[Any]) -> None:
    """Write rows as an import does: parts are made now, messages when they say."""
    names = [row[1] for row in db.db.execute(f"PRAGMA table_info({table})")]
    for row in rows:
        given = dict(zip(names, row, strict=True)) | {"time_updated": db.tick()}
        if table == "part":
            given["time_created"] = db.now
        db.put(table, **given)


@BOTH
def test_sessions_with_the_same_calls_at_the_same_time_are_two(
    bench: Bench, generation: type[Database]
) -> None:
    """Some models send the same ids every time: rows a second apart make no call a copy."""
    with generation(bench.source) as db:
        begun = db.now
        for _ in range(3):
            db.now = begun
            turn(db, db.session(), "call_0")
        table = TABLES[generation][-1]
        earlier = "time_created" if table == "part" else "time_updated"
        db.db.execute(f"UPDATE {table} SET {earlier} = {earlier} - 1000")
    page = bench.read_once()
    assert (counted(page), copies(page)) == ({("read", "completed"): 3}, 0)
    assert page.total("opencode_tokens_total") == 3 * 2 * 110
