"""
Decode v1: a row of ``part`` becomes an invocation.

Pure.  Knows what OpenCode 1.2 to 1.18 mean by it; does not know where rows come from.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from opencode_exporter import times
from opencode_exporter.catalog import vocabulary
from opencode_exporter.decode.opencode import verdicts
from opencode_exporter.decode.opencode.copies import is_surely_copied_v1, is_suspect_v1
from opencode_exporter.decode.opencode.v1.endings import (
    asked_of,
    ending_of,
    is_typed,
    looks_typed,
    ran_by_provider,
    ran_tool,
)
from opencode_exporter.decode.opencode.v1.tool_part import (
    NO_INPUT,
    Metadata,
    State,
    ToolPart,
    input_of,
)
from opencode_exporter.decode.programs import program_of
from opencode_exporter.decode.values import (
    Message,
    Unusable,
    ended,
    id_of,
    moment,
    name_or,
    text_bytes,
    text_or,
)
from opencode_exporter.events import UNKNOWN, Invocation, Session

_ENDED: Final = {"completed", "error"}
_OPEN: Final = {"pending", "running"}
_READ: Final = {"bash", "shell", "invalid"}  # tools of which the input is read


def may_be_typed(part: ToolPart) -> bool:
    """Return whether a call outside of a step is a command of the user's, or may become one."""
    state = part.state
    if state is None or state.status in ("error", ""):
        return False
    if part.tool != "bash" or not looks_typed(part.callID):
        return False
    return state.status != "completed" or was_typed(part)


def was_typed(part: ToolPart) -> bool:
    """Return whether a call outside of a step is a command that the user typed."""
    state = part.state or State()
    meta = state.metadata or Metadata()
    known = ran_tool(meta.exit, meta.truncated)
    return is_typed(part.callID, state.status, in_step=False, ran_tool=known)


class PartRow(NamedTuple):
    """What a row says of a tool part, beside its JSON."""

    id: str
    message: str
    created: int = 0  # ms; a fork, an import and an upgrade stamp it anew


def invocation(
    part: ToolPart, row: PartRow, about: Message, session: Session, now: int
) -> Invocation:
    """
    Return the invocation that a tool part shows.

    Args:
        part: What `parse` returned.
        row: Its row.
        about: Its message.
        session: Its session.
        now: Unix ms; times far ahead of it are refused.

    Raises:
        Unusable: Its state, status or times cannot be read.
    """
    state = part.state
    if state is None:
        raise Unusable("state")
    stamps = state.time
    start, end = (stamps.start, stamps.end) if stamps is not None else (None, None)
    if state.status in _ENDED:
        # Nearly all times are fine; `moment` says what is wrong with the others.
        if not (type(start) is int and type(end) is int and 0 < start <= end < now):
            start, end = moment(start, now, end), ended(end, now, start)
        return _ended(part, row, about, session, start, end)
    if state.status not in _OPEN:
        raise Unusable("status")
    stamped = moment(start, now) if start is not None else 0
    running = state.status == "running"
    tool = verdicts.canonical(part.tool)
    if stamped:
        suspect = stamped < session.created or is_suspect_v1(session, about.created, row.created)
    else:
        suspect = is_surely_copied_v1(session, about.created, row.created)
    started = stamped
    if tool == vocabulary.SHELL_TOOL and not suspect and _has_printed(state):
        started = _true_start(stamped, row, about)
    return Invocation(
        session=session.id,
        message=row.message,
        call=id_of(part.callID),
        part=row.id,
        tool=tool,
        vouched=running,  # the name of a pending call has not been looked up yet
        running=running,
        started=started,
        skill=_skill(state) if tool == vocabulary.SKILL_TOOL else None,
        agent=about.agent,
        project=session.project,
        suspect=suspect,
        message_created=about.created,
        root=session.root,
        child=_child(state) if tool == vocabulary.AGENT_TOOL else "",
        stamped=stamped if started != stamped else 0,
    )


def _has_printed(state: State) -> bool:
    output = state.metadata.output if state.metadata is not None else msgspec.UNSET
    return isinstance(output, msgspec.Raw) and bytes(output) not in (b'""', b"null", b"false")


def _true_start(stamped: int, row: PartRow, about: Message) -> int:
    """
    Return when a command began: 1.14.48 to 1.18.20 stamp it anew whenever it prints.

    Its row is as old as the call, where it lies within its message; those of forks,
    imports and upgrades are younger.
    """
    return row.created if 0 < about.created <= row.created < stamped else stamped


def _ended(
    part: ToolPart, row: PartRow, about: Message, session: Session, stamped: int, ended: int
) -> Invocation:
    """Return a call that has ended."""
    state = part.state or State()
    meta = state.metadata
    code = meta.exit if meta is not None else None
    output = state.output
    asked = input_of(state) if part.tool in _READ else NO_INPUT
    tool, status, reason, vouched = ending_of(
        verdicts.canonical(part.tool),
        state.status,
        state.error,
        asked_of(asked.tool, asked.error),
        provider=part.metadata is not None and ran_by_provider(part.metadata),
        output=output,
        code=code,
    )
    started = stamped
    suspect = stamped < session.created or is_suspect_v1(session, about.created, row.created)
    program = how = child = ""
    skill = None
    if tool == vocabulary.SHELL_TOOL:
        program = program_of(asked.command)
        how = verdicts.shell_exit(code, output, ended=state.status == "completed")
        if not suspect:
            started = _true_start(stamped, row, about)
    elif tool == vocabulary.SKILL_TOOL:
        skill = _skill(state)
    elif tool == vocabulary.AGENT_TOOL:
        child = _child(state)
    # By position: keywords take twice the time, and there are millions of these.
    return Invocation(
        session.id,
        row.message,
        id_of(part.callID),
        row.id,
        tool,
        status,
        reason,
        vouched,
        False,
        started,
        ended,
        times.lasted(started, ended, about.created),
        -1,
        state.left_out + (len(output) if output.isascii() else text_bytes(output)),
        meta is not None and meta.truncated is True,
        skill,
        program,
        how,
        about.agent,
        session.project,
        suspect,
        about.created,
        session.root,
        child,
        stamped if started != stamped else 0,
    )


def _skill(state: State) -> str:
    loaded = state.metadata.name if state.metadata else None
    return name_or(loaded, name_or(input_of(state).name, UNKNOWN))


def _child(state: State) -> str:
    return id_of(text_or(state.metadata.sessionId, "")) if state.metadata else ""
