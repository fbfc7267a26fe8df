"""While its source is missing, broken or locked the real process serves, and tells why."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness.databases import V1
from harness.exporters import Bench
from harness.processes.served import Served
from harness.rereading import CALLS, SECRET, add_call, state
from harness.waiting import wait_for

"""Far less than the timer's 30 s: what happens within it was told by the watcher."""
pytestmark = pytest.mark.slow


def a_minute_ago() -> int:
    """Return a time of rows that the real clock of the process believes, ms."""
    return time.time_ns() // 1_000_000 - 60_000


def put(path: Path) -> None:
    """Let a good database with one call appear in one step, as a restored backup does."""
    made = path.with_name("made.tmp")
    with V1(made, now=a_minute_ago()) as database:
        add_call(database)
    made.replace(path)


def not_ready(served: Served, words: str) -> bool:
    """Return whether it is not ready, for that reason.  Asks nothing that would make it poll."""
    answer = served.get("/-/ready")
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    return words in answer.text


def no_count_is_shown(served: Served) -> bool:
    """Scrape, and say whether the source is down and nothing of it is exposed."""
    answer = served.get("/metrics")
    assert answer.status_code == httpx.codes.OK
    assert SECRET not in answer.text
    page = served.page()
    return state(page)[0] == 0 and not page.samples.get(CALLS)


@pytest.fixture
def served(bench: Bench) -> Iterator[Served]:
    """The process, on a database in a directory that does not exist yet."""
    source = bench.directory / "data" / "opencode" / "opencode.db"
    with Served(source, bench.directory / "run", home=bench.directory / "home") as process:
        yield process
        assert process.stop() == 0
        assert SECRET not in process.log


def test_missing_then_broken_then_good(served: Served, bench: Bench) -> None:
    """Every answer is given all the time; a good database is counted as soon as it is there."""
    source = bench.directory / "data" / "opencode" / "opencode.db"
    wait_for(lambda: not_ready(served, "there is no database"))
    assert no_count_is_shown(served)
    source.parent.mkdir(parents=True)
    source.touch()
    wait_for(lambda: not_ready(served, "the file is empty"))
    assert no_count_is_shown(served)
    source.write_bytes(SECRET.encode() * 999)
    wait_for(lambda: not_ready(served, "not an SQLite database"))
    assert no_count_is_shown(served)
    put(source)
    wait_for(served.is_ready)
    page = served.page()
    assert state(page) == (1, 1)
    assert page.value(CALLS, tool="read", status="completed") == 1
    for name in ("/", "/-/healthy", "/metrics"):
        assert served.get(name).status_code == httpx.codes.OK


def test_good_then_broken_then_good(served: Served, bench: Bench) -> None:
    """A database that breaks while we serve takes no count away and is counted on after."""
    source = bench.directory / "data" / "opencode" / "opencode.db"
    source.parent.mkdir(parents=True)
    put(source)
    wait_for(served.is_ready)
    source.write_bytes(SECRET.encode() * 999)
    wait_for(lambda: state(served.page())[0] == 0)
    assert served.is_ready()
    assert served.page().value(CALLS, tool="read", status="completed") == 1
    put(source)
    wait_for(lambda: state(served.page()) == (1, 1))
    assert served.page().value(CALLS, tool="read", status="completed") == 2


def test_rows_of_secrets_do_not_reach_the_log(served: Served, bench: Bench) -> None:
    """Bad rows are counted by cause on the page, while the log keeps silent about them."""
    source = bench.directory / "data" / "opencode" / "opencode.db"
    with V1(source, now=a_minute_ago()) as database:
        message = database.message(database.session())
        for data in (SECRET, f'{{"type":"tool","tool":7,"x":"{SECRET}"}}', f'["{SECRET}"]'):
            database.raw_part(message, data)
        add_call(database)
        wait_for(lambda: served.page().total(CALLS) == 1)
        page = served.page()
    causes = page.by("opencode_exporter_rows_rejected_total", "cause")
    assert causes == {("json",): 1, ("tool_name",): 1, ("shape",): 1}
    assert SECRET not in page.page + served.get("/").text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every directory")
def test_directory_that_may_not_be_entered(served: Served, bench: Bench) -> None:
    """A closed directory is waited for like a missing one."""
    source = bench.directory / "data" / "opencode" / "opencode.db"
    source.parent.mkdir(parents=True)
    put(source)
    wait_for(served.is_ready)
    source.parent.chmod(0o000)
    wait_for(lambda: state(served.page())[0] == 0)
    source.parent.chmod(0o755)
    wait_for(lambda: state(served.page()) == (1, 1))
