"""Changes are noticed by watching, not by the timer and not by a scrape."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx
import pytest

from databases import V1, V2, call
from served import Served
from support import Bench, exposed, wait_for

CALLS = "opencode_tool_invocations_total"
NEVER = "--watch.interval=1h"


def begun() -> int:
    """Return a time of rows that the real clock believes, ms."""
    return time.time_ns() // 1_000_000 - 60_000


def committed(ledger: Path) -> float:
    """Return when the exporter last wrote: it tells of a poll without causing one."""
    return max(path.stat().st_mtime for path in ledger.parent.glob("ledger.db*"))


@pytest.mark.parametrize("flags", [(), ("--watch.force-polling",)], ids=["told", "looking"])
def test_changes_wake_the_process(bench: Bench, flags: tuple[str, ...]) -> None:
    """A new database, and each commit after, is read though timer and scrape are silent."""
    source = bench.directory / "a" / "b" / "opencode.db"
    run = bench.directory / "run"
    with Served(source, run, NEVER, *flags, home=bench.directory / "home") as served:
        source.parent.mkdir(parents=True)
        with V1(source, now=begun()) as database:
            message = database.message(database.session())
            database.tool(message)
            wait_for(lambda: served.get("/-/ready").status_code == httpx.codes.OK)
            before = committed(run / "ledger.db")
            database.tool(message)
            wait_for(lambda: committed(run / "ledger.db") > before)
            assert served.page().total(CALLS) == 2


def test_changes_behind_a_link_wake_the_process(bench: Bench) -> None:
    """A database that is linked to from elsewhere is watched where it lies."""
    link, run = bench.directory / "here" / "opencode.db", bench.directory / "run"
    link.parent.mkdir()
    link.symlink_to(bench.source)
    with (
        V1(bench.source, now=begun()) as database,
        Served(link, run, NEVER, home=bench.directory / "home") as served,
    ):
        message = database.message(database.session())
        wait_for(served.is_ready)
        threading.Event().wait(1)  # what woke it for other reasons is over
        before = committed(run / "ledger.db")
        database.tool(message)
        wait_for(lambda: committed(run / "ledger.db") > before)


def test_page_holds_what_was_committed_before_it(bench: Bench) -> None:
    """Each page has every call that was committed when it was asked for, without a delay."""
    run = bench.directory / "run"
    with (
        V1(bench.source, now=begun()) as database,
        Served(bench.source, run, NEVER, home=bench.directory / "home") as served,
    ):
        message = database.message(database.session())
        wait_for(served.is_ready)
        calls = 0
        for burst in (1, 1, 3, 1, 20, 1, 1, 1):
            for _ in range(burst):
                database.tool(message)
            calls += burst
            assert served.page().total(CALLS) == calls


def test_source_replaced_by_another_is_read_anew(bench: Bench) -> None:
    """A copy in the source's place adds nothing, another database adds what it holds."""
    with V1(bench.source) as database:
        database.tool(database.message(database.session()))
    exporter = bench.exporter()
    exporter.poll()
    assert exposed(exporter).total(CALLS) == 1

    copy = bench.directory / "copy.tmp"
    copy.write_bytes(bench.source.read_bytes())
    copy.replace(bench.source)
    exporter.poll()
    assert exposed(exporter).total(CALLS) == 1

    other = bench.directory / "other.tmp"
    with V2(other) as database_v2:
        session = database_v2.session()
        for _ in range(3):
            database_v2.assistant(session, [call()])
    other.replace(bench.source)
    exporter.poll()
    page = exposed(exporter)
    assert page.total(CALLS) == 4
    assert page.value("opencode_up", source="opencode.db") == 1
    generations = page.by("opencode_source_info", "generation")
    assert set(generations) == {("v2",)}
    exporter.close()


def test_source_deleted_and_made_again_goes_on(bench: Bench) -> None:
    """Without its database the exporter says so and keeps its counts; a new one adds to them."""
    exporter = bench.exporter()
    for count in (1, 2):
        with V1(bench.source, now=1_794_000_000_000 + count * 1000) as database:
            database.tool(database.message(database.session()))
        exporter.poll()
        assert exposed(exporter).total(CALLS) == count
        for path in bench.directory.glob("opencode.db*"):
            path.unlink()
        exporter.poll()
        page = exposed(exporter)
        assert page.total(CALLS) == count
        assert page.value("opencode_up", source="opencode.db") == 0
    exporter.close()
