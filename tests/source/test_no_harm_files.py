"""
Not a byte of OpenCode's files is changed, in whatever state they are found.

Compared are the contents of the database and of its WAL, and which files are there.
Left out is the ``-shm``, a scratch area that SQLite rebuilds at will and that holds
no rows: under SQLite's own locks (the first poll, and one that was overtaken) the
marks of readers in it move, and what a killed writer left is built anew.  Further
polls leave the ``-shm`` alone, too.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from harness import mounts
from harness.exporters import Bench, exposed
from harness.processes.opencode_writer import Neighbour
from harness.processes.served import Served
from harness.rereading import CALLS, SOURCE
from harness.waiting import wait_for
from opencode_exporter.commands.check import examine
from opencode_exporter.source.opencode.source import Source

CALLS_WRITTEN: Final = 4
STATES: Final = ("closed", "open", "killed", "copied without -shm")


@contextmanager
def left_as(state: str, source: Path) -> Iterator[Neighbour]:
    """Lay out a database as OpenCode leaves it in some state."""
    elsewhere = source.parent / "elsewhere" / SOURCE
    with Neighbour(elsewhere if state.startswith("copied") else source) as opencode:
        opencode.ask("commit", str(CALLS_WRITTEN))
        if state == "closed":
            opencode.ask("close")
        elif state == "killed":
            opencode.kill()
        elif state.startswith("copied"):
            for suffix in ("", "-wal"):
                shutil.copy(f"{elsewhere}{suffix}", f"{source}{suffix}")
        yield opencode


def contents(source: Path, *, index: bool = False) -> dict[str, bytes]:
    """Return the bytes of the database's files by name; of the index, only if wanted."""
    return {
        path.name: path.read_bytes()
        for path in sorted(source.parent.glob(f"{SOURCE}*"))
        if index or not path.name.endswith("-shm")
    }


def names(source: Path) -> list[str]:
    """Return the names of the database's files."""
    return sorted(path.name for path in source.parent.glob(f"{SOURCE}*"))


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES)
def test_polls_scrapes_and_checks_change_nothing(state: str, bench: Bench) -> None:
    """First read, further polls, scrapes, `once` and `check` leave every byte as it was."""
    with left_as(state, bench.source):
        before, there = contents(bench.source), names(bench.source)
        exporter = bench.exporter()
        for _ in range(3):
            exporter.poll()
            assert exposed(exporter).total(CALLS) == CALLS_WRITTEN
            assert contents(bench.source) == before
            bench.clock.advance(hours=1)  # sleeping rows are looked at again
        assert bench.read_once().total(CALLS) == CALLS_WRITTEN
        assert examine(Source(bench.source, SOURCE)).problems == []
        exporter.close()
        assert contents(bench.source) == before
        made = [f"{SOURCE}-shm"] if state.startswith("copied") else []
        assert names(bench.source) == sorted(there + made)


@pytest.mark.slow
def test_polls_leave_the_index_of_the_wal_alone(bench: Bench) -> None:
    """From the second poll on nothing is written at all, and no file is open for writing."""
    exporter = bench.exporter()
    with Neighbour(bench.source) as opencode:
        opencode.ask("commit", "1")
        exporter.poll()
        for count in range(2, 6):
            opencode.ask("commit", "1")
            before = contents(bench.source, index=True)
            exporter.poll()
            assert exposed(exporter).total(CALLS) == count
            assert contents(bench.source, index=True) == before
    exporter.close()


@pytest.mark.slow
@pytest.mark.parametrize("state", ["closed", "open"])
def test_exporter_killed_while_it_reads_leaves_nothing(state: str, tmp_path: Path) -> None:
    """Killed at once, at any moment of its first read or later, it leaves no file of its own."""
    source = tmp_path / "data" / SOURCE
    with left_as(state, source) as opencode:
        before, there = contents(source), names(source)
        with Served(source, tmp_path / "exporter", home=tmp_path) as exporter:
            for _ in range(3):
                exporter.kill()
                assert contents(source) == before
                assert names(source) == there
                exporter.start()
            wait_for(exporter.is_ready)
            exporter.kill()
        if state == "open":
            opencode.ask("close")
        assert names(source) == [SOURCE]


@pytest.mark.root
def test_live_database_through_a_read_only_mount(tmp_path: Path) -> None:
    """In a container on the same kernel, say: new calls are seen, and the close is clean."""
    source, shown = tmp_path / "data" / SOURCE, tmp_path / "shown"
    with Neighbour(source) as opencode:
        opencode.ask("commit", "1")
        with (
            mounts.read_only(source.parent, shown),
            Served(shown / SOURCE, tmp_path / "exporter", home=tmp_path) as exporter,
        ):
            wait_for(exporter.is_ready)
            for count in range(2, 6):
                opencode.ask("commit", "1")
                assert exporter.page().total(CALLS) == count
            assert opencode.ask("close") == [SOURCE]
            page = exporter.page()
            assert page.total(CALLS) == 5
            assert page.value("opencode_up", source=SOURCE) == 1
            assert exporter.stop() == 0
