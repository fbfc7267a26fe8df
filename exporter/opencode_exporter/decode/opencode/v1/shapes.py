"""
The JSON of v1's messages and their parts, as far as it is asked for.

Pure.  Typed decoders read almost every row, once, and skip what is not asked for; what
they refuse is read again leniently, so that one odd field loses no call and no step.
Knows what fields are called and not what they mean.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from opencode_exporter.decode.condense import LEFT_OUT
from opencode_exporter.decode.opencode.call_json import Recorded, Unread, asked_raw, recorded_fields
from opencode_exporter.decode.opencode.usage import Used, used_leniently
from opencode_exporter.decode.values import (
    REFUSED,
    Message,
    Unusable,
    amount,
    is_damaged,
    loads,
    mapping,
    name_of,
    name_or,
    text_or,
    whole,
)
from opencode_exporter.events import UNKNOWN


class Time(msgspec.Struct, gc=False):
    """When a call began and ended."""

    start: Any = None
    end: Any = None


class Metadata(Recorded, gc=False):
    """What a call recorded, with what only 1.x has."""

    output: Unread = msgspec.UNSET  # so far, of what runs


class State(msgspec.Struct, gc=False):
    """How far a call is, and with what."""

    status: str = ""
    input: Unread = msgspec.UNSET
    output: str = ""
    error: str = ""
    metadata: Metadata | None = None
    time: Time | None = None
    left_out: int = msgspec.field(default=0, name=f"output{LEFT_OUT}")  # bytes, of a large row


class Part(msgspec.Struct, gc=False):
    """The JSON of a part of a message."""

    type: str = ""
    tool: str = ""
    callID: str = ""  # noqa: N815  # OpenCode's name
    state: State | None = None
    metadata: Any = None  # of who ran it; what came of it is in the state
    tokens: Used | None = None
    cost: Any = None
    synthetic: Any = None
    auto: Any = None


class MessageTime(msgspec.Struct, gc=False):
    """When a message was completed."""

    completed: Any = None


class MessageData(msgspec.Struct, gc=False):
    """The JSON of a message, as far as it is asked for."""

    role: Any = None
    agent: Any = None
    mode: Any = None
    providerID: Any = None  # noqa: N815  # OpenCode's names
    modelID: Any = None  # noqa: N815
    parentID: Any = None  # noqa: N815
    finish: Any = None
    error: Any = None
    summary: Unread = msgspec.UNSET  # true of an assistant's; of a user's all that changed
    time: MessageTime | None = None


OTHER_PART: Final = Part()
"""A part of which its message asks nothing but that it is there."""


class OddPart(Part, gc=False):
    """
    A part that was read leniently.

    ``problem`` is the cause for which its call is set aside; nothing if it is a call like
    others, or none.
    """

    problem: str = ""


_part = msgspec.json.Decoder(Part).decode
_message = msgspec.json.Decoder(MessageData).decode


def parse_part(data: object) -> Part:
    """
    Return a part; of one that is unreadable only that it is there.

    Args:
        data: Its JSON; anything but bytes is none.
    """
    given = data if isinstance(data, bytes) else None
    try:
        return _part(given)  # type: ignore[arg-type]  # None is refused, as it should be
    except REFUSED:
        pass
    try:
        found = loads(given)
    except Unusable as err:
        return OddPart(problem=err.cause)
    return _leniently(found) if isinstance(found, dict) else OddPart(problem="shape")


def _leniently(found: dict[str, Any]) -> OddPart:
    kind, tool = text_or(found.get("type"), ""), found.get("tool", "")
    problem = ""
    if kind == "tool":
        problem = _problem(found, tool)
    if is_damaged(text_or(tool, "")):
        return OddPart(problem=problem)
    state = mapping(found.get("state"))
    times, meta = mapping(state.get("time")), mapping(state.get("metadata"))
    return OddPart(
        type=kind,
        tool=whole(text_or(tool, "")),
        callID=whole(text_or(found.get("callID"), "")),
        state=State(
            text_or(state.get("status"), ""),
            asked_raw(state.get("input")),
            text_or(state.get("output"), ""),
            text_or(state.get("error"), ""),
            Metadata(
                **recorded_fields(meta),
                output=msgspec.Raw(msgspec.json.encode(bool(meta.get("output")))),
            ),
            Time(times.get("start"), times.get("end")),
            amount(state.get(f"output{LEFT_OUT}")),
        ),
        metadata=found.get("metadata"),
        tokens=used_leniently(found.get("tokens")),
        cost=found.get("cost"),
        synthetic=found.get("synthetic"),
        auto=found.get("auto"),
        problem=problem,
    )


def _problem(found: dict[str, Any], tool: object) -> str:
    """Return why a tool part is no call that can be counted; nothing if it is one."""
    try:
        name_of(tool, "tool_name")
    except Unusable as err:
        return err.cause
    if not isinstance(found.get("callID", ""), str):
        return "call_id"
    return "" if isinstance(found.get("state"), dict) else "state"


def parse_message(data: bytes) -> MessageData:
    """
    Return what a message's data say.

    Raises:
        Unusable: They are no JSON object.
    """
    try:
        return _message(data)
    except REFUSED:
        found = loads(data)
    if not isinstance(found, dict):
        raise Unusable("shape")
    names = "role", "agent", "mode", "providerID", "modelID", "parentID", "finish", "error"
    given = {name: whole(found.get(name)) for name in names}
    is_summary = msgspec.Raw(b"true") if found.get("summary") is True else msgspec.UNSET
    times = mapping(found.get("time"))
    return MessageData(**given, summary=is_summary, time=MessageTime(times.get("completed")))


class _Agent(msgspec.Struct, gc=False):
    agent: Any = None
    mode: Any = None


_agent = msgspec.json.Decoder(_Agent).decode


def message(data: bytes, created: int) -> Message:
    """Return what a message says of its calls: the agent, which older versions call mode."""
    try:
        found = _agent(data)
    except REFUSED:
        found = _agent_leniently(data)
    return Message(name_or(found.agent, name_or(found.mode, UNKNOWN)), created)


def _agent_leniently(data: bytes) -> _Agent:
    try:
        found = mapping(loads(data))
    except Unusable:
        return _Agent()
    return _Agent(whole(found.get("agent")), whole(found.get("mode")))


class _StepTime(msgspec.Struct, gc=False):
    completed: Any = None


class _Step(msgspec.Struct, gc=False):
    role: Any = None
    time: _StepTime | None = None


_step = msgspec.json.Decoder(_Step).decode


def is_step_over(data: bytes) -> bool | None:
    """Return whether a message's data are those of a step that is over; None: of no step at all."""
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
