"""
No writer ever waits for us, and the WAL can always be reset.

A writer that gives up at every lock commits and checkpoints all the time, while a
history is read for the first time, by processes of their own, and while polls run.
``NO_HARM_DATABASE=big.db`` takes a copy of that file instead of the small history,
and prints the worst checkpoint (``pytest -s``).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from harness.processes.opencode_writer import Neighbour
from harness.processes.process import with_our_modules
from harness.processes.served import Served
from harness.rereading import CALLS, SOURCE
from harness.waiting import SOON_S, wait_for
from opencode_exporter.service.read_ahead import WORTH_IT_ROWS

PARTS: Final = WORTH_IT_ROWS + 10_000
LAST_POLL: Final = "opencode_exporter_last_successful_poll_timestamp_seconds"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a closed database whose history other processes help to read."""
    path = tmp_path_factory.mktemp("history") / SOURCE
    if given := os.environ.get("NO_HARM_DATABASE"):
        shutil.copyfile(given, path)
        return path
    flags = ["--parts", str(PARTS), "--out", str(path)]
    environ = with_our_modules()
    subprocess.run([sys.executable, "-m", "bench.generate", *flags], check=True, env=environ)
    return path


def children(pid: int) -> set[str]:
    """Return the processes that a process has started and not yet waited for."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return {child for task in tasks for child in task.read_text().split()}


def assert_unharmed(found: dict[str, Any]) -> None:
    """Assert that a storm met no lock, and that nobody held up any of its checkpoints."""
    assert found["commits"] > 0
    assert found["busy"] == 0
    assert found["failed"] == 0
    assert found["worst"] < SOON_S  # of a machine that is busy with other things


def polled_since(exporter: Served) -> None:
    """Wait for a poll that began after now: a page does not wait for one for ever."""
    for _ in range(2):  # the first may have begun before
        now = time.time()
        wait_for(partial(_has_polled, exporter, now))


def _has_polled(exporter: Served, since: float) -> bool:
    return (exporter.page().value(LAST_POLL, source=SOURCE) or 0) > since


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux lists children")
def test_writer_is_free_while_history_is_read(history: Path, tmp_path: Path) -> None:
    """Every commit succeeds at once, and every TRUNCATE soon, during a first read."""
    done = tmp_path / "done"
    with Neighbour(history) as opencode:
        opencode.ask("commit", "1")
        opencode.begin("storm", str(done))
        with Served(history, tmp_path / "exporter", home=tmp_path) as exporter:
            pid = exporter.pid
            wait_for(lambda: len(children(pid)) >= 2, every=0.005)  # or this proves little
            wait_for(exporter.is_ready, 120)
            done.touch()
            found = opencode.finish()
            polled_since(exporter)
            calls = exporter.page().total(CALLS)
            assert opencode.ask("sql", "SELECT max(rowid) FROM part")[0][0][0] > WORTH_IT_ROWS
    print("\nwhile history was read:", found)  # noqa: T201
    assert_unharmed(found)
    with (
        Neighbour(history) as opencode,
        Served(history, tmp_path / "anew", home=tmp_path) as exporter,
    ):
        wait_for(exporter.is_ready, 120)
        assert exporter.page().total(CALLS) == calls  # nothing was lost under the storm
        exporter.stop()
        assert opencode.ask("close") == [SOURCE]  # folded in, as the other tests found it


def _is_free(opencode: Neighbour, statement: str) -> bool:
    (answer,) = opencode.ask("sql", statement)
    return not answer or answer[0][0] == 0  # the first number of a checkpoint: busy


def test_writer_is_free_while_we_poll(tmp_path: Path) -> None:
    """Thousands of commits, and what takes the database for itself, meet no lock of ours."""
    source, done = tmp_path / "data" / SOURCE, tmp_path / "done"
    with Neighbour(source) as opencode:
        opencode.ask("commit", "1")
        with Served(source, tmp_path / "exporter", home=tmp_path) as exporter:
            wait_for(exporter.is_ready)
            opencode.begin("storm", str(done))
            for _ in range(60):
                exporter.page()
                threading.Event().wait(0.02)
            done.touch()
            found = opencode.finish()
            for statement in (
                "BEGIN EXCLUSIVE; UPDATE session SET title = 'x'; COMMIT",
                "PRAGMA wal_checkpoint(RESTART)",
                "VACUUM",
                "PRAGMA wal_checkpoint(TRUNCATE)",
            ):
                exporter.page()
                # A poll that begins at this very moment holds a checkpoint up for milliseconds.
                wait_for(partial(_is_free, opencode, statement), SOON_S)
            rows = opencode.ask("sql", "SELECT count(*) FROM part")[0][0][0]
            assert wait_for(lambda: exporter.page().total(CALLS) == rows, 60)
    assert found["commits"] > 100
    assert_unharmed(found)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux lists children")
def test_exporter_killed_while_others_read_for_it(history: Path, tmp_path: Path) -> None:
    """Killed in the middle of a first read it leaves no file and no process behind."""
    before = history.stat()
    with Served(history, tmp_path / "exporter", home=tmp_path) as exporter:
        pid = exporter.pid
        readers = wait_for(lambda: (found := children(pid)) and len(found) >= 2 and found)
        exporter.kill()
        wait_for(lambda: not any(Path(f"/proc/{reader}/cwd").exists() for reader in readers))
    assert [path.name for path in history.parent.iterdir()] == [SOURCE]
    after = history.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
