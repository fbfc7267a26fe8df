"""A directory that may not be written, or not be read: what can be counted is, else we say why."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from harness import mounts
from harness.databases import V1, V2
from harness.processes.process import with_our_modules
from harness.rereading import SOURCE, add_call, fill

FORBIDDEN: Final = (
    "a file of the database cannot be read (Permission denied): "
    "let the exporter's user read the data directory"
)
NO_INDEX: Final = "the newest rows are in a -wal file that has no -shm beside it"
READ: Final = """
import os, sys
from pathlib import Path
from opencode_exporter.service.settings import Settings
from opencode_exporter.service.exporter import Exporter
from opencode_exporter.source.watcher import watchable
from harness.clock import FakeClock
from harness.exporters import exposed
if os.geteuid() == 0 and sys.argv[3] == "nobody":
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
settings = Settings(source_paths=(Path(sys.argv[1]),))
exporter = Exporter(settings, {}, Path(sys.argv[2]), clock=FakeClock())
exporter.poll()
watchable(exporter.directories())
health = exporter.poller.health["opencode.db"]
print(int(health.up), int(exposed(exporter).total("opencode_tool_invocations_total")))
print(health.problem)
"""


def names(directory: Path) -> set[str]:
    """Return what lies in a directory; nothing where even its owner may not look."""
    try:
        return {path.name for path in directory.iterdir()}
    except PermissionError:
        return set()


class Elsewhere:
    """A data directory that users other than its owner may be let into, or not."""

    def __init__(self, top: Path) -> None:
        top.chmod(0o755)
        self.home = top / "home"
        self.home.mkdir()
        self.data = top / "data"
        self.data.mkdir()
        self.source = self.data / SOURCE

    def read(self, *, as_root: bool = False) -> tuple[int, int, str]:
        """Return up, calls and problem, as a user finds them whom permissions bind."""
        user = "root" if as_root else "nobody"
        before = names(self.data)
        done = subprocess.run(
            [sys.executable, "-c", READ, *map(str, (self.source, self.home)), user],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=with_our_modules(),
        )
        assert done.returncode == 0, done.stderr
        if not self.data.stat().st_mode & stat.S_IWOTH:
            assert names(self.data) == before
        counts, problem, *_ = [*done.stdout.splitlines(), ""]
        up, calls = map(int, counts.split())
        return up, calls, problem

    def leave_wal(self, *, index: bool) -> None:
        """Lay out what a killed writer leaves: rows in the WAL, with or without its index."""
        with V1(self.home / SOURCE) as database:
            add_call(database)
            for suffix in ("", "-wal", "-shm") if index else ("", "-wal"):
                shutil.copy(self.home / f"{SOURCE}{suffix}", self.data)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """A directory outside those of pytest, which only their owner may enter."""
    with tempfile.TemporaryDirectory() as top:
        place = Elsewhere(Path(top))
        yield place
        place.data.chmod(0o755)


@pytest.mark.slow
@pytest.mark.parametrize("generation", [V1, V2])
def test_cold_database_in_a_directory_that_cannot_be_written(
    generation: type[V1 | V2], elsewhere: Elsewhere
) -> None:
    """A cleanly closed database is read where neither -wal nor -shm could be made."""
    fill(elsewhere.source, generation)
    elsewhere.data.chmod(0o555)
    assert elsewhere.read() == (1, 1, "")


@pytest.mark.slow
def test_cold_database_in_a_directory_that_can_be_written(elsewhere: Elsewhere) -> None:
    """A cleanly closed database is left alone also where -wal and -shm could be made."""
    fill(elsewhere.source)
    elsewhere.data.chmod(0o777)
    assert elsewhere.read() == (1, 1, "")
    assert names(elsewhere.data) == {SOURCE}


@pytest.mark.slow
def test_empty_wal_in_a_directory_that_cannot_be_written(elsewhere: Elsewhere) -> None:
    """A WAL without rows does not make a database unreadable."""
    fill(elsewhere.source)
    elsewhere.source.with_name(f"{SOURCE}-wal").touch()
    elsewhere.data.chmod(0o555)
    assert elsewhere.read() == (1, 1, "")


@pytest.mark.slow
def test_live_database_in_a_directory_that_cannot_be_written(elsewhere: Elsewhere) -> None:
    """With -wal and -shm beside it a database is read, newest rows included."""
    with V1(elsewhere.source) as database:
        elsewhere.data.chmod(0o555)
        for count in range(1, 3):
            add_call(database)
            assert elsewhere.read() == (1, count, "")


@pytest.mark.slow
def test_wal_with_its_index_in_a_directory_that_cannot_be_written(elsewhere: Elsewhere) -> None:
    """What a killed writer left is read, newest rows included."""
    elsewhere.leave_wal(index=True)
    elsewhere.data.chmod(0o555)
    assert elsewhere.read() == (1, 1, "")


@pytest.mark.slow
def test_wal_without_its_index_in_a_directory_that_cannot_be_written(elsewhere: Elsewhere) -> None:
    """Rows that are in the WAL alone are never skipped: the source is down, with a hint."""
    elsewhere.leave_wal(index=False)
    elsewhere.data.chmod(0o555)
    up, calls, problem = elsewhere.read()
    assert (up, calls) == (0, 0)
    assert problem.startswith(NO_INDEX)
    assert problem.endswith(
        "mount the directory with its -shm file, or run the exporter on the host"
    )


@pytest.mark.slow
def test_wal_without_its_index_in_a_directory_that_can_be_written(elsewhere: Elsewhere) -> None:
    """SQLite makes the index of a WAL that is there, and its rows are read."""
    elsewhere.leave_wal(index=False)
    elsewhere.data.chmod(0o777)
    for path in elsewhere.data.iterdir():
        path.chmod(0o666)
    assert elsewhere.read() == (1, 1, "")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_file_that_may_not_be_read(suffix: str, elsewhere: Elsewhere) -> None:
    """A file that is closed to our user is named as that, whichever of the three it is."""
    with V1(elsewhere.source) as database:
        add_call(database)
        closed = elsewhere.source.with_name(f"{SOURCE}{suffix}")
        closed.chmod(0o000)
        assert elsewhere.read() == (0, 0, FORBIDDEN)
        closed.chmod(0o644)
        assert elsewhere.read() == (1, 1, "")


@pytest.mark.slow
@pytest.mark.parametrize("mode", [0o000, 0o644])
def test_directory_that_may_not_be_entered(mode: int, elsewhere: Elsewhere) -> None:
    """A closed directory is named as that, stops nothing, and is read once it is open."""
    fill(elsewhere.source)
    elsewhere.data.chmod(mode)
    assert elsewhere.read() == (0, 0, FORBIDDEN)
    elsewhere.data.chmod(0o755)
    assert elsewhere.read() == (1, 1, "")


@pytest.mark.slow
def test_directory_that_may_not_be_listed(elsewhere: Elsewhere) -> None:
    """The database is named: its directory need not tell what else is there."""
    fill(elsewhere.source)
    elsewhere.data.chmod(0o711)
    assert elsewhere.read() == (1, 1, "")


@pytest.mark.root
@pytest.mark.parametrize(
    ("left", "up", "words"),
    [("cold", 1, ""), ("wal and index", 1, ""), ("wal alone", 0, NO_INDEX)],
)
def test_read_only_mount(left: str, up: int, words: str, elsewhere: Elsewhere) -> None:
    """On a file system that nobody can write the same holds, also for root."""
    if left == "cold":
        fill(elsewhere.source)
    else:
        elsewhere.leave_wal(index=left == "wal and index")
    with mounts.read_only(elsewhere.data, elsewhere.data):
        assert elsewhere.read(as_root=True)[:2] == (up, up)
        found = elsewhere.read()
    assert found[:2] == (up, up)
    assert found[2].startswith(words)
