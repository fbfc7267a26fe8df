"""Changes are noticed by watching, not by the timer and not by a scrape."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from watchfiles import Change

from harness.databases import V1, V2, call
from harness.exporters import Bench, exposed
from harness.places import not_utf8
from harness.processes.served import Served
from harness.waiting import wait_for
from opencode_exporter.source import watcher

CALLS = "opencode_tool_invocations_total"
NEVER = "--watch.interval=1h"


def begun() -> int:
    """Return a time of rows that the real clock believes, ms."""
    return time.time_ns() // 1_000_000 - 60_000


def committed(ledger: Path) -> float:
    """Return when the exporter last wrote: it tells of a poll without causing one."""
    return max(path.stat().st_mtime for path in ledger.parent.glob("ledger.db*"))


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "is_there"),
    [((), False), ((), True), (("--watch.force-polling",), False)],
    ids=["appears", "changes", "looking"],
)
def test_a_name_that_is_not_utf8_ends_nothing(
    bench: Bench, flags: tuple[str, ...], *, is_there: bool
) -> None:
    """A file named in Latin-1 beside the database ended the process when it appeared or changed."""
    run = bench.directory / "run"
    odd = not_utf8(bench.source.parent, "café.txt")
    if is_there:
        odd.touch()
    with (
        V1(bench.source, now=begun()) as database,
        Served(bench.source, run, NEVER, *flags, home=bench.directory / "home") as served,
    ):
        message = database.message(database.session())
        wait_for(served.is_ready)
        odd.write_text("changes")
        wait_for(lambda: lines(served, "watching again"))
        before = committed(run / "ledger.db")
        database.tool(message)
        wait_for(lambda: committed(run / "ledger.db") > before)
        (said,) = lines(served, "cannot watch, polling by timer")
        assert "caf\\xE9.txt" in said["err"]
        assert served.page().total(CALLS) == 1


def lines(served: Served, message: str) -> list[dict[str, Any]]:
    """Return the lines of a log with a message."""
    found = map(json.loads, served.log.splitlines())
    return [line for line in found if line["msg"] == message]


@pytest.mark.slow
def test_a_directory_that_cannot_be_watched_keeps_none_from_it(bench: Bench) -> None:
    """One whose name is Latin-1 ended the process; the others are watched, and it is polled."""
    odd, run = not_utf8(bench.directory, "café") / "opencode.db", bench.directory / "run"
    words = (NEVER, f"--source.path={odd}")
    with (
        V1(odd, now=begun()) as there,
        V1(bench.source, now=begun()) as database,
        Served(bench.source, run, *words, home=bench.directory / "home") as served,
    ):
        message, other = (one.message(one.session()) for one in (database, there))
        wait_for(served.is_ready)
        before = committed(run / "ledger.db")
        database.tool(message)
        wait_for(lambda: committed(run / "ledger.db") > before)
        there.tool(other)
        assert served.page().total(CALLS) == 2
        (told,) = lines(served, "cannot watch, polling by timer")
        assert told["directory"].endswith("/caf\\xe9")


class Panic(BaseException):
    """What the watching library raises where it has a defect."""


@pytest.mark.parametrize(
    "cause",
    [
        OSError("out of watches"),
        ExceptionGroup("a task failed", [ValueError("out of watches")]),
        BaseExceptionGroup("a task panicked", [Panic("out of watches")]),
        Panic("out of watches"),
    ],
    ids=lambda cause: type(cause).__name__,
)
def test_watching_is_tried_again_whatever_ended_it(
    cause: BaseException,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is said once, waited for longer and longer, and said once when it is back."""
    caplog.set_level(logging.INFO)
    pauses: list[float] = []
    tries = iter([cause] * 9)

    async def fails(*_: object, **__: object) -> AsyncIterator[set[tuple[Change, str]]]:
        if (err := next(tries, None)) is not None:
            raise err
        yield set()
        stop.set()

    async def waits(_stop: asyncio.Event, seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(watcher, "awatch", fails)
    monkeypatch.setattr(watcher, "_wait", waits)
    stop, wakes = asyncio.Event(), list[None]()
    one = watcher.Watcher(lambda: wakes.append(None), force_polling=False)
    asyncio.run(one.watch(lambda: (tmp_path,), stop))
    assert pauses == [5, 10, 20, 40, 60, 60, 60, 60, 60]
    assert len(wakes) == len(pauses)
    assert [
        record.getMessage() for record in caplog.records if record.name == watcher.__name__
    ] == [
        "cannot watch, polling by timer",
        "watching again",
    ]
    assert "'err': 'out of watches'" in str(vars(caplog.records[0]))


def test_what_to_watch_need_not_be_known(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """That no more files may be opened ended the process while it looked for databases."""
    stop = asyncio.Event()

    def wanted() -> tuple[Path, ...]:
        raise OSError("too many open files")

    async def waits(stop: asyncio.Event, _seconds: float) -> None:
        stop.set()

    monkeypatch.setattr(watcher, "_wait", waits)
    asyncio.run(watcher.Watcher(lambda: None, force_polling=False).watch(wanted, stop))
    assert "cannot watch, polling by timer" in caplog.text


@pytest.mark.slow
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
