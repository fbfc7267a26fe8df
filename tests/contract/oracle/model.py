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
LATER_MS = 1_900_000_000_000
"""When a database is read, unless a test says so: in 2030, long after all that it holds."""
_DAY_MS = 86_400_000
_2020_MS = 1_577_836_800_000


def moment(value: object, now: int = LATER_MS) -> Moment:
    """
    Return a time as the source tells it, Unix ms; None for what is none.

    "Real clocks also stand in 1970 or 2098": choice: a whole number is a time when it is
    more than 0 and less than a day in the future, in both generations alike.
    """
    return value if type(value) is int and 0 < value < now + _DAY_MS else None


def took(began: Moment, ended: Moment, now: int) -> Moment:
    """
    Return how long something took, in ms; None where the times do not tell.

    "No duration longer than its session can be; a clock step spoils no sum", "never
    longer than from its start to now".  Choices: what ended before it began, what ended
    after now, and what began before 2020 (OpenCode is younger) and ended later has no
    duration, rather than one that is cut or 0.
    """
    began, ended = moment(began, now), moment(ended, now)
    if began is None or ended is None or not began <= ended <= now:
        return None
    return None if began < _2020_MS <= ended else ended - began


@dataclass
class Call:
    """
    One invocation, under its canonical name; one that never ended is abandoned.

    Attributes:
        own: Whether OpenCode runs it itself: its loop goes on after a step that holds one.
        written: When the row of its own was made, which a part of 1.x has.
    """

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
    own: bool = True
    written: Moment = None

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
    """
    A message of a session: ``human``, ``step``, ``idle`` or a ``note`` of another kind.

    Attributes:
        parent: The message that a step of 1.x answers.
    """

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
    parent: str = ""

    @property
    def loads(self) -> list[Call]:
        """The calls of a step that brought skills into the session."""
        return [call for call in self.calls if call.loads]


@dataclass
class Session:
    """
    A session with the rows that are its own: copies are left out.

    Attributes:
        now: When it was read, Unix ms.
    """

    id: str
    created: int
    project: str
    directory: str
    parent: str = ""
    fork: bool = False
    rows: list[Row] = field(default_factory=list)
    copies: int = 0
    now: int = LATER_MS

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
