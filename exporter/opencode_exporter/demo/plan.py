"""
What a simulated agent intends to do: sessions, turns, steps, calls.

Plain values without a clock, ids or a generation: a writer gives them the shape
of OpenCode 1.x or 2.x.  Durations are milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Fault(Enum):
    """How a call can go wrong; a call without one completes."""

    MISSING_SKILL = "missing_skill"
    RIPGREP = "ripgrep"
    NETWORK = "network"
    DENIED = "denied"
    DECLINED = "declined"
    INTERRUPTED = "interrupted"
    KILLED = "killed"
    ARGUMENTS = "arguments"
    MISMATCH = "mismatch"
    NO_FILE = "no_file"
    NO_TOOL = "no_tool"
    SERVER = "server"


ENDS_TURN = frozenset({Fault.DECLINED, Fault.INTERRUPTED, Fault.KILLED})


@dataclass(frozen=True, slots=True)
class Model:
    """A model and its price in USD per million tokens."""

    provider: str
    name: str
    price_input: float
    price_output: float
    patches: bool = False  # is given `patch` instead of `edit` and `write`
    counts_calls: bool = False  # sends call_0, call_1, … in every step


@dataclass(frozen=True, slots=True)
class Project:
    """A worktree; `id` is the first commit, or ``global``."""

    id: str
    worktree: str


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill and how its loads go."""

    name: str
    description: str
    weight: float
    median: float  # of a load, ms
    faults: tuple[tuple[Fault, float], ...] = ()


@dataclass(slots=True)
class Call:
    """One use of a tool, named and with inputs as OpenCode 2.x has them."""

    tool: str
    input: dict[str, Any]
    running: int
    output: str = ""
    fault: Fault | None = None
    waiting: int = 6
    facts: dict[str, Any] = field(default_factory=dict)
    child: Turn | None = None


@dataclass(slots=True)
class Tokens:
    """The tokens of a step, by type; they do not overlap."""

    input: int
    output: int
    reasoning: int
    cache_read: int
    cache_write: int


@dataclass(slots=True)
class Step:
    """One answer of the model: some text, some calls."""

    thinking: int
    speaking: int
    tokens: Tokens
    calls: list[Call]
    text: str = ""
    reasoning: str = ""
    refused: bool = False  # the provider answered with an error


@dataclass(slots=True)
class Turn:
    """The answer to one prompt; `steps` is asked for the next one only when the last has ended."""

    prompt: str
    agent: str
    model: Model
    pause: int
    steps: Iterator[Step]
    invoked: tuple[str, bool] | None = None  # skill the user named; True: by a slash command


@dataclass(slots=True)
class Work:
    """A planned session."""

    project: Project
    title: str
    slug: str
    turns: Iterator[Turn]
    forked: bool = False
