"""
What both generations say, in one plain model: sessions, their rows, steps, calls.

Everything is what a database at rest holds; times are Unix milliseconds, None
where the source has none.  Knows neither SQL nor JSON, and counts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Moment = int | None


@dataclass
class Call:
    """One invocation, under its canonical name; one that never ended is abandoned."""

    session: str
    message: str
    id: str
    tool: str
    status: str
    vouched: bool = True
    started: Moment = None
    ended: Moment = None
    given: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    skill: str = ""
    refused: bool = False
    child: str = ""
    nested: tuple[tuple[str, str], ...] = ()
    ran: Moment = None
    reason: str = ""

    @property
    def loads(self) -> bool:
        """Whether it brought a skill into the session."""
        return self.tool == "skill" and self.status == "completed"

    @property
    def failed(self) -> bool:
        """Whether it ended in an error, or its program exited with another code than 0."""
        code = self.meta.get("exit")
        return self.status == "error" or (type(code) is int and code != 0)

    @property
    def counted(self) -> tuple[tuple[str, str], ...]:
        """Tool and status of every invocation that it stands for, those inside it included."""
        return ((self.tool, self.status), *self.nested)


@dataclass
class Row:
    """A message of a session: ``human``, ``step``, ``idle`` or a ``note`` of another kind."""

    kind: str
    message: str
    created: int
    order: int
    generation: str
    role: str = ""
    agent: str = "_unknown"
    skills: tuple[str, ...] = ()
    outcome: str = ""
    compaction: str = ""
    completed: Moment = None
    streamed: Moment = None
    provider: str = "_unknown"
    model: str = "_unknown"
    finish: str = ""
    error: str = ""
    summary: bool = False
    tokens: dict[str, int] = field(default_factory=dict)
    cost: float = 0.0
    retries: int = 0
    calls: list[Call] = field(default_factory=list)

    @property
    def loads(self) -> list[Call]:
        """The calls of a step that brought skills into the session."""
        return [call for call in self.calls if call.loads]


@dataclass
class Session:
    """A session with the rows that are its own: copies are left out."""

    id: str
    created: int
    project: str
    directory: str
    parent: str = ""
    fork: bool = False
    rows: list[Row] = field(default_factory=list)
    copies: int = 0

    @property
    def kind(self) -> str:
        """
        The label ``session_kind``: ``root``, ``subagent`` or ``fork``.

        Choice: a fork of a sub-agent's session is a fork.
        """
        if self.fork:
            return "fork"
        return "subagent" if self.parent else "root"

    @property
    def steps(self) -> Iterator[Row]:
        """The model steps, in order."""
        return (row for row in self.rows if row.kind == "step")

    @property
    def calls(self) -> Iterator[Call]:
        """The calls, in order."""
        return (call for step in self.steps for call in step.calls)
