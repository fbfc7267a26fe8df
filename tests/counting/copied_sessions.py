"""Sessions of both generations, and the copies that a fork makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from harness.databases import V1, V2, call
from harness.exporters import Exposed

BOTH = pytest.mark.parametrize("generation", [V1, V2])
Database = V1 | V2
Generation = type[V1] | type[V2]


def work(db: Database, session: str, *names: str, tool: str = "read") -> None:
    """Write a step with calls that have ended."""
    if isinstance(db, V1):
        message = db.message(session)
        for name in names:
            db.tool(message, call=name, tool=tool)
    else:
        db.assistant(session, [call(name, tool) for name in names])


def start(db: Database, session: str) -> Any:
    """Write a step with a running call; return what ends the call."""
    if isinstance(db, V1):
        part = db.tool(db.message(session), status="running")
        return lambda: db.rewrite(part, status="completed")
    step = db.assistant(session, [call(status="running")], completed=None)
    return lambda: db.rewrite(step, [call()])


def copies(page: Exposed, cause: str = "fork") -> float | None:
    """Return how many copies have been skipped."""
    return page.value("opencode_exporter_copies_skipped_total", cause=cause)
