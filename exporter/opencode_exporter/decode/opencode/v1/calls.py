"""
Decode v1: a tool part is read for what it means, once.

An invocation and the call of a step are both made of that, so that they agree.  Pure.
Knows what OpenCode 1.2 to 1.18 mean by the fields.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from opencode_exporter.catalog import vocabulary
from opencode_exporter.decode.opencode import verdicts
from opencode_exporter.decode.opencode.call_json import Asked, parse_asked
from opencode_exporter.decode.opencode.targets import file_changes, targets
from opencode_exporter.decode.opencode.v1.endings import (
    NONE_ASKED,
    asked_of,
    ending_of,
    is_typed,
    looks_typed,
    ran_by_provider,
    ran_tool,
)
from opencode_exporter.decode.opencode.v1.shapes import Metadata, Part, State, Time
from opencode_exporter.decode.values import id_of, name_or, text_or
from opencode_exporter.events import (
    COMPLETED,
    DENIED,
    ERROR,
    UNKNOWN,
    Session,
    StepCall,
)
from opencode_exporter.times import believable, passed

ENDED: Final = {"completed", "error"}
"""The words of a state for a call that has ended."""
_READ: Final = vocabulary.CATEGORIES.keys() | {verdicts.INVALID_TOOL}
"""Tools of which the input is read: others may be asked anything."""
_NO_STATE: Final = State()
_NOTHING_RECORDED: Final = Metadata()
_NOTHING_ASKED: Final = Asked()


class Call(NamedTuple):
    """What a tool part means."""

    part: Part
    state: State
    recorded: Metadata
    asked: Asked
    by_provider: bool
    tool: str  # under which it counts
    status: str | None  # None: open
    reason: str
    vouched: bool

    @property
    def skill(self) -> str:
        """The name of the skill that it loads, if its tool does."""
        return name_or(self.recorded.name, name_or(self.asked.name, UNKNOWN))

    @property
    def child(self) -> str:
        """The id of the session that it started, if its tool does."""
        return id_of(text_or(self.recorded.sessionId, ""))


def call_of(part: Part) -> Call:
    """Return what a tool part means; one without a state is open."""
    state = part.state or _NO_STATE
    recorded = state.metadata or _NOTHING_RECORDED
    name = verdicts.canonical(part.tool or UNKNOWN)
    asked = parse_asked(state.input) if name in _READ else _NOTHING_ASKED
    by_provider = part.metadata is not None and ran_by_provider(part.metadata)
    if state.status not in ENDED:
        running = state.status == "running"  # of a pending one the name is not looked up yet
        return Call(part, state, recorded, asked, by_provider, name, None, "", running)
    refused = asked_of(asked.tool, asked.error) if name == verdicts.INVALID_TOOL else NONE_ASKED
    ending = ending_of(
        name,
        state.status,
        state.error,
        refused,
        provider=by_provider,
        output=state.output,
        code=recorded.exit,
    )
    return Call(part, state, recorded, asked, by_provider, *ending)


def step_call(call: Call, session: Session, now: int) -> StepCall:
    """
    Return a call as its step shows it.

    Args:
        call: What `call_of` returned.
        session: The session of the step.
        now: Unix ms.
    """
    _, state, recorded, asked, by_provider, tool, status, _, vouched = call
    skill = child = ""
    if tool == vocabulary.SKILL_TOOL and status == COMPLETED:
        skill = call.skill
    elif tool == vocabulary.AGENT_TOOL:
        child = call.child
    code = recorded.exit
    started, ended = _times(state.time, now)
    return StepCall(
        tool,
        status,
        vouched,
        skill,
        started,
        ended,
        status == ERROR or (type(code) is int and code != 0),
        status == DENIED and verdicts.is_refusal(state.error),
        targets(tool, asked, recorded, session.directory),
        child,
        file_changes(tool, status, asked, recorded, "", session),
        own=not (by_provider or (state.status == "error" and recorded.interrupted is True)),
    )


def _times(stamps: Time | None, now: int) -> tuple[int, int]:
    """Return when a call began and ended, 0 for what cannot be."""
    if stamps is None:
        return 0, 0
    start, end = stamps.start, stamps.end
    if type(start) is type(end) is int and 0 < start < now > end > 0:  # nearly all
        return start, end
    return believable(start, now), passed(end, now)


def may_be_typed(part: Part) -> bool:
    """Return whether a call outside of a step is a command of the user's, or may become one."""
    state = part.state
    if state is None or state.status in ("error", ""):
        return False
    if part.tool != "bash" or not looks_typed(part.callID):
        return False
    return state.status != "completed" or was_typed(part)


def was_typed(part: Part) -> bool:
    """Return whether a call outside of a step, of ``bash``, is a command that the user typed."""
    state = part.state or _NO_STATE
    recorded = state.metadata or _NOTHING_RECORDED
    known = ran_tool(recorded.exit, recorded.truncated)
    return is_typed(part.callID, state.status, ran_tool=known)
