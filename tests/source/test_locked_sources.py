"""A database that another process holds is named, tried again and read when it is free."""

from __future__ import annotations

from typing import Final

import pytest

from harness.exporters import Bench, exposed
from harness.rereading import CALLS, fill, problem, state
from source.held_locks import LOCKS, held

GOOD: Final = {("read", "completed"): 1}
pytestmark = pytest.mark.slow


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
