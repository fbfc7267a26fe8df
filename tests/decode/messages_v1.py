"""
Messages of v1 for tests: how they get into a database, and what is read of them.

Knows the table of messages and nothing behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from harness.clock import FakeClock
from harness.databases import V1
from opencode_exporter.chunk import Chunk
from opencode_exporter.clock import SystemClock
from opencode_exporter.demo.rows import text
from opencode_exporter.source.opencode.source import Source
from opencode_exporter.source.opencode.tables.message_v1 import StepTable
from opencode_exporter.source.opencode.tables.table import WITHOUT_BOUNDS

USED: Final = {"input": 5, "output": 4, "reasoning": 3, "cache": {"read": 2, "write": 1}}
"""Tokens as a part tells them."""


@contextmanager
def table(path: Path, clock: FakeClock | None = None) -> Iterator[StepTable]:
    """Open the table of a database."""
    with Source(path, path.name).open() as reader:
        yield StepTable(reader, clock or SystemClock())


def read(path: Path, clock: FakeClock | None = None) -> Chunk:
    """Return what all rows say."""
    with table(path, clock) as messages:
        return messages.read_after(0, WITHOUT_BOUNDS, {}).chunk


def only(path: Path, clock: FakeClock) -> Any:
    """Return the one event."""
    (event,) = read(path, clock).events
    return event


def put(db: V1, message: str, **part: Any) -> str:
    """Write a part of a message."""
    return db.raw_part(message, text(part))


def step(db: V1, *, completed: Any = 1_794_990_001_000, **more: Any) -> str:
    """Write a message of the model in a session of its own."""
    session = db.session()
    times = {"created": db.tick()} | ({"completed": completed} if completed is not None else {})
    return db.message(session, time=times, **more)
