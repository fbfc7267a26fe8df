"""Calls that a writer works on, and as what they may end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from soak import vocabulary
from soak.truth import DOUBT, Fact


@dataclass
class Call:
    """A call that its writer works on."""

    message: str
    id: str
    old: str
    new: str
    skill: str = ""
    part: str = ""
    status: str = "pending"
    created: int = 0
    ran: int = 0
    completed: int = 0
    end: vocabulary.Ending = vocabulary.COMPLETED
    output: str = ""
    doubt: int = 0  # from when on it may be given up, ms
    inner: list[dict[str, str]] = field(default_factory=list)

    def fact(self) -> Fact:
        """Return how it ended."""
        skill = vocabulary.shown(self.skill) if self.skill else ""
        ms = self.completed - (self.ran or self.created)
        return Fact(self.message, self.id, self.new, self.end.verdict, ms, skill)

    def doubted(self, since: int) -> Fact:
        """Return that it may be given up from a time on; while it waits, a skill has no name."""
        is_named = self.status not in ("pending", "streaming")
        skill = vocabulary.shown(self.skill if is_named else "") if self.skill else ""
        return Fact(self.message, self.id, self.new, DOUBT, since, skill)


class Open(NamedTuple):
    """A call that has not ended, as its row stands in the database."""

    fact: Fact  # as which it would be given up
    place: int  # its message's, in the order of its session
    changed: int  # its row, ms
