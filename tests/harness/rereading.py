"""
What tests of bad input share: good databases, readings, and what they showed.

Reads the same source again and again, in every way in which it can happen, so
that a test can say what must not change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import apsw

from harness.databases import V1, V2, call
from harness.exporters import Bench, Exposed, exposed
from opencode_exporter.service.exporter import Exporter

SOURCE = "opencode.db"
REJECTED = "opencode_exporter_rows_rejected_total"
CALLS = "opencode_tool_invocations_total"
SECRET = "sk-secret-of-the-user"  # noqa: S105  # planted in rows, must show up nowhere


def readings(bench: Bench, touch: Callable[[], object]) -> Iterator[Exposed]:
    """
    Yield the page after a first poll, a second, a restart and a reading of everything anew.

    Args:
        bench: Where source and ledger are.
        touch: Writes something harmless, so that the next poll looks at the files.
    """
    first = bench.exporter()
    for _ in range(2):
        first.poll()
        yield exposed(first)
        touch()
    first.close()
    yield from _restarted(bench)
    forget_cursors(bench.ledger)
    touch()
    yield from _restarted(bench)


def _restarted(bench: Bench) -> Iterator[Exposed]:
    exporter = bench.exporter()
    exporter.poll()
    yield exposed(exporter)
    exporter.close()


def forget_cursors(ledger: Path) -> None:
    """Let the next exporter on a ledger read all again; none may be open on it."""
    database = apsw.Connection(str(ledger))
    database.execute("DELETE FROM cursor")
    database.close()


def problem(exporter: Exporter, source: str = "opencode.db") -> str:
    """Return the sentence about a source, empty when all is well."""
    return exporter.poller.health[source].problem


def stored(ledger: Path) -> bytes:
    """Return every byte of the ledger's files."""
    return b"".join(path.read_bytes() for path in ledger.parent.glob(f"{ledger.name}*"))


def state(page: Exposed) -> tuple[float | None, float | None]:
    """Return whether the source is up, and supported."""
    return (
        page.value("opencode_up", source=SOURCE),
        page.value("opencode_source_supported", source=SOURCE),
    )


def fill(path: Path, generation: type[V1 | V2] = V1) -> None:
    """Make a good database with one call, and close it."""
    with generation(path) as database:
        add_call(database)


def add_call(database: V1 | V2) -> None:
    """Write a call that has ended, in a session of its own."""
    if isinstance(database, V1):
        database.tool(database.message(database.session()))
    else:
        database.assistant(database.session(), [call()])
