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
from opencode_exporter.decode import Message, Unusable, loads, mapping, moment, text_bytes, text_or
from opencode_exporter.events import ABORTED, COMPLETED, ERROR, UNKNOWN, Invocation, Session
from opencode_exporter.programs import program_of

_ENDED: Final = {"completed", "error"}
_OPEN: Final = {"pending", "running"}
_ULID: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")


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
    # Present on every call of the model, absent on a command that the user typed.
    description: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


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
    except (msgspec.DecodeError, UnicodeDecodeError):
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
        metadata=_Metadata(meta.get("exit"), meta.get("truncated"), meta.get("name")),
        time=_Time(times.get("start"), times.get("end")),
    )
    if "description" in meta and state.metadata:
        state.metadata.description = msgspec.Raw(b"null")
    return ToolPart("tool", found["tool"], found["callID"], state)


def _names(given: dict[str, Any]) -> dict[str, str]:
    """Keep of an input only the texts that are read, without lone surrogates."""
    return {
        key: given[key].encode("utf-8", "replace").decode()
        for key in ("name", "command", "tool", "error")
        if isinstance(given.get(key), str)
    }


def message(data: bytes, created: int) -> Message:
    """Return the agent of a message; older versions call it mode."""
    try:
        found = _message(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Message(UNKNOWN, created)
    agent = text_or(found.agent, text_or(found.mode, UNKNOWN))
    return Message(agent, created)


def is_users_command(part: ToolPart) -> bool:
    """Say whether it is a command that the user typed (``!cmd``): no invocation."""
    state = part.state
    if part.tool != "bash" or state is None or not _ULID.fullmatch(part.callID):
        return False
    meta = state.metadata or _Metadata()
    return meta.description is msgspec.UNSET and meta.exit is None and meta.truncated is None


def invocation(
    part: ToolPart,
    *,
    part_id: str,
    message_id: str,
    changed: int,
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
        changed: ``time_updated`` of the row, ms.
        about: Its message.
        session: Its session.
        now: Unix ms; times far ahead of it are refused.

    Raises:
        Unusable: Its state, status or times cannot be read.
    """
    state = part.state
    if state is None:
        raise Unusable("state")
    if is_users_command(part):
        return None
    status = state.status
    times = state.time or _Time()
    if status in _ENDED:
        started = moment(times.start, now)
        ended = moment(times.end, now)
    elif status in _OPEN:
        started = moment(times.start, now) if times.start is not None else 0
        ended = 0
    else:
        raise Unusable("status")
    tool = _tool_of(part, state)
    fields = _ending(part, state, tool) if ended else {"vouched": status == "running"}
    return Invocation(
        session=session.id,
        message=message_id,
        call=part.callID,
        part=part_id,
        tool=tool,
        started=started,
        ended=ended,
        duration=ended - started if ended >= started and ended else -1,
        running=status == "running",
        agent=about.agent,
        project=session.project,
        suspect=(started or about.created) < session.created,
        changed=changed,
        message_created=about.created,
        skill=_skill(state) if tool == classify.SKILL_TOOL else None,
        **fields,
    )


def _tool_of(part: ToolPart, state: _State) -> str:
    """
    Return the name to count under.

    OpenCode hands to its tool ``invalid`` what names no tool, and also calls of
    real tools whose arguments are no JSON; the error's text tells which.
    """
    if part.tool != classify.INVALID_TOOL:
        return classify.canonical(part.tool)
    asked = _asked(state)
    if classify.names_a_tool(text_or(asked.error, "")):
        return classify.canonical(text_or(asked.tool, UNKNOWN))
    return UNKNOWN


def _ending(part: ToolPart, state: _State, tool: str) -> dict[str, Any]:
    """Return the fields that only an ended call has."""
    meta = state.metadata
    status, reason, vouched = COMPLETED, "", True
    if part.tool == classify.INVALID_TOOL:
        _, reason = classify.verdict(text_or(_asked(state).error, ""))
        status, reason = ERROR, reason or "not_found"
    elif state.status == "error":
        status, reason = classify.verdict(state.error)
        vouched = status != ABORTED  # may end before the name was checked
    fields: dict[str, Any] = {
        "status": status,
        "reason": reason,
        "vouched": vouched,
        "output_bytes": text_bytes(state.output),
        "truncated": meta is not None and meta.truncated is True,
    }
    if tool == classify.SHELL_TOOL:
        fields["program"] = program_of(_asked(state).command)
        fields["exit"] = classify.shell_exit(
            meta.exit if meta else None, state.output, ended=state.status == "completed"
        )
    return fields


def _asked(state: _State) -> _Input:
    try:
        return _input(state.input) if isinstance(state.input, msgspec.Raw) else _Input()
    except msgspec.DecodeError:
        return _Input()


def _skill(state: _State) -> str:
    loaded = state.metadata.name if state.metadata else None
    return text_or(loaded, text_or(_asked(state).name, UNKNOWN))


class _Role(msgspec.Struct, gc=False):
    role: Any = None


_role = msgspec.json.Decoder(_Role).decode


def is_assistant(data: str) -> bool:
    """Say whether a message's data are those of a step of the model."""
    try:
        return bool(_role(data).role == "assistant")
    except (msgspec.DecodeError, UnicodeError):
        return False
