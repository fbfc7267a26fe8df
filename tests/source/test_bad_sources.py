"""A source that cannot be read says what is wrong and what to do, and counts once it is mended."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from harness.databases import V1, V2, schema
from harness.exporters import Bench, exposed
from harness.rereading import CALLS, SECRET, SOURCE, add_call, fill, problem, state
from opencode_exporter.source.opencode.source import Source

GOOD: Final = {("read", "completed"): 1}
NOT_OURS: Final = "is not OpenCode's, is being migrated, or is newer than this exporter"


def remake(path: Path) -> None:
    """Put a good database in the place of whatever is there."""
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
    fill(path)


def holding(data: bytes) -> Callable[[Path], object]:
    """Return what makes a file of these bytes."""
    return lambda path: path.write_bytes(data)


def made_by(ddl: str) -> Callable[[Path], None]:
    """Return what makes an SQLite database of these tables."""
    return lambda path: V1(path, ddl=ddl).close()


def lacking(generation: str, table: str) -> str:
    """Return the tables of a real database without one: its migration is not over."""
    ddl = re.sub(
        rf"CREATE TABLE `{table}` \(.*?\n        \);", "", schema(generation), flags=re.DOTALL
    )
    return re.sub(rf"CREATE [^;]*INDEX [^;]* ON `{table}` [^;]*;", "", ddl)


def damage(path: Path) -> None:
    """Overwrite everything but the first page."""
    fill(path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write((SECRET.encode() * size)[: size - 4096])


def cut(path: Path) -> None:
    """Keep half of the file, as an interrupted copy does."""
    fill(path)
    os.truncate(path, path.stat().st_size // 8192 * 4096)


BAD: Final[dict[str, tuple[Callable[[Path], object], int, str]]] = {
    "missing": (lambda _: None, 1, "there is no database: start OpenCode once"),
    "dangling link": (lambda path: path.symlink_to("gone.db"), 1, "there is no database"),
    "link to itself": (lambda path: path.symlink_to(path.name), 1, "cannot be read"),
    "pipe": (os.mkfifo, 0, "no regular file: name OpenCode's own file"),
    "empty": (holding(b""), 1, "the file is empty: OpenCode fills it when it starts"),
    "text": (holding(SECRET.encode() * 99), 0, "not an SQLite database: name OpenCode's own file"),
    "zeros": (holding(bytes(8192)), 0, "not an SQLite database"),
    "header alone": (holding(b"SQLite format 3\0"), 0, "not an SQLite database"),
    "header and noise": (
        holding(b"SQLite format 3\0" + SECRET.encode() * 999),
        0,
        "not an SQLite database",
    ),
    "damaged": (damage, 1, "the database is corrupt: 'PRAGMA integrity_check' says where"),
    "cut": (cut, 1, "the database is corrupt"),
    "no tables": (made_by(""), 0, "lacks table session, table message, table part: it "),
    "other tables": (made_by("CREATE TABLE song (id, name)"), 0, NOT_OURS),
    "v1 without session": (made_by(lacking("v1", "session")), 0, "lacks table session: it "),
    "v1 without message": (made_by(lacking("v1", "message")), 0, "lacks table message: it "),
    "v1 without part": (made_by(lacking("v1", "part")), 0, "lacks table part: it "),
    "v2 without messages": (
        made_by(lacking("v2", "session_message")),
        0,
        "lacks table session_message: it ",
    ),
    "v2 without sessions": (made_by(lacking("v2", "session_v2")), 0, "lacks table session"),
    "v1 with another data column": (
        made_by(schema("v1").replace("`data` text", "`body` text")),
        0,
        "lacks column message.data, column part.data: it ",
    ),
    "v2 without an order": (
        made_by(schema("v2").replace("`seq`", "`position`")),
        0,
        "lacks column session_message.seq: it ",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_source_is_named_and_counts_once_it_is_good(
    name: str, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is no database of OpenCode's is told by a sentence; a good one is read."""
    make, supported, words = BAD[name]
    make(bench.source)
    exporter = bench.exporter()
    for _ in range(2):
        exporter.poll()
        page = exposed(exporter)
        assert state(page) == (0, supported)
        assert words in problem(exporter)
        assert not [series for series in page.samples if series.startswith("opencode_tool_")]
        assert exporter.pages.not_ready()
    assert page.value("opencode_exporter_polls_total", source=SOURCE, result="error") == 2
    assert SECRET not in page.page + caplog.text + problem(exporter)
    remake(bench.source)
    exporter.poll()
    page = exposed(exporter)
    assert state(page) == (1, 1)
    assert page.by(CALLS, "tool", "status") == GOOD
    assert not problem(exporter)
    assert exporter.pages.not_ready() is None
    exporter.close()


@pytest.mark.parametrize("name", BAD)
def test_source_that_goes_bad_takes_no_count_away(name: str, bench: Bench) -> None:
    """Counters stay where they are while the source is bad, and go on when it is good."""
    fill(bench.source)
    exporter = bench.exporter()
    exporter.poll()
    bench.source.unlink()
    BAD[name][0](bench.source)
    exporter.poll()
    assert state(exposed(exporter)) == (0, BAD[name][1])
    assert exposed(exporter).by(CALLS, "tool", "status") == GOOD
    remake(bench.source)  # with other ids: another call
    exporter.poll()
    assert exposed(exporter).by(CALLS, "tool", "status") == {("read", "completed"): 2}
    exporter.close()


def test_damage_behind_good_rows_counts_none_of_them_twice(bench: Bench) -> None:
    """
    What was read before the damage is not read again once the file is mended.

    Of many gaps some are taken for one, so that a row between them may be.
    """
    calls = 10_000
    with V1(bench.source) as database, database.db:
        message = database.message(database.session())
        for number in range(calls):
            database.tool(message, call=f"call_{number}")
    whole = bench.source.read_bytes()
    start, end = (len(whole) * tenths // 10 // 4096 * 4096 for tenths in (7, 8))
    bench.source.write_bytes(whole[:start] + b"\xff" * (end - start) + whole[end:])
    exporter = bench.exporter()
    exporter.poll()
    assert "the database is damaged: some rows of part (rowid " in problem(exporter)
    read = exporter.ledger.published.series["opencode_exporter_rows_read_total"]
    assert 0 < sum(count for count in read.values() if isinstance(count, int)) < calls
    bench.source.write_bytes(whole)
    exporter.poll()
    page = exposed(exporter)
    exporter.close()
    assert page.total(CALLS) == calls
    rows = page.value("opencode_exporter_rows_read_total", source=SOURCE, table="part") or 0
    assert calls <= rows <= calls + 16


@pytest.mark.parametrize("generation", [V1, V2])
def test_unknown_tables_and_columns_do_not_matter(generation: type[V1 | V2], bench: Bench) -> None:
    """What a later version adds is not looked at."""
    with generation(bench.source) as database:
        for table in ("session_message", database.sessions, "project"):
            database.db.execute(f"ALTER TABLE {table} ADD COLUMN novelty TEXT DEFAULT 'x'")
        database.db.execute("CREATE TABLE novelty (id)")
        add_call(database)
        page = bench.read_once()
    assert state(page) == (1, 1)
    assert page.by(CALLS, "tool", "status") == GOOD


@pytest.mark.parametrize("generation", [V1, V2])
def test_projects_are_unknown_without_their_table(generation: type[V1 | V2], bench: Bench) -> None:
    """A database without `project` is read; its calls have no project's name."""
    with generation(bench.source) as database:
        add_call(database)
        database.db.execute("PRAGMA foreign_keys = OFF")
        database.db.execute("DROP TABLE project")
        page = bench.read_once()
    assert page.by("opencode_tool_usage_total", "tool", "project") == {("read", "_unknown"): 1}


def test_bad_source_does_not_stop_a_good_one(bench: Bench) -> None:
    """Each source is polled for itself; readiness and counts come from those that are good."""
    other = bench.directory / "opencode-next.db"
    fill(bench.source)
    other.write_bytes(SECRET.encode() * 99)
    exporter = bench.exporter(source_paths=(other, bench.source))
    exporter.poll()
    page = exposed(exporter)
    exporter.close()
    assert page.by("opencode_up", "source") == {(SOURCE,): 1}
    assert page.by(CALLS, "tool", "status") == GOOD


def test_defect_of_ours_is_shown_and_stops_no_other_source(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that nobody foresaw takes the source down on the page, without its text."""
    other = bench.directory / "opencode-next.db"
    for path in (bench.source, other):
        fill(path)
    honest = Source.open

    def defective(source: Source, **how: bool) -> object:
        if source.label == SOURCE:
            raise KeyError(SECRET)
        return honest(source, **how)

    monkeypatch.setattr(Source, "open", defective)
    exporter = bench.exporter(source_paths=(bench.source, other))
    exporter.poll()
    page = exposed(exporter)
    assert page.by("opencode_up", "source") == {("opencode-next.db",): 1}
    assert "KeyError" in problem(exporter)
    assert SECRET not in page.page + problem(exporter) + caplog.text
    monkeypatch.undo()
    exporter.poll()
    assert exposed(exporter).by("opencode_up", "source") == {(SOURCE,): 1, (other.name,): 1}
    exporter.close()
