"""
Decode v2: a row of ``session_message`` becomes invocations and skill loads.

Pure.  Knows the JSON of OpenCode 2.x, where one row is one message and an
assistant's row is rewritten as its calls go on.  One odd call is set aside by
itself; the others of its row count.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from opencode_exporter import classify
from opencode_exporter.decode import (
    REFUSED,
    Unusable,
    loads,
    mapping,
    moment,
    text_bytes,
    text_or,
    whole,
)
from opencode_exporter.events import (
    ABANDONED,
    ABORTED,
    COMPLETED,
    ERROR,
    UNKNOWN,
    Event,
    Invocation,
    Rejection,
    Session,
    UserSkillLoad,
)
from opencode_exporter.programs import program_of

_OPEN: Final = {"streaming", "pending", "running"}
ROW_TYPES: Final = ("assistant", "skill", "user")
"""Types of rows that can hold what we count."""


class _Time(msgspec.Struct, gc=False):
    created: int | None = None
    ran: int | None = None
    completed: int | None = None


class _Content(msgspec.Struct, gc=False):
    type: str = ""
    text: str = ""


class _Error(msgspec.Struct, gc=False):
    type: str = ""
    message: str = ""


class _ToolCall(msgspec.Struct, gc=False):
    tool: str = ""
    status: str = ""


class _Metadata(msgspec.Struct, gc=False):
    exit: Any = None
    timeout: Any = None
    truncated: Any = None
    name: Any = None
    toolCalls: list[_ToolCall] | None = None  # noqa: N815  # OpenCode's name


class _State(msgspec.Struct, gc=False):
    status: str = ""
    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    content: list[_Content] | None = None
    error: _Error | None = None
    metadata: _Metadata | None = None


class _Item(msgspec.Struct, gc=False):
    type: str = ""
    id: str = ""
    name: str = ""
    state: _State | None = None
    time: _Time | None = None


class _MessageTime(msgspec.Struct, gc=False):
    created: Any = None
    completed: Any = None


class _Data(msgspec.Struct, gc=False):
    agent: Any = None
    content: list[_Item] = []  # msgspec copies empty defaults
    time: _MessageTime | None = None
    skill: Any = None
    name: Any = None
    text: Any = None
    skills: Any = None


class _Input(msgspec.Struct, gc=False):
    id: Any = None
    name: Any = None
    command: Any = None
    tool: Any = None
    error: Any = None


_data = msgspec.json.Decoder(_Data).decode
_input = msgspec.json.Decoder(_Input).decode


class Row(NamedTuple):
    """A row of ``session_message`` that can hold what we count."""

    id: str
    type: str
    created: int
    changed: int
    data: bytes


class Decoded(NamedTuple):
    """The events of a row, and whether it may still change what they say."""

    events: list[Event]
    final: bool


def decode(row: Row, session: Session, now: int) -> Decoded:
    """
    Return what a row says.

    Raises:
        Unusable: Nothing of it can be read.
    """
    data, odd = _parse(row)
    if row.type != "assistant":
        return Decoded(_user_loads(row, data, session, now), final=True)
    events: list[Event] = [Rejection(row.id, cause) for cause in odd]
    agent = text_or(whole(data.agent), UNKNOWN)
    seen: dict[str, int] = {}
    final = data.time is not None and data.time.completed is not None
    for item in data.content:
        if item.type != "tool":
            continue
        position = seen[item.id] = seen.get(item.id, -1) + 1
        try:
            call = _invocation(item, row, session, agent, now)
        except Unusable as err:
            events.append(Rejection(row.id, err.cause))
            final = final and err.cause != "status"  # a word of the future may still end
            continue
        call = msgspec.structs.replace(call, part=str(position)) if position else call
        events.append(call)
        events.extend(_nested(item, call))
        final = final and call.status is not None
    return Decoded(events, final)


def _parse(row: Row) -> tuple[_Data, list[str]]:
    try:
        return _data(row.data), []
    except REFUSED:
        pass
    found = loads(row.data)
    if not isinstance(found, dict):
        raise Unusable("shape")
    content = found.get("content")
    items: list[_Item] = []
    odd = [] if content is None or isinstance(content, list) else ["shape"]
    for raw in content if isinstance(content, list) else []:
        if mapping(raw).get("type") != "tool":
            continue
        try:
            items.append(_item_leniently(raw))
        except Unusable as err:
            odd.append(err.cause)
    times = mapping(found.get("time"))
    keys = ("agent", "skill", "name", "text", "skills")
    more = {key: found.get(key) for key in keys}
    when = _MessageTime(times.get("created"), times.get("completed"))
    return _Data(content=items, time=when, **more), odd


def _item_leniently(raw: dict[str, Any]) -> _Item:
    for key, cause in (("name", "tool_name"), ("id", "call_id")):
        if not isinstance(raw.get(key), str):
            raise Unusable(cause)
    state = raw.get("state")
    if not isinstance(state, dict):
        raise Unusable("state")
    meta, times, error = (
        mapping(state.get("metadata")),
        mapping(raw.get("time")),
        mapping(state.get("error")),
    )
    parts, calls = state.get("content"), meta.get("toolCalls")
    given = mapping(state.get("input"))
    named = {
        key: whole(given[key])
        for key in ("id", "name", "command", "tool", "error")
        if isinstance(given.get(key), str)
    }
    return _Item(
        type="tool",
        id=whole(raw["id"]),
        name=whole(raw["name"]),
        state=_State(
            status=text_or(state.get("status"), ""),
            input=msgspec.Raw(msgspec.json.encode(named)),
            content=[
                _Content(text_or(part.get("type"), ""), text_or(part.get("text"), ""))
                for part in map(mapping, parts if isinstance(parts, list) else [])
            ],
            error=_Error(text_or(error.get("type"), ""), text_or(error.get("message"), "")),
            metadata=_Metadata(
                exit=meta.get("exit"),
                timeout=meta.get("timeout"),
                truncated=meta.get("truncated"),
                name=whole(meta.get("name")),
                toolCalls=[
                    _ToolCall(whole(text_or(call.get("tool"), "")), text_or(call.get("status"), ""))
                    for call in map(mapping, calls if isinstance(calls, list) else [])
                ],
            ),
        ),
        time=_Time(times.get("created"), times.get("ran"), times.get("completed")),
    )


def _invocation(item: _Item, row: Row, session: Session, agent: str, now: int) -> Invocation:
    state, times = item.state, item.time or _Time()
    if state is None:
        raise Unusable("state")
    named_none = state.error is not None and classify.names_no_tool(state.error.message)
    tool = UNKNOWN if named_none else classify.canonical(item.name)
    refused = tool == classify.INVALID_TOOL  # imported: 1.x handed to it what it refused
    if refused:
        asked = _asked(state)
        tool, reason = classify.refused_call(text_or(asked.tool, UNKNOWN), text_or(asked.error, ""))
    created = moment(times.created, now)
    ran = moment(times.ran, now) if times.ran is not None else 0
    fields: dict[str, Any] = {"vouched": False, "running": state.status == "running"}
    if state.status in ("completed", "error"):
        fields = _ending(state, tool)
        if refused and fields["status"] == COMPLETED:
            fields |= {"status": ERROR, "reason": reason}
        if fields["status"] == ABANDONED:
            fields["ended"] = 0  # nobody saw the end
        else:
            ended = moment(times.completed if times.completed is not None else times.created, now)
            began = ran or created
            fields["ended"] = ended
            if times.completed is not None and ended >= began:
                fields["duration"] = ended - began
        if ran >= created and ran:
            fields["wait"] = ran - created
    elif state.status not in _OPEN:
        raise Unusable("status")
    return Invocation(
        session=session.id,
        message=row.id,
        call=item.id,
        part="",
        tool=tool,
        started=created,
        agent=agent,
        project=session.project,
        suspect=created < session.created,
        message_created=row.created,
        skill=_skill(state) if tool == classify.SKILL_TOOL else None,
        **fields,
    )


def _ending(state: _State, tool: str) -> dict[str, Any]:
    """Return the fields that only an ended call has."""
    error, meta = state.error or _Error(), state.metadata or _Metadata()
    text = "".join(part.text for part in state.content or () if part.type == "text")
    status, reason, vouched = COMPLETED, "", True
    if state.status == "error":
        status, reason = classify.verdict(error.message, error.type)
        # A call that ended before its name was checked proves no tool.
        vouched = status not in (ABORTED, ABANDONED) and error.type != "tool.input-json"
    fields: dict[str, Any] = {
        "status": status,
        "reason": reason,
        "vouched": vouched,
        "output_bytes": text_bytes(text),
        "truncated": meta.truncated is True,
    }
    if tool == classify.SHELL_TOOL:
        fields["program"] = program_of(_asked(state).command)
        fields["exit"] = (
            "timeout"
            if meta.timeout is True
            else classify.shell_exit(meta.exit, text, ended=status == COMPLETED)
        )
    return fields


def _nested(item: _Item, parent: Invocation) -> list[Event]:
    """Return the calls inside ``execute``, under their own names, without a duration."""
    meta = item.state.metadata if item.state else None
    if parent.status is None or meta is None or not meta.toolCalls:
        return []
    return [
        msgspec.structs.replace(
            parent,
            call=f"{parent.call}\0{position}",
            tool=classify.canonical(call.tool) or UNKNOWN,
            status=COMPLETED if call.status == "completed" else ERROR,
            reason="" if call.status == "completed" else "other",
            vouched=True,  # a tool that does not exist is not listed there
            duration=-1,
            wait=-1,
            output_bytes=0,
            truncated=False,
            skill=None,
            program="",
            exit="",
        )
        for position, call in enumerate(meta.toolCalls)
    ]


def _user_loads(row: Row, data: _Data, session: Session, now: int) -> list[Event]:
    """Return the skills that a row of type ``skill`` or ``user`` says the user invoked."""
    named: list[tuple[str, str]] = []
    if row.type == "skill":
        named = [(text_or(data.name, text_or(data.skill, UNKNOWN)), text_or(data.text, ""))]
    elif isinstance(data.skills, list):
        for entry in data.skills:
            found = mapping(entry)
            name = text_or(found.get("name"), text_or(found.get("id"), text_or(entry, UNKNOWN)))
            named.append((name, text_or(found.get("text"), "")))
    if not named:
        return []
    at = moment(data.time.created if data.time else row.created, now)
    return [
        UserSkillLoad(
            session=session.id,
            message=row.id,
            position=position,
            skill=name,
            at=at,
            content_bytes=text_bytes(text),
            project=session.project,
            suspect=at < session.created,
        )
        for position, (name, text) in enumerate(named)
    ]


def _asked(state: _State) -> _Input:
    try:
        return _input(state.input) if isinstance(state.input, msgspec.Raw) else _Input()
    except REFUSED:
        return _Input()  # arguments that still stream are text


def _skill(state: _State) -> str:
    loaded = state.metadata.name if state.metadata else None
    asked = _asked(state)
    return text_or(loaded, text_or(asked.id, text_or(asked.name, UNKNOWN)))
