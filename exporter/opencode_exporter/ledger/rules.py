"""The rules of counting: what a ledger is told once, where it is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opencode_exporter.counting.sums import Sums
from opencode_exporter.ledger.scope import EVERYTHING, Scope


@dataclass(frozen=True, kw_only=True)
class Rules:
    """
    By which rules a ledger counts.

    Attributes:
        series_limit: The most series that one metric may have.
        abandon_after_ms: How long something open may stay without a change.
        counts_history: Whether what a source holds at its first read counts.
        scope: What counts, of all that is read.
        files_top: How many of the most edited files to show.
        sums: Makes the sums of a batch.
    """

    series_limit: int
    abandon_after_ms: int
    counts_history: bool = True
    scope: Scope = EVERYTHING
    files_top: int = 0
    sums: Callable[[], Sums] = Sums
