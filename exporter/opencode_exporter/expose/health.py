"""
Health: what is known of each source's polls and of the pushes, as both sinks show it.

Plain data, kept up to date by who polls and by who pushes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from opencode_exporter import catalog as c
from opencode_exporter.counting.series import Histogram, edges_of
from opencode_exporter.expose.exemplars import Exemplars

_POLL_EDGES: Final = edges_of(c.POLL_DURATION)


@dataclass
class SourceHealth:
    """What is known of one source beside its events."""

    up: bool = False
    is_read: bool = False  # all that can be, at least once
    supported: bool = True
    versions: dict[str, str] = field(default_factory=dict)  # by generation
    bytes: dict[str, int] = field(default_factory=dict)  # by part
    todos: dict[str, dict[str, int]] = field(default_factory=dict)  # by session and status
    polls: dict[str, int] = field(default_factory=lambda: {"ok": 0, "error": 0})
    durations: Histogram = field(default_factory=lambda: Histogram.empty(len(_POLL_EDGES)))
    last_poll_ms: int = 0
    is_damaged: bool = False  # the problem is that some rows cannot be read
    progress: float = 0.0
    problem: str = ""  # a sentence with a hint, empty when all is well

    def counted(self) -> SourceHealth:
        """Return what of it is counted, without what is known of the present."""
        return SourceHealth(polls=self.polls, durations=self.durations)

    def plus(self, other: SourceHealth) -> SourceHealth:
        """Return what is counted of two sources."""
        return SourceHealth(
            polls={result: polls + other.polls[result] for result, polls in self.polls.items()},
            durations=self.durations.plus(other.durations),
        )

    def observe(self, seconds: float) -> None:
        """Add the duration of a poll."""
        self.durations.observe(round(seconds * c.POLL_DURATION.scale), _POLL_EDGES)


@dataclass(frozen=True)
class PushHealth:
    """What is known of the pushes over OTLP; what nobody pushes is empty."""

    exports: dict[str, int] = field(default_factory=dict)  # pushes of metrics, by result
    spans: dict[str, int] = field(default_factory=dict)  # by result
    exemplars: Exemplars = field(default_factory=Exemplars)  # of the spans
