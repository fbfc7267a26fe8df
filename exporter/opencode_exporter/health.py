"""
The health of sources: what the poller finds out and both sinks show.

Plain data.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

from opencode_exporter import catalog as c

_POLL_EDGES: Final = tuple(round(edge * c.POLL_DURATION.scale) for edge in c.POLL_DURATION.buckets)


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
    durations: list[int] = field(default_factory=lambda: [0] * (len(_POLL_EDGES) + 2))
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
            durations=[a + b for a, b in zip(self.durations, other.durations, strict=True)],
        )

    def observe(self, seconds: float) -> None:
        """Add the duration of a poll."""
        value = round(seconds * c.POLL_DURATION.scale)
        self.durations[bisect_left(_POLL_EDGES, value)] += 1
        self.durations[-1] += value
