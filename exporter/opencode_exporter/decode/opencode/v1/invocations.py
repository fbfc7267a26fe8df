"""
Decode v1: a row of ``part`` becomes an invocation.

Pure.  Knows the JSON of OpenCode 1.2 to 1.18; does not know where rows come
from.  A typed decoder reads almost every row and skips what is not asked for;
what it refuses is read again leniently, so that one odd field loses no call.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from opencode_exporter import times, vocabulary
from opencode_exporter.decode.condense import LEFT_OUT
from opencode_exporter.decode.opencode import verdicts
from opencode_exporter.decode.opencode.call_json import amount
from opencode_exporter.decode.opencode.copies import is_surely_copied_v1, is_suspect_v1
from opencode_exporter.decode.opencode.v1.endings import (
    asked_of,
    ending_of,
    is_typed,
    looks_typed,
    ran_by_provider,
    ran_tool,
)
from opencode_exporter.decode.programs import program_of
from opencode_exporter.decode.values import (
    REFUSED,
    Message,
    Unusable,
    ended,
    id_of,
    loads,
    mapping,
    moment,
    name_of,
    name_or,
    text_bytes,
    text_or,
    whole,
)
from opencode_exporter.events import UNKNOWN, Invocation, Session

_ENDED: Final = {"completed", "error"}
_OPEN: Final = {"pending", "running"}
_READ: Final = {"bash", "shell", "invalid"}  # tools of which the input is read


class _Time(msgspec.Struct, gc=False):
    start: int | None = None
    end: int | None = None


class _Input(msgspec.Struct, gc=False):
    name: Any = None
    command: Any = None
    tool: Any = None
    error: Any = None


_NOTHING: Final = _Input()


class Metadata(msgspec.Struct, gc=False):
    """What a call recorded, as far as it is asked for."""

    exit: Any = None
    truncated: Any = None
    name: Any = None
    sessionId: Any = None  # noqa: N815  # OpenCode's name
    output: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # so far, of what runs


class State(msgspec.Struct, gc=False):
    """How far a call is, and with what."""

    status: str = ""
    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    output: str = ""
    error: str = ""
    metadata: Metadata | None = None
    time: _Time | None = None
    left_out: int = msgspec.field(default=0, name=f"output{LEFT_OUT}")  # bytes, of a large row


class ToolPart(msgspec.Struct, gc=False):
    """The JSON of a tool part, as far as it is asked for."""

    type: str = ""
    tool: str = ""
    callID: str = ""  # noqa: N815  # OpenCode's name
    state: State | None = None
    metadata: Any = None  # of who ran it; what came of it is in the state


class _MessageData(msgspec.Struct, gc=False):
    agent: Any = None
    mode: Any = None


_part = msgspec.json.Decoder(ToolPart).decode
_input = msgspec.json.Decoder(_Input).decode
_message = msgspec.json.Decoder(_MessageData).decode


def parse(data: bytes) -> ToolPart | None:
    """
    Return the tool part in a row's data, or None for parts of another type.

    Raises:
        Unusable: It is not JSON, or a tool part that names no tool.
    """
    try:
        part = _part(data)
    except REFUSED:
        return _parse_leniently(data)
    return part if part.type == "tool" else None


def _parse_leniently(data: bytes) -> ToolPart | None:
    found = loads(data)
    if not isinstance(found, dict):
        raise Unusable("shape")
    if found.get("type") != "tool":
        return None
    tool = name_of(found.get("tool", ""), "tool_name")
    call_id = found.get("callID", "")
    if not isinstance(call_id, str):
        raise Unusable("call_id")
    raw = found.get("state")
    if not isinstance(raw, dict):
        raise Unusable("state")
    meta, times = mapping(raw.get("metadata")), mapping(raw.get("time"))
    state = State(
        status=text_or(raw.get("status"), ""),
        input=msgspec.Raw(msgspec.json.encode(_names(mapping(raw.get("input"))))),
        output=text_or(raw.get("output"), ""),
        error=text_or(raw.get("error"), ""),
        metadata=Metadata(
            *(meta.get("exit"), meta.get("truncated")),
            *(whole(meta.get("name")), whole(meta.get("sessionId"))),
            msgspec.Raw(msgspec.json.encode(bool(meta.get("output")))),
        ),
        time=_Time(times.get("start"), times.get("end")),
        left_out=amount(raw.get(f"output{LEFT_OUT}")),
    )
    return ToolPart("tool", tool, whole(call_id), state, found.get("metadata"))


def _names(given: dict[str, Any]) -> dict[str, str]:
    """Keep of an input only the texts that are read, without lone surrogates."""
    return {
        key: whole(given[key])
        for key in ("name", "command", "tool", "error")
        if isinstance(given.get(key), str)
    }


def message(data: bytes, created: int) -> Message:
    """Return the agent of a message; older versions call it mode."""
    try:
        found = _message(data)
    except REFUSED:
        found = _message_leniently(data)
    return Message(name_or(found.agent, name_or(found.mode, UNKNOWN)), created)


def _message_leniently(data: bytes) -> _MessageData:
    try:
        found = mapping(loads(data))
    except Unusable:
        return _MessageData()
    return _MessageData(whole(found.get("agent")), whole(found.get("mode")))


def may_be_typed(part: ToolPart) -> bool:
    """Say whether a call outside of a step is a command of the user's, or may become one."""
    state = part.state
    if state is None or state.status in ("error", ""):
        return False
    if part.tool != "bash" or not looks_typed(part.callID):
        return False
    return state.status != "completed" or was_typed(part)


def was_typed(part: ToolPart) -> bool:
    """Say whether a call outside of a step is a command that the user typed."""
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
        return _ended(part, state, row, about, session, start, end)
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
    part: ToolPart,
    state: State,
    row: PartRow,
    about: Message,
    session: Session,
    stamped: int,
    ended: int,
) -> Invocation:
    """Return a call that has ended."""
    meta = state.metadata
    code = meta.exit if meta is not None else None
    output = state.output
    asked = _asked(state) if part.tool in _READ else _NOTHING
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


def _asked(state: State) -> _Input:
    if not isinstance(state.input, msgspec.Raw):
        return _NOTHING
    try:
        return _input(state.input)
    except REFUSED:
        return _asked_leniently(bytes(state.input))


def _asked_leniently(data: bytes) -> _Input:
    try:
        return _Input(**_names(mapping(loads(data))))
    except Unusable:
        return _NOTHING


def _skill(state: State) -> str:
    loaded = state.metadata.name if state.metadata else None
    return name_or(loaded, name_or(_asked(state).name, UNKNOWN))


def _child(state: State) -> str:
    return id_of(text_or(state.metadata.sessionId, "")) if state.metadata else ""


class _StepTime(msgspec.Struct, gc=False):
    completed: Any = None


class _Step(msgspec.Struct, gc=False):
    role: Any = None
    time: _StepTime | None = None


_step = msgspec.json.Decoder(_Step).decode


def is_step_over(data: bytes) -> bool | None:
    """Say whether a message's data are those of a step that is over; None: of no step at all."""
    try:
        found = _step(data)
    except REFUSED:
        found = _step_leniently(data)
    if found.role != "assistant":
        return None
    return found.time is not None and found.time.completed is not None


def _step_leniently(data: bytes) -> _Step:
    try:
        found = mapping(loads(data))
    except Unusable:
        return _Step()
    return _Step(found.get("role"), _StepTime(mapping(found.get("time")).get("completed")))
