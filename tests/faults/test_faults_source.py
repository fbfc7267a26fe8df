"""A source that goes away, comes back as another, or holds ids that are no texts."""

from __future__ import annotations

import errno
import resource
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from harness.databases import V1, V2
from harness.exporters import Bench, exposed
from harness.processes.work import QUICK, SOURCE, Work, counts, serve, shown, working
from harness.rereading import CALLS, REJECTED, add_call, readings
from harness.waiting import wait_for
from opencode_exporter.service import source_poll

ODD: Final = "CAST(x'6964ff5f' || CAST(rowid AS BLOB) AS TEXT)"
"""SQL of an id that is no valid UTF-8."""


@pytest.mark.slow
def test_source_deleted_and_made_again(bench: Bench) -> None:
    """Its counts stay; another database adds what it holds, the same one adds nothing."""
    kept = bench.directory / "kept.tmp"
    with working(bench, 10) as work:
        pass
    with serve(bench, QUICK) as served:
        counts(served, 10)
        shutil.copyfile(bench.source, kept)
        bench.source.unlink()
        wait_for(lambda: shown(served) == (0, 10))
        with working(bench, 5):  # other sessions, at the rowids of those
            counts(served, 15)
        delete(bench.source)
        wait_for(lambda: shown(served) == (0, 15))
        kept.rename(bench.source)  # the same sessions as at first
        counts(served, 15)
        work = Work(bench.source)
        work.add(2)
        counts(served, 17)
        served.kill()
        work.add(1)
        work.close()
        served.start()
        counts(served, 18)


def test_databases_stay_known_when_files_run_out(bench: Bench) -> None:
    """A directory that cannot be listed for want of files takes no database off the page."""
    for name in ("opencode.db", "opencode-next.db"):
        Work(bench.directory / name).close()
    exporter = bench.exporter(source_paths=(bench.directory,))
    exporter.poll()
    before = exposed(exporter).samples["opencode_up"]
    assert len(before) == 2
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, allowed[1]))
    try:
        exporter.poll()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, allowed)
    assert exposed(exporter).samples["opencode_up"].keys() == before.keys()
    exporter.poll()
    assert set(exposed(exporter).samples["opencode_up"].values()) == {1}
    exporter.close()


def delete(source: Path) -> None:
    """Delete a database with all that belongs to it."""
    for path in source.parent.glob(f"{source.name}*"):
        path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("restart", [False, True], ids=["serving", "restarted"])
def test_source_replaced_by_a_copy_and_by_a_backup(restart: bool, bench: Bench) -> None:
    """Rows that come back are known; rows that take the rowids of lost ones count."""
    backup = bench.directory / "backup.tmp"
    with working(bench, 10):
        pass
    shutil.copyfile(bench.source, backup)
    with serve(bench, QUICK) as served:
        counts(served, 10)
        with_more = Work(bench.source)
        with_more.add(5)
        with_more.close()
        counts(served, 15)
        copy = bench.directory / "copy.tmp"
        shutil.copyfile(bench.source, copy)
        copy.replace(bench.source)
        counts(served, 15)
        if restart:
            assert served.stop() == 0
        backup.replace(bench.source)  # as it was five calls ago
        if restart:
            served.start()
        counts(served, 15)
        work = Work(bench.source)
        for calls in (16, 17):
            work.add()
            counts(served, calls)
        work.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("generation", "column", "ahead"),
    [
        (V1, "id", False),
        (V1, "id", True),
        (V1, "message_id", False),
        (V1, "session_id", False),
        (V2, "id", False),
        (V2, "session_id", True),
    ],
)
def test_id_that_is_no_text_is_set_aside(
    generation: type[V1 | V2],
    column: str,
    ahead: bool,
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A row whose ids are no valid UTF-8 is rejected, once; all others of its source count."""
    if ahead:
        monkeypatch.setattr(source_poll, "WORTH_IT_ROWS", 1)
    table = "part" if generation is V1 else "session_message"
    with generation(bench.source) as database:
        for _ in range(5):
            add_call(database)
        database.db.execute("PRAGMA foreign_keys = OFF")
        odd = f"UPDATE {table} SET {column} = {ODD} WHERE rowid IN (2, 5)"
        database.db.execute(odd)

    def touch() -> None:
        # Other processes must not meet a writer in this one: see `neighbour`.
        with generation(bench.source, ddl="") as writer:
            writer.session()

    for page in readings(bench, touch):
        assert page.value("opencode_up", source=SOURCE) == 1
        assert page.total(CALLS) == 3
        assert page.total(REJECTED) == 2
    monkeypatch.undo()
    with generation(bench.source, ddl="") as database:
        exporter = bench.exporter()
        for calls in (4, 5):
            add_call(database)
            exporter.poll()
            assert exposed(exporter).total(CALLS) == calls
        exporter.close()


def test_reading_ahead_that_cannot_start(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no further process, file or pipe is to be had, the exporter reads alone."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(source_poll, "WORTH_IT_ROWS", 1)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with V1(bench.source) as database:
        add_call(database)
        page = bench.read_once()
    assert page.value("opencode_up", source=SOURCE) == 1
    assert page.total(CALLS) == 1
