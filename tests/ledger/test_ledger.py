"""The ledger's file is held alone, is only ever ours, and is whole after any crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from harness.exporters import Bench, exposed
from harness.pages import counted, polled
from harness.places import TESTS
from harness.processes.process import LineProcess
from ledger.ledger_files import add, mode
from opencode_exporter.errors import LedgerBusyError, LedgerError
from opencode_exporter.ledger.file import SCHEMA_VERSION
from opencode_exporter.ledger.store import Changes, Store

HOLDER = """
import sys
from pathlib import Path
from opencode_exporter.ledger.store import Store
store = Store(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""
DYING = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from harness.clock import FakeClock
from harness.exporters import Bench
exporter = Bench(Path(sys.argv[2]), FakeClock(int(sys.argv[3]))).exporter()
statements = 0
def die(cursor, sql, bindings):
    global statements
    statements += 1
    if sys.argv[4] in (str(statements), sql):
        os.kill(os.getpid(), 9)
    return True
store = exporter.ledger._store
write = store.write
def traced(batch):
    store._db.exec_trace = die
    write(batch)
    store._db.exec_trace = None
store.write = traced
exporter.poll()
"""


def rows(ledger: Path) -> dict[str, list[object]]:
    """Return everything that a ledger holds."""
    db = apsw.Connection(str(ledger))
    found: dict[str, list[object]] = {
        table: sorted(db.execute(f"SELECT * FROM {table}"))
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    assert db.pragma("integrity_check") == "ok"
    db.close()
    return found


@pytest.mark.slow
def test_second_exporter_on_a_ledger_is_refused(bench: Bench) -> None:
    """While another process holds the ledger it is busy; when that is killed, it is free."""
    with LineProcess([sys.executable, "-c", HOLDER, bench.ledger], "held"):
        with pytest.raises(LedgerBusyError, match="another exporter holds the ledger") as said:
            Store(bench.ledger)
        assert "--ledger.path" in said.value.hint
    Store(bench.ledger).close()


@pytest.mark.parametrize(
    ("version", "says", "hint"),
    [
        (SCHEMA_VERSION + 1, "newer version", "update the exporter"),
        (SCHEMA_VERSION - 1, "older than the first release", "move it away"),
    ],
)
def test_other_schema_is_refused(bench: Bench, version: int, says: str, hint: str) -> None:
    """A ledger of a later version, or from before the first, is left as it is."""
    bench.exporter().close()
    db = apsw.Connection(str(bench.ledger))
    db.pragma("user_version", version)
    db.close()
    before = rows(bench.ledger)
    with pytest.raises(LedgerError, match=says) as said:
        bench.exporter()
    assert hint in said.value.hint
    assert rows(bench.ledger) == before


@pytest.mark.parametrize("damage", ["no database", "pages overwritten", "cut"])
def test_damaged_ledger_is_set_aside(
    bench: Bench, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged ledger is kept under another name, and counting starts at zero from now."""
    exporter = bench.exporter()
    add(bench, 200)
    assert counted(polled(exporter)) == {("read", "completed"): 200}
    exporter.close()
    whole = bench.ledger.read_bytes()
    bench.ledger.write_bytes(
        {
            "no database": b"not a database " * 1000,
            "pages overwritten": whole[:100] + b"\xff" * (len(whole) - 100),
            "cut": whole[:5000],
        }[damage]
    )
    damaged = bench.ledger.read_bytes()
    bench.clock.advance(hours=1)
    exporter = bench.exporter()
    (aside,) = bench.ledger.parent.glob("ledger.db.corrupt-*")
    assert aside.name == "ledger.db.corrupt-20261118T120640"
    assert aside.read_bytes() == damaged
    assert "ledger is damaged" in caplog.text
    page = polled(exporter)
    assert counted(page) == {}
    began = page.value("opencode_exporter_baseline_timestamp_seconds")
    assert began == bench.clock.ms / 1000
    add(bench, 3)
    assert counted(polled(exporter)) == {("read", "completed"): 3}
    exporter.close()


def test_ledger_is_for_its_owner_alone(bench: Bench) -> None:
    """The files are 0600 in a directory of 0700, whatever the umask."""
    before = os.umask(0)
    try:
        exporter = bench.exporter()
        add(bench, 1)
        exporter.poll()
        modes = {path.name: mode(path) for path in bench.ledger.parent.iterdir()}
        assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600}
        assert mode(bench.ledger.parent) == 0o700
        exporter.close()
    finally:
        os.umask(before)


@pytest.mark.slow
@pytest.mark.parametrize("at", ["1", "2", "9", "21", "22", "24", "27", "30", "COMMIT", ""])
def test_killed_between_two_statements_all_or_nothing(bench: Bench, at: str) -> None:
    """SIGKILL before any statement of a write leaves all of the batch or nothing."""
    exporter = bench.exporter()
    add(bench, 5)
    exporter.poll()
    exporter.close()
    before = rows(bench.ledger)
    add(bench, 20)
    died = subprocess.run(
        [sys.executable, "-c", DYING, str(TESTS), bench.directory, str(bench.clock.ms), at],
        check=False,
        timeout=60,
    )
    assert died.returncode == (-signal.SIGKILL if at else 0)
    assert (rows(bench.ledger) == before) == bool(at)
    for _ in range(2):
        exporter = bench.exporter()
        page = polled(exporter)
        assert counted(page) == {("read", "completed"): 25}
        assert page.value("opencode_tool_in_flight", tool="read") == 2
        exporter.close()


def test_full_disk_keeps_the_old_numbers(bench: Bench) -> None:
    """A commit that fails publishes nothing, keeps nothing, and loses nothing."""
    exporter = bench.exporter()
    add(bench, 5)
    polled(exporter)
    database = exporter.ledger._store._db
    before = exposed(exporter)
    database.pragma("max_page_count", database.pragma("page_count"))
    add(bench, 2000)
    page = polled(exporter)
    assert page.value("opencode_up", source="opencode.db") == 0
    assert "the ledger cannot be written" in exporter.poller.health["opencode.db"].problem
    for metric, series in before.samples.items():
        if metric.startswith(("opencode_tool_", "opencode_skill_")):
            assert page.samples[metric] == series
    with pytest.raises(LedgerError, match="cannot be written") as said:
        fail(exporter.ledger._store)
    assert "free space" in said.value.hint
    database.pragma("max_page_count", 1_000_000)
    page = polled(exporter)
    assert page.value("opencode_up", source="opencode.db") == 1
    assert counted(page) == {("read", "completed"): 2005}
    exporter.close()


def fail(store: Store) -> None:
    """Write more than there is room for."""
    store.write(Changes(meta={"filler": "x" * 100_000}))
