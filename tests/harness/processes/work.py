"""
What tests of faults share: a real exporter on a database that a test writes to.

Owns how calls get into the database and how many of them there are.  Nothing
here knows which fault a test brings about.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from harness.databases import V1
from harness.exporters import Bench
from harness.processes.served import Served
from harness.waiting import wait_for

CALLS: Final = "opencode_tool_invocations_total"
SOURCE: Final = "opencode.db"
PAGE: Final = 4096
QUICK: Final = "--watch.interval=1s"


def a_minute_ago() -> int:
    """Return a time of rows that the real clock of a process believes, ms."""
    return time.time_ns() // 1_000_000 - 60_000


class Work:
    """A database of 1.x in which calls end when a test says so."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls = 0
        self._database = V1(path, now=a_minute_ago(), ddl="" if path.exists() else None)

    def add(self, calls: int = 1, *, tool: str = "read") -> int:
        """Write a session with calls that have ended; return how many there are now."""
        database = self._database
        with database.db:
            message = database.message(database.session())
            for number in range(calls):
                database.tool(message, tool=tool, call=f"call_{number}")
        self.calls += calls
        return self.calls

    def happen_now(self) -> None:
        """Let what is written from now on end now, not a minute ago."""
        self._database.now = time.time_ns() // 1_000_000

    def close(self) -> None:
        """Close the database as OpenCode does when it ends."""
        self._database.close()


@contextmanager
def working(bench: Bench, calls: int = 1) -> Iterator[Work]:
    """Write a database with calls in it; it stays open until the block ends."""
    work = Work(bench.source)
    try:
        work.add(calls)
        yield work
    finally:
        work.close()


def serve(bench: Bench, *more: str) -> Served:
    """Return the real exporter on that database; not started yet."""
    ledger = ("--ledger.path", str(bench.ledger))  # its log lies elsewhere, where there is room
    run = bench.directory / "run"
    return Served(bench.source, run, *ledger, *more, home=bench.directory / "home")


def counts(served: Served, calls: int, seconds: float = 10.0) -> None:
    """Wait until the page shows a number of calls, and is up."""
    wait_for(lambda: shown(served) == (1, calls), seconds)


def shown(served: Served) -> tuple[float | None, float]:
    """Return whether the source is up on a page, and the calls on it."""
    page = served.page()
    return page.value("opencode_up", source=SOURCE), page.total(CALLS)


def overwrite(path: Path, start: int, end: int) -> None:
    """Write nonsense over some bytes of a file, in place."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xfe" * (end - start))


def damage_keys(ledger: Path) -> None:
    """Overwrite the pages that hold the keys of counted events: no start looks at them."""
    with_ledger = apsw.Connection(str(ledger))
    sql = "SELECT pageno FROM dbstat WHERE name = 'seen' AND pagetype = 'leaf'"
    pages = [page for (page,) in with_ledger.execute(sql)]
    with_ledger.close()
    for page in pages:
        overwrite(ledger, (page - 1) * PAGE, page * PAGE)
