"""
Decode v1: a row of ``part`` becomes an invocation.

Pure.  Knows the JSON of OpenCode 1.2 to 1.18; does not know where rows come
from.  A typed decoder reads almost every row and skips what is not asked for;
what it refuses is read again leniently, so that one odd field loses no call.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from opencode_exporter import classify
from opencode_exporter.decode.programs import program_of
from opencode_exporter.decode.values import (
    REFUSED,
    Message,
    Unusable,
    loads,
    mapping,
    moment,
    text_bytes,
    text_or,
    whole,
)
from opencode_exporter.events import ABORTED, COMPLETED, ERROR, UNKNOWN, Invocation, Session

_ENDED: Final = {"completed", "error"}
_OPEN: Final = {"pending", "running"}
_ULID: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]+")
_ULID_LETTERS: Final = 26


class _Time(msgspec.Struct, gc=False):
    start: int | None = None
    end: int | None = None


class _Input(msgspec.Struct, gc=False):
    name: Any = None
    command: Any = None
    tool: Any = None
    error: Any = None


class _Metadata(msgspec.Struct, gc=False):
    exit: Any = None
    truncated: Any = None
    name: Any = None
    sessionId: Any = None  # noqa: N815  # OpenCode's name


class _State(msgspec.Struct, gc=False):
    status: str = ""
    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    output: str = ""
    error: str = ""
    metadata: _Metadata | None = None
    time: _Time | None = None


class ToolPart(msgspec.Struct, gc=False):
    """The JSON of a tool part, as far as it is asked for."""

    type: str = ""
    tool: str = ""
    callID: str = ""  # noqa: N815  # OpenCode's name
    state: _State | None = None


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
    for name, cause in (("tool", "tool_name"), ("callID", "call_id")):
        if not isinstance(found.get(name), str):
            raise Unusable(cause)
    raw = found.get("state")
    if not isinstance(raw, dict):
        raise Unusable("state")
    meta, times = mapping(raw.get("metadata")), mapping(raw.get("time"))
    state = _State(
        status=text_or(raw.get("status"), ""),
        input=msgspec.Raw(msgspec.json.encode(_names(mapping(raw.get("input"))))),
        output=text_or(raw.get("output"), ""),
        error=text_or(raw.get("error"), ""),
        metadata=_Metadata(
            *(meta.get("exit"), meta.get("truncated")),
            *(whole(meta.get("name")), whole(meta.get("sessionId"))),
        ),
        time=_Time(times.get("start"), times.get("end")),
    )
    return ToolPart("tool", whole(found["tool"]), whole(found["callID"]), state)


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
        return Message(UNKNOWN, created)
    agent = found.agent or found.mode
    return Message(agent if type(agent) is str else UNKNOWN, created)


def is_users_command(call_id: str, code: object, truncated: object) -> bool:
    """
    Say whether a shell part is a command that the user typed (``!cmd``): no invocation.

    Args:
        call_id: The part's call id.
        code: Its ``metadata.exit``.
        truncated: Its ``metadata.truncated``.
    """
    if len(call_id) != _ULID_LETTERS or not _ULID.fullmatch(call_id):
        return False
    # OpenCode notes exit and truncation on every call of the model that ran.
    return code is None and truncated is None


def invocation(
    part: ToolPart,
    part_id: str,
    message_id: str,
    about: Message,
    session: Session,
    now: int,
) -> Invocation | None:
    """
    Return the invocation that a tool part shows, or None for a user's command.

    Args:
        part: What `parse` returned.
        part_id: The row's id.
        message_id: The row's message.
        about: Its message.
        session: Its session.
        now: Unix ms; times far ahead of it are refused.

    Raises:
        Unusable: Its state, status or times cannot be read.
    """
    state = part.state
    if state is None:
        raise Unusable("state")
    if part.tool == "bash":
        meta = state.metadata or _Metadata()
        if is_users_command(part.callID, meta.exit, meta.truncated):
            return None
    times = state.time
    start, end = (times.start, times.end) if times is not None else (None, None)
    if state.status in _ENDED:
        # Nearly all times are fine; `moment` says what is wrong with the others.
        if not (type(start) is int and type(end) is int and 0 < start <= end < now):
            start, end = moment(start, now), moment(end, now)
        return _ended(part, state, part_id, message_id, about, session, start, end)
    if state.status not in _OPEN:
        raise Unusable("status")
    started = moment(start, now) if start is not None else 0
    running = state.status == "running"
    tool = classify.canonical(part.tool)
    return Invocation(
        session=session.id,
        message=message_id,
        call=part.callID,
        part=part_id,
        tool=tool,
        vouched=running,  # the name of a pending call has not been looked up yet
        running=running,
        started=started,
        skill=_skill(state) if tool == classify.SKILL_TOOL else None,
        agent=about.agent,
        project=session.project,
        suspect=(started or about.created) < session.created,
        message_created=about.created,
        root=session.root,
        child=_child(state) if tool == classify.AGENT_TOOL else "",
    )


def _ended(
    part: ToolPart,
    state: _State,
    part_id: str,
    message_id: str,
    about: Message,
    session: Session,
    started: int,
    ended: int,
) -> Invocation:
    """Return a call that has ended."""
    meta = state.metadata
    tool = classify.canonical(part.tool)
    status, reason, vouched = COMPLETED, "", True
    if tool == classify.INVALID_TOOL:
        asked = _asked(state)
        tool, reason = classify.refused_call(text_or(asked.tool, UNKNOWN), text_or(asked.error, ""))
        status, vouched = ERROR, False  # the model can call that tool itself, and say anything
    elif state.status == "error":
        status, reason = classify.verdict(state.error)
        vouched = status != ABORTED  # may end before the name was checked
    program = how = child = ""
    skill = None
    if tool == classify.SHELL_TOOL:
        program = program_of(_asked(state).command)
        code = meta.exit if meta is not None else None
        how = classify.shell_exit(code, state.output, ended=state.status == "completed")
    elif tool == classify.SKILL_TOOL:
        skill = _skill(state)
    elif tool == classify.AGENT_TOOL:
        child = _child(state)
    output = state.output
    # By position: keywords take twice the time, and there are millions of these.
    return Invocation(
        session.id,
        message_id,
        part.callID,
        part_id,
        tool,
        status,
        reason,
        vouched,
        False,
        started,
        ended,
        ended - started if ended >= started else -1,
        -1,
        len(output) if output.isascii() else text_bytes(output),
        meta is not None and meta.truncated is True,
        skill,
        program,
        how,
        about.agent,
        session.project,
        started < session.created,
        about.created,
        session.root,
        child,
    )


def _asked(state: _State) -> _Input:
    try:
        return _input(state.input) if isinstance(state.input, msgspec.Raw) else _Input()
    except REFUSED:
        return _Input()


def _skill(state: _State) -> str:
    loaded = state.metadata.name if state.metadata else None
    return text_or(loaded, text_or(_asked(state).name, UNKNOWN))


def _child(state: _State) -> str:
    return text_or(state.metadata.sessionId, "") if state.metadata else ""


class _Role(msgspec.Struct, gc=False):
    role: Any = None


_role = msgspec.json.Decoder(_Role).decode


def is_assistant(data: str) -> bool:
    """Say whether a message's data are those of a step of the model."""
    try:
        return bool(_role(data).role == "assistant")
    except REFUSED:
        return False
