"""
The account of calls: what rows tell of them, and in which words.

Statuses are those of the metrics; rows have fewer words and tell denied from
failed by their texts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from databases import call

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
}


@dataclass(eq=False)
class Call:
    """A call that a model made, wherever rows tell of it."""

    id: str
    tool: int  # index into TOOLS
    agent: str
    project: str
    duration: int
    shares_id: bool = False  # another call of its message has the same id

    @property
    def cell(self) -> tuple[str, str, str]:
        """The labels under which this call alone is counted."""
        return TOOLS[self.tool][1], self.agent, self.project


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

    @property
    def ended(self) -> bool:
        """Whether the row says how the call ended."""
        return self.status not in ("pending", "running")


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
    return facts


def said_v2(told: Told) -> dict[str, Any]:
    """Return the item of a v2 step."""
    old, new = TOOLS[told.call.tool]
    status, more = told.status, {}
    if status in _TEXTS:
        kind, text = _TEXTS[status]
        status, more["error"] = "error", {"type": kind, "message": text}
    if status == "pending":
        status = "streaming"
    if new == "skill":
        more["input"] = {"id": "commit"}
        more["metadata"] = {"name": "commit"}
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
