"""A ledger's file, and rows to put into it."""

from __future__ import annotations

import stat
from pathlib import Path

from harness.databases import V1
from harness.exporters import Bench


def add(bench: Bench, calls: int) -> None:
    """Write a session with calls that have ended and one that runs."""
    with V1(bench.source, ddl="" if bench.source.exists() else None) as db:
        message = db.message(db.session())
        for number in range(calls):
            db.tool(message, call=f"call_{number}")
        db.tool(message, call="call_open", status="running")


def mode(path: Path) -> int:
    """Return a path's permissions."""
    return stat.S_IMODE(path.stat().st_mode)
