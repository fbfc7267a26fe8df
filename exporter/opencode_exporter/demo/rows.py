"""
What both writers share: the handles of open rows, the upsert, JSON text.

Owns how a value becomes a row's text.  Knows table names and columns, not what
is in ``data``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from opencode_exporter.demo.plan import Call, Fault, Model, Project, Step, Turn

COLUMNS: Final = {
    "message": "id session_id time_created time_updated data",
    "part": "id message_id session_id time_created time_updated data",
    "session_message": "id session_id type seq time_created time_updated data",
    "session": (
        "id project_id parent_id slug directory path title version summary_additions"
        " summary_deletions summary_files cost tokens_input tokens_output tokens_reasoning"
        " tokens_cache_read tokens_cache_write agent model time_created time_updated"
    ),
    "session_v2": (
        "id project_id parent_id fork_session_id fork_boundary slug directory path title version"
        " cost tokens_input tokens_output tokens_reasoning tokens_cache_read tokens_cache_write"
        " agent model time_created time_updated time_idle idle_outcome"
    ),
    "todo": "session_id position content status priority time_created time_updated",
    "project": "id worktree vcs time_created time_updated sandboxes",
    "project_directory": "project_id directory time_created",
    "worktree": "project_id directory time_created",
}
_KEYS: Final = {
    "todo": "session_id, position",
    "project_directory": "project_id, directory",
    "worktree": "project_id, directory",
}
_encode = msgspec.json.Encoder().encode

Put = Callable[[str, tuple[Any, ...]], None]
"""Writes one row of a table, or writes it again."""


def upsert(table: str) -> str:
    """Return the statement with which OpenCode writes a row and rewrites it in place."""
    columns = COLUMNS[table].split()
    keys = _KEYS.get(table, "id")
    changed = ", ".join(f"{c} = excluded.{c}" for c in columns if c not in keys.split(", "))
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
        f"ON CONFLICT ({keys}) DO UPDATE SET {changed}"
    )


def text(value: Any) -> str:
    """Return compact JSON, as ``JSON.stringify`` writes it."""
    try:
        return _encode(value).decode()
    except UnicodeEncodeError:
        # Half an emoji: JavaScript escapes it, and so does this encoder.
        return json.dumps(value, separators=(",", ":"))


@dataclass(slots=True)
class Tally:
    """
    Calls that ended, counted as the rows and as the exporter name them.

    Attributes:
        rows: By (tool, status) as the rows say it.
        verdicts: By (tool, status) as the exporter names them; calls that never end are left out.
    """

    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def count(self, call: Call, name: str, status: str) -> None:
        """Count a call whose row is final."""
        self.rows[name, status] += 1
        if name == "execute":
            # The call that failed ran inside it; `execute` itself completed.
            self.verdicts[name, status] += 1
            name = f"{call.facts['server']}.{call.facts['name']}"
        self.verdicts[_verdict_name(call, name), _verdict(call)] += 1


_NAMES: Final = {"bash": "shell", "task": "subagent", "apply_patch": "patch"}


def _verdict_name(call: Call, name: str) -> str:
    """Return the tool's name on the exporter's page."""
    return "_unknown" if call.fault is Fault.NO_TOOL else _NAMES.get(name, name)


def _verdict(call: Call) -> str:
    """Return the status on the exporter's page."""
    match call.fault:
        case None:
            return "completed"
        case Fault.DENIED | Fault.DECLINED:
            return "denied"
        case Fault.INTERRUPTED:
            return "aborted"
        case Fault.KILLED:
            return "abandoned"
    return "error"


@dataclass(slots=True)
class Session:
    """A session that is being written."""

    id: str
    project: Project
    title: str
    slug: str
    created: int
    agent: str | None = None
    model: Model | None = None
    parent: str | None = None
    origin: str | None = None  # it is a fork of that one
    boundary: str | None = None
    sequence: int = 3
    cost: float = 0.0
    tokens: list[int] = field(default_factory=lambda: [0] * 5)
    prompt: str = ""  # id of the message that opened the turn
    idle: tuple[int, str] | None = None
    snapshot: str = ""
    left: StepRow | None = None  # a step whose process was killed
    kept: dict[str, tuple[str, tuple[Any, ...]]] | None = None  # rows, if it will be forked


@dataclass(slots=True)
class CallRow:
    """A call that is being written."""

    call: Call
    id: str
    row: str
    created: int
    ran: int = 0
    ended: int = 0
    child: str = ""
    status: str = "streaming"
    shown: bool = False


@dataclass(slots=True)
class StepRow:
    """An assistant message that is being written."""

    id: str
    session: Session
    turn: Turn
    step: Step
    created: int
    sequence: int
    prompt: str
    snapshot: str
    calls: list[CallRow] = field(default_factory=list)
    spoken: bool = False
    streamed: int = 0
    completed: int = 0
    finish: str = ""
    error: dict[str, Any] | None = None


def price(step: Step, model: Model) -> float:
    """Return what a step costs, USD."""
    used = step.tokens
    spent = (used.input + used.cache_read / 10 + used.cache_write * 1.25) * model.price_input
    return round((spent + (used.output + used.reasoning) * model.price_output) / 1e6, 8)
