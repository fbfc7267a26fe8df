"""A database that another process holds is named, tried again and read when it is free."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from rereading import CALLS, fill, problem, state
from support import PATIENCE_S, Bench, exposed

GOOD: Final = {("read", "completed"): 1}
HOLD: Final = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
for statement in sys.argv[2:]:
    list(connection.execute(statement))
print("held", flush=True)
sys.stdin.readline()
"""
CHANGE: Final = "UPDATE session SET title = 'another'"
LOCKS: Final = {
    "rollback journal": ("PRAGMA journal_mode = DELETE", "BEGIN EXCLUSIVE"),
    "WAL": ("PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL", CHANGE),
    "WAL, shared before": ("SELECT * FROM session", "PRAGMA locking_mode = EXCLUSIVE", CHANGE),
}


@contextmanager
def held(path: Path, *statements: str) -> Iterator[None]:
    """Let another process run these statements and hold what they lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), *statements],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        try:
            yield
        finally:
            process.communicate("\n", timeout=PATIENCE_S)


@pytest.mark.parametrize("name", LOCKS)
def test_locked_database_is_named_and_read_when_it_is_let_go(name: str, bench: Bench) -> None:
    """A database that another process holds for itself is tried again until it is free."""
    fill(bench.source)
    exporter = bench.exporter()
    with held(bench.source, *LOCKS[name]):
        exporter.poll()
        assert state(exposed(exporter)) == (0, 1)
        assert problem(exporter).startswith("the database is locked: it is tried again")
    exporter.poll()
    assert state(exposed(exporter)) == (1, 1)
    assert exposed(exporter).by(CALLS, "tool", "status") == GOOD
    exporter.close()


def test_writer_in_a_transaction_locks_nobody_out(bench: Bench) -> None:
    """In WAL mode the database is read beside an open write; what is not committed is not seen."""
    fill(bench.source)
    with held(bench.source, "BEGIN EXCLUSIVE", "DELETE FROM part"):
        assert bench.read_once().by(CALLS, "tool", "status") == GOOD
