"""Rowids mean order and nothing else: gaps, zero, negative and the very last are read alike."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.clock import FakeClock
from harness.databases import V1, V2, call, schema
from harness.exporters import Bench
from harness.pages import counted, polled
from harness.rereading import SOURCE, problem, readings, state
from opencode_exporter.clock import Patience
from opencode_exporter.service import read_ahead, source_poll
from opencode_exporter.service.exporter import Exporter
from opencode_exporter.source.opencode.source import Source
from opencode_exporter.source.opencode.tailer import Tailer

Database = V1 | V2
PLACES: Final[dict[str, type[V1 | V2]]] = {"part": V1, "message": V1, "session_message": V2}
TABLES = pytest.mark.parametrize("table", PLACES)
LAST: Final = (1 << 63) - 1
FIRST: Final = -(1 << 63)


def add(db: Database, session: str, number: int, table: str = "part") -> str:
    """Write a call that has ended in a step of its own; return the id of its row in a table."""
    if isinstance(db, V1):
        message = db.message(session)
        part = db.tool(message, call=f"call_{number}")
        return part if table == "part" else message
    return db.assistant(session, [call(f"call_{number}")])


def move(db: Database, table: str, row: str, rowid: int) -> None:
    """Give a row another rowid."""
    db.db.execute(f"UPDATE {table} SET rowid = ? WHERE id = ?", (rowid, row))


@pytest.mark.slow
@TABLES
@pytest.mark.parametrize(
    ("rowid", "aside"),
    [
        *((rowid, False) for rowid in (FIRST, -5, 0, 10**9, 1 << 62, LAST)),
        *((rowid, True) for rowid in (-5, 10**12, LAST)),
    ],
)
def test_row_far_from_the_others_is_read_at_once(
    bench: Bench,
    table: str,
    rowid: int,
    monkeypatch: pytest.MonkeyPatch,
    *,
    aside: bool,
) -> None:
    """A gap of a billion rowids took forever, and rowids below 1 were never read."""
    if aside:
        monkeypatch.setattr(source_poll, "WORTH_IT_ROWS", 1)
    with PLACES[table](bench.source) as db:
        session = db.session()
        rows = [add(db, session, number, table) for number in range(4)]
        move(db, table, rows[-1], rowid)
        for page in readings(bench, db.session):
            assert counted(page) == {("read", "completed"): 4}
            assert page.value("opencode_exporter_history_progress_ratio", source=SOURCE) == 1


@pytest.mark.parametrize("table", ["message", "session_message"])
def test_few_rows_far_apart_take_few_windows(bench: Bench, table: str) -> None:
    """A window of rowids that has no rows in it is none: processes read rows, not numbers."""
    with PLACES[table](bench.source) as db, db.db:
        session = db.session()
        for number in range(200):
            move(db, table, add(db, session, number, table), number * 10**9 + 1)
    clock = FakeClock()
    with Source(bench.source, SOURCE).open() as reader:
        stretches = Tailer(clock, Patience(clock, 1)).ahead(reader, {})
        planned = read_ahead.plan(reader, stretches)
    (windows,) = (w for stretch, w in planned if stretch.table == table)
    assert len(windows) == 1
    assert read_ahead.rows_in(planned) < 3 * read_ahead._WINDOW_ROWS


@given(rowids=st.sets(st.integers(FIRST, LAST) | st.integers(-40, 200), max_size=60))
@settings(max_examples=60)
def test_windows_hold_every_row_once(
    rowids: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """
    Whatever the rowids, each row is in one window, and windows come in their order.

    No rowid is between two of them: rows that were given one meanwhile were lost.
    """
    path = tmp_path_factory.mktemp("windows") / SOURCE
    db = apsw.Connection(str(path))
    with db:
        db.execute(schema("v2"))
        db.executemany(
            "INSERT INTO session_message (rowid, id, session_id, type, seq, time_created, "
            "time_updated, data) VALUES (?1, ?1, 's', 'user', ?1, 1, 1, '{}')",
            ((rowid,) for rowid in rowids),
        )
    db.close()
    with pytest.MonkeyPatch.context() as patch, Source(path, SOURCE).open() as reader:
        patch.setattr(read_ahead, "_WINDOW_ROWS", 16)  # four of these
        stretches = Tailer(FakeClock(), Patience(FakeClock(), 1)).ahead(reader, {})
        ((_, windows),) = read_ahead.plan(reader, stretches)
    found = [
        [rowid for rowid in sorted(rowids) if window.first <= rowid <= window.last]
        for window in windows
    ]
    assert [rowid for some in found for rowid in some] == sorted(rowids)
    assert all(one.last + 1 == other.first for one, other in pairwise(windows))
    assert all(
        0 < len(some) <= window.rows <= 4 for some, window in zip(found, windows, strict=True)
    )


@pytest.fixture
def exporter(bench: Bench) -> Iterator[Exporter]:
    """An exporter that is polled by hand."""
    found = bench.exporter()
    yield found
    found.close()


@TABLES
@pytest.mark.parametrize("rowid", [0, -1, FIRST])
def test_row_below_all_others_is_noticed(
    bench: Bench, exporter: Exporter, table: str, rowid: int
) -> None:
    """A row that comes below those that were read counts, like one above them."""
    with PLACES[table](bench.source) as db:
        session = db.session()
        for number in range(3):
            add(db, session, number)
        assert counted(polled(exporter)) == {("read", "completed"): 3}
        with db.db:
            move(db, table, add(db, session, 3, table), rowid)
        assert counted(polled(exporter)) == {("read", "completed"): 4}
        add(db, session, 4)
        assert counted(polled(exporter)) == {("read", "completed"): 5}


@TABLES
@pytest.mark.parametrize("restart", [False, True], ids=["serving", "restarted"])
def test_rows_count_that_get_any_free_rowid(bench: Bench, table: str, *, restart: bool) -> None:
    """Above 2^63-1 there is no rowid: SQLite gives new rows any, below those that were read."""
    exporter = bench.exporter()
    with PLACES[table](bench.source) as db:
        session = db.session()
        rows = [add(db, session, number, table) for number in range(3)]
        move(db, table, rows[1], LAST)
        assert counted(polled(exporter)) == {("read", "completed"): 3}
        for number in range(3, 8):
            add(db, session, number)
            if restart:
                exporter.close()
                exporter = bench.exporter()
            assert counted(polled(exporter)) == {("read", "completed"): number + 1}
        other = db.session()
        db.delete_session(session)
        add(db, other, 9)
        assert counted(polled(exporter)) == {("read", "completed"): 9}
    exporter.close()


def test_names_in_another_case_are_the_same_names(bench: Bench) -> None:
    """SQLite's names know no case, and so do ours: ``Part`` and ``DATA`` are read."""
    ddl = schema("v1").replace("`part` (", "`Part` (").replace("`data` text", "`DATA` text")
    assert "Part" in ddl
    with V1(bench.source, ddl=ddl) as db:
        add(db, db.session(), 1)
        for page in readings(bench, db.session):
            assert counted(page) == {("read", "completed"): 1}
            assert page.value("opencode_up", source=SOURCE) == 1


@pytest.mark.parametrize("kind", ["a view", "without rowids"])
@pytest.mark.parametrize("table", ["part", "project"])
def test_what_is_no_table_of_opencode_is_told(bench: Bench, kind: str, table: str) -> None:
    """A view, or a table without rowids, is told in a sentence that says what to do."""
    with V1(bench.source) as db:
        add(db, db.session(), 1)
    _replace(bench.source, table, kind)
    exporter = bench.exporter()
    page = polled(exporter)
    if (kind, table) == ("without rowids", "project"):  # of it no rowid is asked
        assert counted(page) == {("read", "completed"): 1}
    else:
        assert state(page) == (0, 0)
        assert "is where OpenCode has a table" in problem(exporter)
        assert "--source.path" in problem(exporter)
    exporter.close()


def _replace(path: Path, table: str, kind: str) -> None:
    db = apsw.Connection(str(path))
    db.execute("PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON")
    db.execute(f"ALTER TABLE {table} RENAME TO before_")
    if kind == "a view":
        db.execute(f"CREATE VIEW {table} AS SELECT * FROM before_")
    else:
        ddl = db.execute("SELECT sql FROM sqlite_master WHERE name = 'before_'").get
        db.execute(f"{ddl.replace('before_', table)} WITHOUT ROWID")
        db.execute(f"INSERT INTO {table} SELECT * FROM before_")
    db.close()
