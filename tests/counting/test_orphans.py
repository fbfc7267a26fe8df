"""A part of 1.x counts once, whether its message is read before it, after it, or not at all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.databases import V1
from harness.exporters import Bench
from harness.pages import counted, polled, running
from opencode_exporter.service import source_poll
from opencode_exporter.service.exporter import Exporter

ONCE = {("read", "completed"): 1}


@pytest.fixture
def database(bench: Bench) -> Iterator[V1]:
    """A live database in which a part may be without its message."""
    with V1(bench.source) as database:
        database.db.execute("PRAGMA foreign_keys = OFF")
        yield database


def without_message(db: V1, message: str) -> tuple[object, ...]:
    """Take a message away, and return its row."""
    (row,) = db.db.execute("SELECT * FROM message WHERE id = ?", (message,)).fetchall()
    db.db.execute("DELETE FROM message WHERE id = ?", (message,))
    return tuple(row)


def put_back(db: V1, row: tuple[object, ...]) -> None:
    """Write a message that was taken away."""
    db.db.execute(f"INSERT INTO message VALUES ({', '.join('?' * len(row))})", row)


def renumber(db: V1) -> None:
    """Give all parts other rowids, as VACUUM may."""
    db.db.execute("UPDATE part SET rowid = rowid + 1000")


def again(exporter: Exporter, bench: Bench, *, restart: bool) -> Exporter:
    """Return the exporter, or another one after it."""
    if not restart:
        return exporter
    exporter.close()
    return bench.exporter()


RESTART = pytest.mark.parametrize("restart", [False, True], ids=["serving", "restarted"])


@RESTART
@pytest.mark.parametrize(
    "ahead",
    [
        pytest.param(False, id="alone"),
        pytest.param(True, id="read ahead", marks=pytest.mark.slow),
    ],
)
def test_part_before_its_message_counts_once(
    bench: Bench, database: V1, monkeypatch: pytest.MonkeyPatch, *, ahead: bool, restart: bool
) -> None:
    """Renumbered, it counted again: its key had got the time of the message that came after it."""
    if ahead:
        monkeypatch.setattr(source_poll, "WORTH_IT_ROWS", 1)
    exporter = bench.exporter()
    message = database.message(database.session())
    for _ in range(3):  # some models send the same id every time
        database.tool(message, call="call_0")
    row = without_message(database, message)
    assert counted(polled(exporter)) == {("read", "completed"): 3}
    put_back(database, row)
    exporter = again(exporter, bench, restart=restart)
    for _ in range(2):
        renumber(database)
        assert counted(polled(exporter)) == {("read", "completed"): 3}
    database.tool(message, call="call_1")
    assert counted(polled(exporter)) == {("read", "completed"): 4}
    exporter.close()


@RESTART
def test_part_that_has_lost_its_message_counts_once(
    bench: Bench, database: V1, *, restart: bool
) -> None:
    """What was counted with its message is known without it: on a damaged page, for one."""
    exporter = bench.exporter()
    message = database.message(database.session())
    database.tool(message)
    assert counted(polled(exporter)) == ONCE
    without_message(database, message)
    exporter = again(exporter, bench, restart=restart)
    for _ in range(2):
        renumber(database)
        assert counted(polled(exporter)) == ONCE
    exporter.close()


@RESTART
@pytest.mark.parametrize("comes", [False, True], ids=["never", "before the end"])
def test_part_without_its_message_runs_and_ends(
    bench: Bench, database: V1, *, comes: bool, restart: bool
) -> None:
    """It is in flight while it runs, and counts once when it has ended."""
    exporter = bench.exporter()
    message = database.message(database.session())
    part = database.tool(message, status="running")
    row = without_message(database, message)
    page = polled(exporter)
    assert (counted(page), running(page)) == ({}, 1)
    exporter = again(exporter, bench, restart=restart)
    if comes:
        put_back(database, row)
    database.rewrite(part, status="completed")
    for _ in range(2):
        page = polled(exporter)
        assert (counted(page), running(page)) == (ONCE, 0)
        renumber(database)
    exporter.close()


def test_part_without_its_message_is_given_up_once(bench: Bench, database: V1) -> None:
    """Abandoned without its message, it is known with it: an end that comes then is late."""
    exporter = bench.exporter()
    message = database.message(database.session())
    part = database.tool(message, status="running")
    row = without_message(database, message)
    polled(exporter)
    bench.clock.advance(hours=7)
    database.session()
    assert counted(polled(exporter)) == {("read", "abandoned"): 1}
    put_back(database, row)
    database.rewrite(part, status="completed")
    renumber(database)
    bench.clock.advance(ms=61_000)
    page = polled(exporter)
    assert counted(page) == {("read", "abandoned"): 1}
    assert page.value("opencode_exporter_late_ends_total", status="completed") == 1
    exporter.close()
