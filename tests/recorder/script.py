"""
The script of a recording: what the model says, and what has to come of it.

A scene is data, and its expectations are written beside its calls, so the
truth of a recording never depends on what OpenCode wrote down.
Nothing here knows about HTTP, processes or databases.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

CANONICAL = {"bash": "shell", "task": "subagent", "apply_patch": "patch"}
UNKNOWN = "_unknown"


@dataclass(frozen=True, slots=True)
class Call:
    """
    One tool call of the model, with the end that the scene provokes.

    Attributes:
        tool: Name as issued, whether such a tool exists or not.
        arguments: An object, or a text to be sent as it is (malformed JSON).
        call_id: Chosen id; without one every call gets an id of its own.
        skill: Name of the skill, for a skill load.
        status: Status of the contract: how the invocation has to end.
        reason: Reason of the contract, for status `error`.
        exists: False for a tool that the model made up.
        inner: Calls made inside it (`execute` of 2.x): canonical name and status.
    """

    tool: str
    arguments: Mapping[str, object] | str = field(default_factory=dict)
    call_id: str | None = None
    skill: str | None = None
    status: str = "completed"
    reason: str | None = None
    exists: bool = True
    inner: tuple[tuple[str, str], ...] = ()

    @property
    def canonical(self) -> str:
        """Return the tool's name in the contract."""
        return CANONICAL.get(self.tool, self.tool) if self.exists else UNKNOWN

    @property
    def raw_arguments(self) -> str:
        """Return the arguments as they go over the wire."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@dataclass(frozen=True, slots=True)
class Step:
    """
    One answer of the model.

    Attributes:
        text: What it says.
        calls: What it calls, all in the same answer.
        delay: Seconds to wait before answering.
        hang: Never answer: the request stays open until its client goes away.
        stall: Fall silent in the middle of the last call's arguments.
        http_status: Anything but 200 answers with that error instead.
    """

    text: str = ""
    calls: tuple[Call, ...] = ()
    delay: float = 0.0
    hang: bool = False
    stall: bool = False
    http_status: int = 200


@dataclass(frozen=True, slots=True)
class Scene:
    """Steps that answer one prompt, found again by the marker in the prompt."""

    name: str
    steps: tuple[Step, ...]

    @property
    def marker(self) -> str:
        """Return the text that leads a request back to this scene."""
        return f"[[{self.name}]]"

    @property
    def prompt(self) -> str:
        """Return what to type so that the model plays this scene."""
        return f"Please play {self.marker}"


@dataclass(frozen=True, slots=True)
class Issued:
    """A call that left the scripted model completely."""

    scene: str
    step: int
    call_id: str
    call: Call
