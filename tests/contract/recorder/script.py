"""
The script of a recording: what the model says, and what has to come of it.

A scene is data, and its expectations are written beside its calls, so the
truth of a recording never depends on what OpenCode wrote down.
Nothing here knows about HTTP, processes or databases.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Event = tuple[str | None, dict[str, Any]]
"""What one line of a stream tells, and its name where the API gives it one."""

CANONICAL = {"bash": "shell", "task": "subagent", "apply_patch": "patch"}
UNKNOWN = "_unknown"
_TARGETS = ("filePath", "path", "command", "name", "id", "url")


@dataclass(frozen=True, slots=True)
class Change:
    """What a call does to one file: `created`, `edited`, `deleted`, `moved`; lines if recorded."""

    operation: str
    path: str
    added: int | None = None
    removed: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """
    Tokens as an OpenAI-style provider reports them.

    Attributes:
        prompt: All that went in, `cached` among it.
        completion: All that came out, `reasoning` among it.
    """

    prompt: int = 100
    completion: int = 10
    reasoning: int = 0
    cached: int = 0


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
        exit: Exit status that a command has to have; nothing for other tools and for no status.
        files: What it does to files when it succeeds.
        result: Of a tool that the provider runs itself: `found`, `failed`, or `missing`.
    """

    tool: str
    arguments: Mapping[str, object] | str = field(default_factory=dict)
    call_id: str | None = None
    skill: str | None = None
    status: str = "completed"
    reason: str | None = None
    exists: bool = True
    inner: tuple[tuple[str, str], ...] = ()
    exit: int | None = None
    files: tuple["Change", ...] = ()
    result: str | None = None

    @property
    def target(self) -> str | None:
        """Return what it is aimed at: a file, a command, a skill."""
        if isinstance(self.arguments, str):
            return None
        found = [self.arguments[key] for key in _TARGETS if key in self.arguments]
        return found[0] if found and isinstance(found[0], str) else None

    @property
    def canonical(self) -> str:
        """Return the tool's name in the contract."""
        return CANONICAL.get(self.tool, self.tool) if self.exists else UNKNOWN

    @property
    def raw_arguments(self) -> str:
        """Return the arguments as they go over the wire."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)

    @property
    def halves(self) -> tuple[str, str]:
        """Return these in two pieces."""
        text = self.raw_arguments
        return text[: len(text) // 2], text[len(text) // 2 :]


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
        message: What that error says.
        retry_after_ms: When that error wants to be asked again.
        refusals: Errors to answer with first, one for each attempt.
        usage: What the answer costs.
        finish: Why it ends, in the API's word; by its calls if nothing is said.
        thinking: What it thinks first.
        cache_written: Tokens written to a cache, beside those of `usage` (Anthropic's API alone).
        forgotten: OpenCode keeps no tokens of it, though it is whole.
        broken: `cut` closes the connection before the end, `error` tells of an error there.
    """

    text: str = ""
    calls: tuple[Call, ...] = ()
    delay: float = 0.0
    hang: bool = False
    stall: bool = False
    http_status: int = 200
    message: str = "scripted failure"
    retry_after_ms: int = 100
    refusals: tuple[int, ...] = ()
    usage: Usage = Usage()
    finish: str | None = None
    thinking: str = ""
    cache_written: int = 0
    forgotten: bool = False
    broken: str = ""

    @property
    def own_calls(self) -> tuple[Call, ...]:
        """Return the calls that OpenCode has to run."""
        return tuple(call for call in self.calls if not call.result)

    @property
    def reason(self) -> str:
        """Return why it ends, in the words of chat completions."""
        return self.finish or ("tool_calls" if self.own_calls else "stop")


@dataclass(frozen=True, slots=True)
class Scene:
    """
    Steps that answer one prompt, found again by the marker in the prompt.

    Attributes:
        outcome: How the turn has to end, in words of the contract.
        by_request: Each request gets the next step, whatever the messages say: for answers
            that break off, of which OpenCode asks again.
    """

    name: str
    steps: tuple[Step, ...]
    outcome: str = "succeeded"
    by_request: bool = False

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


@dataclass(frozen=True, slots=True)
class Request:
    """
    What the provider was asked, and how it answered.

    Attributes:
        kind: `step`, or `compaction`; requests for titles are no part of a session.
        number: Which step of the scene; of a compaction, the step that it comes before.
        status: HTTP status of the answer; 0 when it never came.
    """

    kind: str
    scene: str
    number: int
    provider: str
    model: str
    status: int
    step: Step
    issued: tuple[Issued, ...] = ()
