"""Rows of our future wait until our clock has passed their times, and then count as any."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from counting.turn_rows import TABLES, Database, turn
from harness.clock import HOUR_MS
from harness.databases import V1, V2, call
from harness.exporters import Bench, Exposed
from harness.pages import counted, polled, running
from harness.recordings import truth, unpack
from harness.rereading import REJECTED
from opencode_exporter.ledger import waiting
from opencode_exporter.service import source_poll
from opencode_exporter.service.exporter import Exporter

DAY_MS: Final = 24 * HOUR_MS
YEAR_9999: Final = 253_370_764_800_000
BOTH = pytest.mark.parametrize("generation", [V1, V2])
RESTART = pytest.mark.parametrize("restart", [False, True], ids=["serving", "restarted"])


def shown(page: Exposed) -> dict[str, Any]:
    """Return what the page says of OpenCode, series at 0 left out."""
    return {
        name: found
        for name, series in page.samples.items()
        if name.startswith("opencode_") and not name.startswith("opencode_exporter_")
        if (found := {labels: value for labels, value in series.items() if value})
    }


def work(db: Database, turns: int) -> None:
    """Write sessions with some turns each, a minute apart, and one call that takes half an hour."""
    for _ in range(2):
        session = db.session()
        for number in range(turns):
            turn(db, session, f"call_{number}", pause_ms=60_000)
    if isinstance(db, V1):
        step = db.message(session)
        db.tool(step, call="call_long", start=db.now, end=db.now + HOUR_MS // 2)
        db.rewrite_message(step, completed=db.tick(), finish="tool-calls")
    else:
        times = {"created": db.now, "ran": db.now, "completed": db.now + HOUR_MS // 2}
        db.assistant(session, [call("call_long", **times)])
    db.now += HOUR_MS


def again(exporter: Exporter, bench: Bench, *, restart: bool, **settings: Any) -> Exporter:
    """Return the exporter, or another one after it."""
    if not restart:
        return exporter
    exporter.close()
    return bench.exporter(**settings)


@pytest.mark.slow
@BOTH
@RESTART
@pytest.mark.parametrize("most", [1, 7, 500])
@pytest.mark.parametrize("behind_ms", [3 * DAY_MS, 20_000 * DAY_MS], ids=["3 days", "1971"])
def test_history_that_a_clock_could_not_believe_counts_when_it_is_right(
    bench: Bench,
    generation: type[Database],
    behind_ms: int,
    most: int,
    monkeypatch: pytest.MonkeyPatch,
    *,
    restart: bool,
) -> None:
    """At the first start our clock was behind, and the history was refused for good."""
    monkeypatch.setattr(waiting, "MOST", most)
    with generation(bench.source) as db:
        work(db, 5)
        right = bench.clock.ms = db.now + HOUR_MS
        bench.clock.ms = right - behind_ms
        exporter = bench.exporter()
        for _ in range(2):
            page = polled(exporter)
            assert (counted(page), running(page)) == ({}, 0)
            assert set(page.by(REJECTED, "cause")) == {("time",)}
        rejected = page.total(REJECTED)
        exporter = again(exporter, bench, restart=restart)
        assert counted(polled(exporter)) == {}
        bench.clock.ms = right
        for _ in range(2):  # nothing touches the files: the time alone wakes it
            page = polled(exporter)
            assert shown(page) == shown(bench.read_once())
            assert counted(page) == {("read", "completed"): 11}
            assert page.total(REJECTED) == rejected
            bench.clock.advance(hours=7)
        assert exporter.ledger.open_rows("opencode.db") == []
    exporter.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["1.18.33", "2.0.15", "turns-upgrade-1.18.33-2.0.15"])
@pytest.mark.parametrize("most", [20, 500])
def test_recording_that_is_read_before_its_time(
    bench: Bench, name: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What real OpenCode wrote counts as if the clock had never been wrong."""
    monkeypatch.setattr(waiting, "MOST", most)
    unpack(name, bench.directory)
    right = truth(name)["recorded_at_ms"] + DAY_MS
    bench.clock.ms = right - 30 * DAY_MS
    exporter = bench.exporter()
    assert counted(polled(exporter)) == {}
    bench.clock.ms = right
    assert shown(polled(exporter)) == shown(bench.read_once())
    exporter.close()


@BOTH
@pytest.mark.parametrize(
    "ahead",
    [
        pytest.param(False, id="alone"),
        pytest.param(True, id="read ahead", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("most", [3, 500])
def test_rows_of_the_future_in_a_database_that_is_read_already(
    bench: Bench,
    generation: type[Database],
    most: int,
    monkeypatch: pytest.MonkeyPatch,
    *,
    ahead: bool,
) -> None:
    """They come from a machine whose clock is days ahead, and count one after the other."""
    monkeypatch.setattr(waiting, "MOST", most)
    if ahead:
        monkeypatch.setattr(source_poll, "WORTH_IT_ROWS", 1)
    exporter = bench.exporter()
    with generation(bench.source, now=bench.clock.ms - HOUR_MS) as db:
        turn(db, db.session(), "call_now")
        assert counted(polled(exporter)) == {("read", "completed"): 1}
        db.now = bench.clock.ms + 4 * DAY_MS
        work(db, 4)
        turn(db, db.session(created=bench.clock.ms - 10), "call_far")
        now, db.now = db.now, bench.clock.ms - 5
        turn(db, db.session(), "call_more")
        assert counted(polled(exporter)) == {("read", "completed"): 2}
        bench.clock.ms += 4 * DAY_MS - 1000
        assert counted(polled(exporter)) == {("read", "completed"): 2}
        bench.clock.ms = now + HOUR_MS
        page = polled(exporter)
        assert counted(page) == {("read", "completed"): 12}
        assert shown(page) == shown(bench.read_once())
    exporter.close()


@BOTH
@RESTART
def test_row_of_the_year_9999_holds_nothing_back(
    bench: Bench,
    generation: type[Database],
    monkeypatch: pytest.MonkeyPatch,
    *,
    restart: bool,
) -> None:
    """However many there are, others wait for their own time alone, and some for none."""
    monkeypatch.setattr(waiting, "MOST", 5)
    exporter = bench.exporter()
    with generation(bench.source, now=bench.clock.ms - HOUR_MS) as db:
        session = db.session()
        far(db, session, YEAR_9999, 20)
        far(db, session, bench.clock.ms + 3 * DAY_MS, 1)
        turn(db, session, "call_now")
        assert counted(polled(exporter)) == {("read", "completed"): 1}
        exporter = again(exporter, bench, restart=restart)
        for days in (1, 3, 400):
            bench.clock.advance(hours=24 * days)
            page = polled(exporter)
            assert counted(page) == {("read", "completed"): 1 + (days > 1)}
        rows = exporter.ledger._memory.open._rows.values()
        assert sum(row.ahead > 0 for row in rows) <= 5
        assert counted(bench.read_once()) == {("read", "completed"): 2}
    exporter.close()


def far(db: Database, session: str, at: int, calls: int) -> None:
    """Write calls whose times are that far away, in steps of now."""
    for number in range(calls):
        name = f"call_{at}_{number}"
        if isinstance(db, V1):
            db.tool(db.message(session), call=name, start=at, end=at + 10)
        else:
            times = {"created": at, "ran": at, "completed": at + 10}
            db.assistant(session, [call(name, **times)])


@BOTH
def test_call_that_ends_by_another_clock_counts_then(
    bench: Bench, generation: type[Database]
) -> None:
    """An open call of the future is looked at when it changes, whatever its time was."""
    exporter = bench.exporter()
    with generation(bench.source, now=bench.clock.ms - 1000) as db:
        session, at = db.session(), bench.clock.ms + 5 * DAY_MS
        if isinstance(db, V1):
            part = db.tool(db.message(session), status="running", start=at)
        else:
            open_call = call(status="running", created=at, ran=at)
            step = db.assistant(session, [open_call], completed=None)
        page = polled(exporter)
        assert (counted(page), running(page)) == ({}, 0)
        if isinstance(db, V1):
            db.rewrite(part, status="completed", start=db.now, end=db.now + 5)
        else:
            times = {"created": db.now, "ran": db.now, "completed": db.now + 5}
            db.rewrite(step, [call(**times)])
        assert counted(polled(exporter)) == {("read", "completed"): 1}
    exporter.close()


@BOTH
@pytest.mark.parametrize("most", [3, 500])
def test_history_of_the_future_is_skipped_like_any(
    bench: Bench, generation: type[Database], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `--history=skip` what is there at the first read never counts."""
    monkeypatch.setattr(waiting, "MOST", most)
    with generation(bench.source) as db:
        work(db, 3)
        bench.clock.ms = db.now - 3 * DAY_MS
        exporter = bench.exporter(history="skip")
        assert counted(polled(exporter)) == {}
        bench.clock.ms = db.now + 8 * HOUR_MS
        assert counted(polled(exporter)) == {}
        turn(db, db.session(), "call_new")
        assert counted(polled(exporter)) == {("read", "completed"): 1}
    exporter.close()


@pytest.mark.parametrize("at", [10**30, 1 << 53, float("inf"), float("nan"), -5, "9999", True])
def test_time_that_no_clock_will_show_is_not_waited_for(bench: Bench, at: Any) -> None:
    """It is set aside for good, and what is set aside for good is not kept in mind."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        message = db.message(db.session())
        part = db.tool(message)
        data = json.loads(db.db.execute("SELECT data FROM part WHERE id = ?", (part,)).get)
        data["state"]["time"]["end"] = at
        db.raw_part(message, json.dumps(data), part=part)
        page = polled(exporter)
        assert (counted(page), page.by(REJECTED, "cause")) == ({}, {("time",): 1})
        assert [row.row for row in exporter.ledger.open_rows("opencode.db")] == [message]
    exporter.close()


@BOTH
def test_table_is_not_read_again_for_each_row(
    bench: Bench, generation: type[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where our clock stays behind and goes on, what waits is looked for now and then."""
    monkeypatch.setattr(waiting, "MOST", 1)
    exporter = bench.exporter()
    with generation(bench.source, now=bench.clock.ms + 2 * DAY_MS) as db:
        work(db, 5)
        polled(exporter)
        first = [exporter.ledger.cursors("opencode.db")[table] for table in TABLES[generation]]
        assert all(cursor.anchors for cursor in first)
        before = polled(exporter).total("opencode_exporter_rows_read_total")
        bench.clock.ms = db.now - HOUR_MS - 10 * 60_000
        for _ in range(10):
            bench.clock.advance(ms=60_000)
            page = polled(exporter)
        read = page.total("opencode_exporter_rows_read_total") - before
        rows = sum(
            db.db.execute(f"SELECT count(*) FROM {table}").get for table in TABLES[generation]
        )
        assert read < 4 * rows
        bench.clock.advance(hours=2)
        assert counted(polled(exporter)) == {("read", "completed"): 11}
    exporter.close()
