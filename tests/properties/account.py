"""
The account of calls and steps: what rows tell of them, and in which words.

Statuses are those of the metrics; rows have fewer words and tell denied from
failed by their texts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from harness.databases import call

TOOLS: Final = (
    ("read", "read"),
    ("bash", "shell"),
    ("skill", "skill"),
    ("edit", "edit"),
    ("task", "subagent"),
    ("grep", "grep"),
    ("apply_patch", "patch"),
    ("webfetch", "webfetch"),
)
"""Tools by their names in 1.x and in 2.x."""
ENDS: Final = ("completed", "error", "denied", "aborted")
_TEXTS: Final = {
    "error": ("tool.execution", "it failed"),
    "denied": ("aborted", "The user declined this tool call"),
    "aborted": ("aborted", "Tool execution interrupted"),
    "abandoned": ("tool.interrupted", "Tool execution was interrupted before V2 migration"),
    "orphaned": ("aborted", "Tool execution interrupted: shell"),
}
_CELLS: Final = 45  # of a label's 50 values
SHELL: Final = 1
EDIT: Final = 3
"""Indexes into TOOLS; calls of the latter say how many lines they add."""


@dataclass(eq=False)
class Call:
    """A call that a model made, wherever rows tell of it."""

    id: str
    tool: int  # index into TOOLS
    agent: str
    project: str
    duration: int
    shares_id: bool = False  # another call of its message has the same id
    longest: int = 0  # of a command of 1.x: since its row was made

    @property
    def cell(self) -> tuple[str, str, str]:
        """The labels under which this call alone is counted."""
        return TOOLS[self.tool][1], self.agent, self.project


@dataclass(eq=False)
class Work:
    """A step that a model took, wherever rows tell of it."""

    number: int
    agent: str

    @property
    def cell(self) -> tuple[str, str]:
        """Provider and model, under which this step alone is counted."""
        return f"v{self.number % _CELLS}", f"m{self.number // _CELLS % _CELLS}"

    @property
    def finish(self) -> str:
        """The word with which it ends."""
        return ("tool-calls", "stop")[self.number % 2]

    @property
    def tokens(self) -> dict[str, int]:
        """What it takes, by type."""
        return {"input": 100 + self.number, "output": 10 + self.number % 7}

    @property
    def cost(self) -> float:
        """What it costs, US dollars."""
        return (1 + self.number) / 64

    def used(self) -> dict[str, Any]:
        """Return tokens and cost as rows of both generations say them."""
        cache = {"read": 0, "write": 0}
        return {"tokens": {**self.tokens, "reasoning": 0, "cache": cache}, "cost": self.cost}

    def model_v1(self) -> dict[str, Any]:
        """Return which model it is, as a v1 message says it."""
        provider, model = self.cell
        return {"providerID": provider, "modelID": model}

    def model_v2(self) -> dict[str, Any]:
        """Return the same as a v2 step says it."""
        provider, model = self.cell
        return {"model": {"providerID": provider, "id": model}}


@dataclass(eq=False)
class Told:
    """What one row of the database says of a call."""

    call: Call
    step: Step
    original: bool  # not a fork's copy; an upgrade's copy of the original is one
    status: str = "pending"
    part: str = ""  # v1
    times: dict[str, int] = field(default_factory=dict)
    updated: int = 0
    live: bool = False  # its process still writes
    begun: bool = False  # it has a start, or had one in v1
    made: int = 0  # when its row was made
    moved: bool = False  # its row came here by a copy or an import, when its step was old
    kept: str | None = None  # v1: its data, while its row has others that are no JSON

    @property
    def ended(self) -> bool:
        """Whether the row says how the call ended."""
        return self.status not in ("pending", "running")

    @property
    def verdict(self) -> str:
        """The status as which its end is counted."""
        return "abandoned" if self.status == "orphaned" else self.status

    @property
    def unreadable(self) -> bool:
        """Whether its row cannot be decoded now."""
        in_step = self.step.session.generation == "v2" and self.step.kept is not None
        return in_step or self.kept is not None

    @property
    def added(self) -> int:
        """How many lines it says that it has added."""
        is_edit = self.call.tool == EDIT and self.status == "completed"
        return self.call.duration if is_edit else 0


@dataclass(eq=False)
class Step:
    """A message; of the model, with its calls, or of the user."""

    id: str
    session: Session
    order: int  # its time in v1, its seq in v2
    created: int
    agent: str = ""  # empty: the user's
    told: list[Told] = field(default_factory=list)
    completed: int | None = None
    may_sleep: bool = False
    work: Work | None = None  # of the model
    original: bool = True
    said: bool = False  # what it takes is in the rows
    closed: bool = False  # nobody will finish it
    seen: bool = False  # a poll that ended has read it
    kept: str | None = None  # the data of its row, while it has others that are no JSON
    is_junk: bool = False  # a row that never told anything
    junk_parts: int = 0


@dataclass(eq=False)
class Session:
    """A session of one generation."""

    id: str
    generation: str
    created: int
    project: str
    steps: list[Step] = field(default_factory=list)
    imported: bool = False  # into the tables of 2.x


def said_v1(told: Told, now: int) -> dict[str, Any]:
    """Return the facts of a v1 part; `databases.V1` writes them."""
    facts: dict[str, Any] = {"call": told.call.id, "tool": TOOLS[told.call.tool][0]}
    facts["status"] = told.status if told.status not in _TEXTS else "error"
    if told.status != "pending":
        facts["start"] = told.times.setdefault("start", now)
    if told.ended:
        facts["end"] = told.times.setdefault("end", facts["start"] + told.call.duration)
    if told.status in _TEXTS:
        facts["error"] = _TEXTS[told.status][1]
    if facts["tool"] == "skill":
        facts["input"] = {"name": "commit"}
        facts["metadata"] = {"name": "commit", "truncated": False}
    if told.added:
        diff = {"file": "a.py", "additions": told.added, "deletions": 0}
        facts["metadata"] = {"filediff": diff, "truncated": False}
    return facts


def said_v2(told: Told) -> dict[str, Any]:
    """Return the item of a v2 step."""
    old, new = TOOLS[told.call.tool]
    status, more = told.status, dict[str, Any]()
    if status in _TEXTS:
        kind, text = _TEXTS[status]
        status, more["error"] = "error", {"type": kind, "message": text}
    if status == "pending":
        status = "streaming"
    if new == "skill":
        more["input"] = {"id": "commit"}
        more["metadata"] = {"name": "commit"}
    if told.added:
        file = {"file": "a.py", "status": "modified", "additions": told.added, "deletions": 0}
        more["metadata"] = {"files": [file], "truncated": False}
    times: dict[str, Any] = dict.fromkeys(("created", "ran", "completed"))
    name = old if told.part else new  # imported calls keep their names
    return call(told.call.id, name, status, **more, **times | told.times)


def importable(told: Told, step: Step) -> Told:
    """Return what 2.x makes of a v1 part: a call that has not ended never will."""
    copy = replace(told, step=step, times={}, live=False)
    if told.ended:
        copy.times = {"created": told.times["start"], "completed": told.times["end"]}
    else:
        copy.status = "abandoned"
        copy.times = {"created": told.times.get("start", told.step.created)}
    return copy
