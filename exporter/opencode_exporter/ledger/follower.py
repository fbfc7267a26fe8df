"""
Followers: who is told of single invocations, or of times, once they count for good.

The ledger knows nothing of what a follower does with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, Self

from opencode_exporter.counting.real_names import RealNames
from opencode_exporter.counting.sums import DeltasBySpan, Span
from opencode_exporter.events import COMPLETED, Invocation


class Counted(NamedTuple):
    """An invocation that has been counted, with the labels that it has in metrics."""

    event: Invocation
    tool: str
    agent: str
    project: str
    skill: str  # of a skill load, else empty

    @classmethod
    def of(cls, call: Invocation, names: RealNames) -> Self:
        """Return an invocation with its labels."""
        label = names.label
        loaded = call.status == COMPLETED
        return cls(
            call,
            tool=label("tool", call.tool, vouched=call.vouched),
            agent=label("agent", call.agent),
            project=label("project", call.project),
            skill="" if call.skill is None else label("skill", call.skill, vouched=loaded),
        )


class Follower(Protocol):
    """Follows the live invocations of one ledger; only the thread that polls calls it."""

    def committed(self, running: Iterable[Invocation], counted: Sequence[Counted]) -> None:
        """
        Take what the last commit has brought to disk.

        Args:
            running: The calls that run now.
            counted: The calls that ended after the baseline, in the order of counting.
        """
        ...


class TimeFollower(Protocol):
    """Follows when that happened which counts; only the thread that polls calls it."""

    def span_of(self, ms: int) -> Span:
        """Return the span of a time, Unix ms, whose sums it wants apart; None for no such one."""
        ...

    def added(self, deltas: DeltasBySpan) -> None:
        """Take what the last commit has added to series."""
        ...
