"""A backfill as it is typed."""

from __future__ import annotations

from pathlib import Path

from harness.processes.command import Place

LABELS = ("--label", "job=opencode", "--label", "instance=ada")


def flags(place: Place) -> tuple[str, ...]:
    """Return what names the source and the ledger."""
    return "--source.path", str(place.source), "--ledger.path", str(ledger(place))


def ledger(place: Place) -> Path:
    """Return where the ledger is."""
    return place.home / "state" / "ledger.db"
