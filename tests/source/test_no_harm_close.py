"""OpenCode's last close folds its WAL into the file, whatever we do at that moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from harness.exporters import Bench, exposed
from harness.processes.opencode_writer import Neighbour
from harness.processes.served import Served
from harness.rereading import CALLS, SOURCE, fill
from harness.waiting import wait_for
from opencode_exporter.errors import SourceChangedError
from opencode_exporter.source.opencode import lockless
from opencode_exporter.source.opencode.reader import Reader
from opencode_exporter.source.opencode.source import Source

CLOSES: Final = 12
SEESAW_S: Final = 2


@contextmanager
def scraping(exporter: Served, per_second: int) -> Iterator[None]:
    """Scrape all the time, or never."""
    done = threading.Event()

    def scrape() -> None:
        while per_second and not done.wait(1 / per_second):
            exporter.page()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("per_second", [0, 10])
def test_nothing_is_left_behind_by_the_last_close(per_second: int, tmp_path: Path) -> None:
    """While we serve, with and without scrapes, each last close leaves the one file."""
    source = tmp_path / "data" / SOURCE
    pause = threading.Event()
    with Neighbour(source) as opencode, ExitStack() as later:
        opencode.ask("commit", "1")
        assert opencode.ask("close") == [SOURCE]
        opencode.ask("open")
        exporter = later.enter_context(Served(source, tmp_path / "exporter", home=tmp_path))
        wait_for(exporter.is_ready)
        with scraping(exporter, per_second):
            for count in range(CLOSES):
                opencode.ask("commit", "2")
                pause.wait(count * 0.01)  # so that polls meet it at various moments
                assert opencode.ask("close") == [SOURCE]
                opencode.ask("open")
            opencode.ask("close")
        assert exporter.page().total(CALLS) == 1 + CLOSES * 2


def read_unnoticed(path: Path, meanwhile: Callable[[Reader], object]) -> None:
    """Read three calls as a poll does, and let something happen before it is over."""
    with Source(path, SOURCE).open(unnoticed=True) as reader:
        assert reader.is_unnoticed
        assert reader.query("SELECT count(*) FROM part").get == 3
        reader.verify()
        meanwhile(reader)


@pytest.mark.slow
def test_close_in_the_middle_of_a_poll(tmp_path: Path) -> None:
    """A poll does not keep the last close from folding, and what it read is dropped."""
    source = tmp_path / SOURCE
    left: list[object] = []
    with Neighbour(source) as opencode:
        opencode.ask("commit", "3")
        with pytest.raises(SourceChangedError):
            read_unnoticed(source, lambda _: left.append(opencode.ask("close")))
    assert left == [[SOURCE]]


def test_database_closed_before_our_locks_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A WAL that is gone before SQLite opened it is not made anew."""
    source = tmp_path / SOURCE
    answers = iter([True, False])  # as if it went between our look and our lock
    honest = Source._has_rows_in_wal
    fill(source)
    with monkeypatch.context() as patch:
        patch.setattr(Source, "_has_rows_in_wal", lambda self: next(answers, False) or honest(self))
        with Source(source, SOURCE).open() as us:
            assert us.query("SELECT count(*) FROM part").get == 1
    assert [path.name for path in tmp_path.iterdir()] == [SOURCE]


@pytest.mark.slow
@pytest.mark.parametrize("statement", ["wal_checkpoint(TRUNCATE)", "wal_checkpoint(RESTART)"])
def test_read_that_a_checkpoint_overtook_is_dropped(statement: str, tmp_path: Path) -> None:
    """A checkpoint of commits that the read does not know of, or a new WAL, ends the read."""
    source = tmp_path / SOURCE
    with Neighbour(source) as opencode:
        opencode.ask("commit", "3")

        def overtake(reader: Reader) -> None:
            opencode.ask("commit", "1")
            reader.verify()  # more rows in the WAL take nothing from ours
            assert reader.query("SELECT count(*) FROM part").get == 3
            opencode.ask("sql", f"PRAGMA {statement}")
            opencode.ask("commit", "1")

        with pytest.raises(SourceChangedError):
            read_unnoticed(source, overtake)


@pytest.mark.slow
def test_poll_that_was_overtaken_is_repeated_at_once(bench: Bench) -> None:
    """Whatever a writer does while a poll reads, the same poll brings every call."""
    exporter = bench.exporter()
    with Neighbour(bench.source) as opencode:
        opencode.ask("commit", "1")
        exporter.poll()
        opencode.ask("commit", "1")
        honest = Source.open
        overtaken: list[bool] = []

        @contextmanager
        def interrupted(source: Source, *, unnoticed: bool = False) -> Iterator[object]:
            with honest(source, unnoticed=unnoticed) as reader:
                if reader.is_unnoticed:
                    overtaken.append(True)
                    opencode.ask("commit", "1")
                    assert opencode.ask("close") == [SOURCE]
                yield reader

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Source, "open", interrupted)
            exporter.poll()
    assert overtaken
    assert exposed(exporter).total(CALLS) == 3
    assert exposed(exporter).value("opencode_up", source=SOURCE) == 1
    exporter.close()


@pytest.mark.slow
def test_whoever_has_the_database_for_himself_is_not_read_over(tmp_path: Path) -> None:
    """A writer that keeps its index to itself cannot be verified: no read goes past its lock."""
    source = tmp_path / SOURCE
    with Neighbour(source) as killed:
        killed.ask("commit", "2")
        killed.kill()  # leaves an index that nobody keeps any more
    with Neighbour(source) as opencode:
        opencode.ask("sql", "PRAGMA locking_mode = EXCLUSIVE", "UPDATE session SET title = 'x'")
        with (
            pytest.raises(Exception, match="the database is locked"),
            Source(source, SOURCE).open(unnoticed=True),
        ):
            pass
        opencode.ask("close")
    with Source(source, SOURCE).open(unnoticed=True) as us:
        assert us.query("SELECT count(*) FROM part").get == 2


@pytest.mark.slow
@pytest.mark.parametrize("is_long", [True, False], ids=["long WAL", "not lockless"])
def test_poll_takes_locks_where_it_cannot_do_without(
    is_long: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a very long WAL, or where it is told to, SQLite's own locks guard the read."""
    if is_long:
        monkeypatch.setattr(lockless, "MOST_FRAMES", 0)
    source = tmp_path / SOURCE
    with Neighbour(source) as opencode:
        opencode.ask("commit", "3")
        with Source(source, SOURCE, lockless=is_long).open(unnoticed=True) as us:
            assert not us.is_unnoticed
            assert us.query("SELECT count(*) FROM part").get == 3


@pytest.mark.slow
def test_what_was_read_unnoticed_is_of_one_state(tmp_path: Path) -> None:
    """Beside checkpoints and closes at any moment, no torn read passes for a whole one."""
    source, done = tmp_path / "data" / SOURCE, tmp_path / "done"
    whole = overtaken = 0
    with Neighbour(source) as opencode:
        opencode.ask("commit", "200")
        opencode.ask("sql", "UPDATE part SET time_updated = 0")
        opencode.begin("seesaw", str(done), "7")
        until = time.monotonic() + SEESAW_S
        while time.monotonic() < until:
            try:
                with Source(source, SOURCE).open(unnoticed=True) as us:
                    seen = numbers(us)
                    us.verify()
                    if us.is_unnoticed:
                        whole += 1
                        assert seen[0] is not None
                        assert seen[0] == seen[1]
            except SourceChangedError:
                overtaken += 1
        done.touch()
        assert opencode.finish() > 0
    assert whole > 10
    assert overtaken > 0


def numbers(us: Reader) -> list[object]:
    """Return what the first and the last part say, slowly: page by page, all between them."""
    sql = "SELECT time_updated, octet_length(data) FROM part WHERE rowid = ?"
    rows = [us.query(sql, (rowid,)).fetchone() for rowid in (1, *range(2, 200, 9), 200)]
    return [row[0] if row else None for row in (rows[0], rows[-1])]
