"""Locks that another process holds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from harness.processes.process import LineProcess

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
    with LineProcess([sys.executable, "-c", HOLD, path, *statements], "held") as holder:
        yield
        holder.tell("let go")
        holder.wait()
