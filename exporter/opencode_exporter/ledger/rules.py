"""The rules of counting: what a ledger is told once, where it is opened."""

from __future__ import annotations

from dataclasses import dataclass

from opencode_exporter.ledger.follower import TimeFollower
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
        times: Is told when that happened which counts; nobody, as a rule.
    """

    series_limit: int
    abandon_after_ms: int
    counts_history: bool = True
    scope: Scope = EVERYTHING
    files_top: int = 0
    times: TimeFollower | None = None

    @property
    def takes_summaries(self) -> bool:
        """Whether sums of events count as well as the events: nothing depends on when each was."""
        return self.scope == EVERYTHING and self.times is None
