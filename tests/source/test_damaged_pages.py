"""A damaged page costs what is on it: everything else counts, and what is missing is said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from harness.databases import V1, V2, call
from harness.exporters import Bench, Exposed, exposed
from harness.rereading import CALLS, SOURCE, problem, state
from opencode_exporter.service import read_ahead, source_poll

MESSAGES: Final = 120
CALLS_A_MESSAGE: Final = 10
ALL: Final = MESSAGES * CALLS_A_MESSAGE
PAGE: Final = 4096
LOST: Final = "the database is damaged: some rows of "


def fill_v1(path: Path) -> None:
    """Make a database of 1.x with many calls, one of which has a long output."""
    with V1(path) as database, database.db:
        session = database.session()
        for number in range(MESSAGES):
            message = database.message(session)
            for one in range(CALLS_A_MESSAGE):
                long = (number, one) == (60, 0)
                name = f"call_{number}_{one}"
                database.tool(message, call=name, output="x" * (30_000 if long else 300))


def fill_v2(path: Path) -> None:
    """Make a database of 2.x with as many."""
    with V2(path) as database, database.db:
        session = database.session()
        for number in range(MESSAGES):
            names = (f"call_{number}_{one}" for one in range(CALLS_A_MESSAGE))
            database.assistant(session, [call(name, output="x" * 900) for name in names])


def pages(path: Path, name: str, kind: str) -> list[int]:
    """Return the pages of a table or an index that are of a kind, in their order."""
    with_pages = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    sql = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = ? ORDER BY path"
    found: list[Any] = with_pages.execute(sql, (name, kind)).fetchall()
    with_pages.close()
    return [number for (number,) in found]


def damage(path: Path, name: str, kind: str, which: float = 0.5) -> None:
    """Overwrite one page of a table or an index."""
    found = pages(path, name, kind)
    with path.open("r+b") as file:
        file.seek((found[int(len(found) * which)] - 1) * PAGE)
        file.write(b"\xff" * PAGE)


def counted(page: Exposed) -> float:
    """Return how many calls a page shows."""
    return page.total(CALLS)


V1_PAGES: Final[dict[str, tuple[str, str, float, int]]] = {
    "leaf": ("part", "leaf", 0.5, ALL - 20),
    "first leaf": ("part", "leaf", 0, ALL - 20),
    "last leaf": ("part", "leaf", 0.999, ALL - 20),
    "overflow of one row": ("part", "overflow", 0, ALL - 1),
    "leaf of messages": ("message", "leaf", 0.5, ALL),
    "first leaf of messages": ("message", "leaf", 0, ALL),
    "last leaf of messages": ("message", "leaf", 0.999, ALL),
    "index of the messages' ids": ("sqlite_autoindex_message_1", "leaf", 0.5, ALL),
    "index of ids": ("sqlite_autoindex_part_1", "leaf", 0.5, ALL),
    "index of messages": ("part_message_id_id_idx", "leaf", 0.5, ALL),
    "sessions": ("session", "leaf", 0, ALL),
    "all of messages": ("message", "internal", 0, ALL),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", V1_PAGES)
def test_what_lies_beside_a_damaged_page_counts(
    name: str, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """One damaged page kept all of a database from being counted: 42 % read, for ever."""
    table, kind, which, least = V1_PAGES[name]
    fill_v1(bench.source)
    damage(bench.source, table, kind, which)
    exporter = bench.exporter()
    for _ in range(3):
        exporter.poll()
        page = exposed(exporter)
        assert least <= counted(page) <= ALL
        assert exporter.pages.not_ready() is None
        if state(page) == (1, 1):  # an index that nobody needs for reading
            assert "index" in name
            continue
        assert state(page) == (0, 1)
        assert problem(exporter).startswith(LOST)
        assert "sqlite3 copy.db .recover" in problem(exporter)
        assert problem(exporter) in exporter.pages.damage()
        assert problem(exporter) in exporter.pages.landing().rows[0].state
        with V1(bench.source, ddl="") as database:  # so that the next poll looks again
            database.db.execute("PRAGMA user_version = 1")
    assert [record.message for record in caplog.records].count("source is damaged") <= 1
    exporter.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", V1_PAGES)
def test_what_lies_beside_a_damaged_page_counts_whoever_reads(
    name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes that read ahead know nothing of damage: they leave it to who does."""
    monkeypatch.setattr(source_poll, "WORTH_IT_ROWS", 1)
    monkeypatch.setattr(read_ahead, "_WINDOW_ROWS", 40)
    table, kind, which, least = V1_PAGES[name]
    fill_v1(bench.source)
    damage(bench.source, table, kind, which)
    exporter = bench.exporter()
    exporter.poll()
    assert least <= counted(exposed(exporter)) <= ALL
    assert exporter.pages.not_ready() is None
    exporter.close()


def test_call_whose_message_cannot_be_found_counts(bench: Bench) -> None:
    """A part that came after its message was taken for one that is on a damaged page itself."""
    fill_v1(bench.source)
    exporter = bench.exporter()
    exporter.poll()
    with V1(bench.source, ddl="") as database:
        message = database.db.execute("SELECT id FROM message ORDER BY rowid DESC LIMIT 1").get
        database.tool(message, call="call_late")
    damage(bench.source, "sqlite_autoindex_message_1", "leaf", 0.999)
    exporter.poll()
    page = exposed(exporter)
    assert counted(page) == ALL + 1
    assert state(page) == (0, 1)
    exporter.close()


def test_new_calls_count_beside_damage_and_after_a_restart(bench: Bench) -> None:
    """Later polls go on in the part that can be read, and do not forget what is missing."""
    fill_v1(bench.source)
    damage(bench.source, "part", "leaf")
    exporter = bench.exporter()
    exporter.poll()
    before = counted(exposed(exporter))
    for more in (1, 2):
        with V1(bench.source, ddl="") as database:
            session = database.session()
            database.tool(database.message(session))
        exporter.poll()
        assert counted(exposed(exporter)) == before + more
        assert state(exposed(exporter)) == (0, 1)
        exporter.close()
        exporter = bench.exporter()
        exporter.poll()
        assert counted(exposed(exporter)) == before + more
        assert re.search(r"part \(rowid \d+ to \d+\)", problem(exporter))
    exporter.close()


def test_rows_that_come_back_are_counted_and_all_is_well(bench: Bench) -> None:
    """A backup was restored: only what was missing is read, and nothing counts twice."""
    fill_v1(bench.source)
    whole = bench.source.read_bytes()
    damage(bench.source, "part", "leaf")
    exporter = bench.exporter()
    exporter.poll()
    assert counted(exposed(exporter)) < ALL
    bench.source.write_bytes(whole)
    for _ in range(2):
        exporter.poll()
        exporter.close()
        exporter = bench.exporter()
    exporter.poll()
    page = exposed(exporter)
    exporter.close()
    assert counted(page) == ALL
    assert problem(exporter) == ""
    assert page.value("opencode_exporter_rows_read_total", source=SOURCE, table="part") == ALL


@pytest.mark.parametrize("kind", ["leaf", "overflow"])
def test_what_lies_beside_a_damaged_page_of_2x_counts(kind: str, bench: Bench) -> None:
    """The same in 2.x, where one row is a message with all its calls."""
    fill_v2(bench.source)
    damage(bench.source, "session_message", kind)
    exporter = bench.exporter()
    exporter.poll()
    page = exposed(exporter)
    exporter.close()
    assert ALL - 4 * CALLS_A_MESSAGE <= counted(page) < ALL
    assert exporter.pages.not_ready() is None
    rejected = page.total("opencode_exporter_rows_rejected_total")
    assert state(page) == (0, 1) or rejected == 1  # only the end of a text was lost


@pytest.mark.slow
def test_damage_above_many_leaves_is_passed_over(bench: Bench) -> None:
    """An inner page stands for hundreds of rows and more: what is beside them counts."""
    with V1(bench.source) as database, database.db:
        message = database.message(database.session())
        for number in range(8000):
            database.tool(message, call=f"call_{number}", output="x" * 2000)
    inner = pages(bench.source, "part", "internal")
    assert len(inner) > 2
    damage(bench.source, "part", "internal", 0.7)
    exporter = bench.exporter()
    exporter.poll()
    page = exposed(exporter)
    exporter.close()
    assert 8000 / len(inner) < counted(page) < 8000
    assert re.search(r"part \(rowid \d+ to \d+\)|and above", problem(exporter))
    assert exporter.pages.not_ready() is None


def test_schema_that_cannot_be_read_is_told_with_what_to_do(bench: Bench) -> None:
    """Then nothing can be read, and it is not said that history is being read."""
    fill_v1(bench.source)
    damage(bench.source, "sqlite_schema", "leaf")
    exporter = bench.exporter()
    exporter.poll()
    assert "recover" in problem(exporter)
    assert (exporter.pages.not_ready() or "").startswith("No database can be read: opencode.db: ")
    assert state(exposed(exporter))[0] == 0
    exporter.close()


def killed_in_a_transaction(path: Path) -> None:
    """Leave a journal that has to be undone, as a writer without WAL does that is killed."""
    fill_v1(path)
    writer = apsw.Connection(str(path))
    writer.pragma("journal_mode", "delete")
    writer.pragma("cache_size", 5)
    writer.execute("BEGIN")
    writer.execute("UPDATE part SET data = data || ' '")
    copies = {
        name: path.with_name(name).read_bytes() for name in (path.name, f"{path.name}-journal")
    }
    writer.execute("ROLLBACK")
    writer.close()
    for name, data in copies.items():
        path.with_name(name).write_bytes(data)


def test_hot_journal_is_told_with_what_to_do(bench: Bench) -> None:
    """A reader must not undo it; what was said was 'attempt to write a readonly database'."""
    killed_in_a_transaction(bench.source)
    exporter = bench.exporter()
    exporter.poll()
    assert "-journal file beside the database" in problem(exporter)
    assert "start OpenCode once" in problem(exporter)
    assert state(exposed(exporter)) == (0, 1)
    by_hand = apsw.Connection(str(bench.source))
    by_hand.pragma("user_version")
    by_hand.execute("SELECT count(*) FROM part").fetchall()
    by_hand.close()
    exporter.poll()
    assert state(exposed(exporter)) == (1, 1)
    assert counted(exposed(exporter)) == ALL
    exporter.close()
