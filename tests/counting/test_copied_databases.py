"""A database that is copied, or moved, while a call runs shows that call no longer than it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw
import pytest

from harness.clock import HOUR_MS
from harness.databases import V1, V2, call
from harness.exporters import Bench, Exposed
from harness.pages import CALLS, LATE, polled
from opencode_exporter.service.exporter import Exporter

Database = V1 | V2
RUNNING: Final = "opencode_tool_in_flight"
COPY = pytest.mark.parametrize("name", ["opencode-backup.db", "opencode.old.db"])
FINISH: Final = '{"type":"step-finish","reason":"stop","cost":0.5,"tokens":{"input":7}}'


@pytest.fixture
def exporter(bench: Bench) -> Iterator[Exporter]:
    """An exporter of a whole directory, that is polled by hand."""
    found = bench.exporter(source_paths=(bench.directory,))
    yield found
    found.close()


class Work:
    """A call in a database of its own, that somebody else may copy."""

    def __init__(self, bench: Bench, generation: type[Database]) -> None:
        self.db = generation(bench.source, now=bench.clock.ms)
        self.bench = bench
        self.session = self.db.session()
        if isinstance(self.db, V1):
            self.step = self.db.message(self.session)
            self.part = self.db.tool(self.step, tool="bash", status="running", metadata={})
        else:
            self.running = call(name="shell", status="running")
            self.step = self.db.assistant(self.session, [self.running], completed=None)

    @property
    def tokens(self) -> int:
        """How many tokens its steps take."""
        return 2 * 7 if isinstance(self.db, V1) else 7

    def copy(self, name: str) -> Path:
        """Return a copy of the database as it is now."""
        path = self.bench.directory / name
        target = apsw.Connection(str(path))
        with target.backup("main", self.db.db, "main") as copying:
            copying.step()
        target.close()
        return path

    def go_on(self) -> None:
        """Let the command print."""
        self.db.now = self.bench.clock.ms
        if isinstance(self.db, V1):
            self.db.rewrite(self.part, metadata={"output": "x"})
        else:
            self.db.rewrite(self.step, [self.running], completed=None)

    def end(self) -> None:
        """End the call, its step and its turn."""
        self.db.now = max(self.db.now, self.bench.clock.ms)
        if isinstance(self.db, V1):
            self.db.rewrite(self.part, status="completed", metadata={"exit": 0})
            self.db.raw_part(self.step, FINISH)
            self.db.rewrite_message(self.step, completed=self.db.tick(), finish="tool-calls")
            last = self.db.message(self.session)  # 1.x goes on after a step with a call
            self.db.raw_part(last, FINISH)
            self.db.rewrite_message(last, completed=self.db.tick(), finish="stop")
        else:
            ended = call(name="shell", metadata={"exit": 0})
            self.db.rewrite(self.step, [ended], tokens={"input": 7}, finish="stop")
            self.db.idle(self.session)


@pytest.fixture(params=[V1, V2])
def work(request: pytest.FixtureRequest, bench: Bench) -> Iterator[Work]:
    """A call that runs, in either generation."""
    found = Work(bench, request.param)
    yield found
    found.db.close()


def later(bench: Bench, exporter: Exporter, ms: int = 1000) -> Exposed:
    """Return the page after a while."""
    bench.clock.advance(ms=ms)
    return polled(exporter)


def statuses(page: Exposed) -> dict[tuple[str, ...], int]:
    """Return how calls ended."""
    return dict(page.by(CALLS, "status"))


COMPLETED: Final = {("completed",): 1}


@COPY
@pytest.mark.parametrize("restart", [False, True], ids=["serving", "restarted"])
def test_call_that_ended_in_the_original_ends_in_the_copy(
    bench: Bench, work: Work, name: str, *, restart: bool
) -> None:
    """A backup that was made while a command ran held it in flight for hours."""
    exporter = bench.exporter(source_paths=(bench.directory,))
    assert later(bench, exporter).total(RUNNING) == 1
    work.copy(name)
    assert later(bench, exporter).total(RUNNING) == 1
    if restart:
        exporter.close()
        exporter = bench.exporter(source_paths=(bench.directory,))
    work.end()
    for ms in (1000, 61_000, 7 * HOUR_MS):
        page = later(bench, exporter, ms)
        assert (statuses(page), page.total(RUNNING), page.total(LATE)) == (COMPLETED, 0, 0)
        assert page.total("opencode_tokens_total") == work.tokens
        assert page.by("opencode_turns_total", "outcome") == {("succeeded",): 1}
    exporter.close()


def test_call_ends_though_only_the_copy_is_left(
    bench: Bench, exporter: Exporter, work: Work
) -> None:
    """The copy is where OpenCode went on, and the original is gone."""
    later(bench, exporter)
    path = work.copy("opencode-next.db")
    later(bench, exporter)
    work.db.close()
    for file in bench.directory.glob("opencode.db*"):
        file.unlink()
    work.db = type(work.db)(path, ddl="", now=bench.clock.ms)
    if isinstance(work.db, V1):
        work.db._tools[work.part] = {"tool": "bash", "start": bench.clock.ms}
    work.end()
    page = later(bench, exporter)
    assert (statuses(page), page.total(RUNNING)) == (COMPLETED, 0)


def test_database_that_is_moved_away_and_back(bench: Bench, exporter: Exporter, work: Work) -> None:
    """Under another name for a while, its call is the same call."""
    later(bench, exporter)
    work.db.close()
    other = bench.directory / "opencode-aside.db"
    bench.source.rename(other)
    page = later(bench, exporter)
    assert (statuses(page), page.total(RUNNING)) == ({}, 1)
    other.rename(bench.source)
    work.db = type(work.db)(bench.source, ddl="", now=bench.clock.ms)
    if isinstance(work.db, V1):
        work.db._tools[work.part] = {"tool": "bash", "start": bench.clock.ms}
    assert later(bench, exporter).total(RUNNING) == 1
    work.end()
    page = later(bench, exporter)
    assert (statuses(page), page.total(RUNNING)) == (COMPLETED, 0)


@COPY
def test_copy_that_rests_gives_up_no_call_that_goes_on(
    bench: Bench, exporter: Exporter, work: Work, name: str
) -> None:
    """A copy says for ever that the call rests, and the original that it does not."""
    later(bench, exporter)
    work.copy(name)
    for _ in range(8):
        page = later(bench, exporter, HOUR_MS)
        assert (statuses(page), page.total(RUNNING)) == ({}, 1)
        work.go_on()
    work.end()
    page = later(bench, exporter, 61_000)  # its step has slept
    assert (statuses(page), page.total(RUNNING), page.total(LATE)) == (COMPLETED, 0, 0)
    assert page.total("opencode_tokens_total") == work.tokens


@COPY
def test_row_that_is_deleted_in_the_copy_ends_nothing(
    bench: Bench, exporter: Exporter, work: Work, name: str
) -> None:
    """That a session was deleted in the copy says nothing of the original."""
    later(bench, exporter)
    path = work.copy(name)
    later(bench, exporter)
    with type(work.db)(path, ddl="") as copy:
        copy.delete_session(work.session)
    page = later(bench, exporter)
    assert (statuses(page), page.total(RUNNING)) == ({}, 1)
    work.end()
    page = later(bench, exporter)
    assert (statuses(page), page.total(RUNNING), page.total(LATE)) == (COMPLETED, 0, 0)
    assert page.by("opencode_turns_total", "outcome") == {("succeeded",): 1}


@pytest.mark.parametrize("listed", [False, True], ids=["found", "named"])
def test_call_of_a_database_that_is_gone_is_given_up(
    bench: Bench, work: Work, *, listed: bool
) -> None:
    """Nobody will end it: it is abandoned after as long as any other, not in flight for ever."""
    paths = bench.source if listed else bench.directory
    exporter = bench.exporter(source_paths=(paths,))
    later(bench, exporter)
    work.db.close()
    bench.source.unlink()
    assert later(bench, exporter).total(RUNNING) == 1
    page = later(bench, exporter, 7 * HOUR_MS)
    assert (statuses(page), page.total(RUNNING)) == ({("abandoned",): 1}, 0)
    exporter.close()


def test_call_of_a_table_that_is_gone_is_given_up(bench: Bench, work: Work) -> None:
    """One of 1.x was taken for one of 2.x, whose row nobody knew: in flight for ever."""
    exporter = bench.exporter()
    later(bench, exporter)
    work.db.close()
    bench.source.unlink()
    other = V1 if isinstance(work.db, V2) else V2
    other(bench.source).close()
    assert later(bench, exporter).total(RUNNING) == 1
    page = later(bench, exporter, 7 * HOUR_MS)
    assert (statuses(page), page.total(RUNNING)) == ({("abandoned",): 1}, 0)
    exporter.close()
