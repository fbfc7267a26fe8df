"""
The JSON of v1's messages and their parts, as far as a step or a remark asks for it.

Pure.  Typed decoders skip the rest, above all the outputs of calls; what they refuse
is read again leniently, so that one odd field loses no step.  Knows what fields are
called and not what they mean.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from opencode_exporter.decode.opencode.call_json import Recorded, Unread, asked_raw, recorded_fields
from opencode_exporter.decode.opencode.usage import Used, used_leniently
from opencode_exporter.decode.values import (
    REFUSED,
    Message,
    Unusable,
    is_damaged,
    loads,
    mapping,
    name_or,
    text_or,
    whole,
)
from opencode_exporter.events import UNKNOWN


class Time(msgspec.Struct, gc=False):
    """Moments: of a call its ends, of a message when it was completed."""

    start: Any = None
    end: Any = None
    completed: Any = None


class State(msgspec.Struct, gc=False):
    """The state of a call; its output is not decoded unless somebody asks."""

    status: str = ""
    input: Unread = msgspec.UNSET
    error: str = ""
    output: Unread = msgspec.UNSET
    metadata: Recorded | None = None
    time: Time | None = None

    @property
    def told(self) -> str:
        """The output, as a text."""
        if not isinstance(self.output, msgspec.Raw):
            return ""
        try:
            return _text(self.output)
        except REFUSED:
            return _told_leniently(bytes(self.output))


class Part(msgspec.Struct, gc=False):
    """The JSON of a part, as far as its message asks for it."""

    type: str = ""
    tool: str = ""
    callID: str = ""  # noqa: N815  # OpenCode's name
    state: State | None = None
    metadata: Any = None  # of who ran it; what came of it is in the state
    tokens: Used | None = None
    cost: Any = None
    synthetic: Any = None
    auto: Any = None


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
    time: Time | None = None


OTHER_PART: Final = Part()
"""A part of which its message asks nothing but that it is there."""

_part = msgspec.json.Decoder(Part).decode
_text = msgspec.json.Decoder(str).decode
_message = msgspec.json.Decoder(MessageData).decode


def parse_part(data: bytes | None) -> Part:
    """Return a part; of one that is unreadable, as of one not given, only that it is there."""
    if data is None:
        return OTHER_PART
    try:
        return _part(data)
    except REFUSED:
        return _part_leniently(data)


def _told_leniently(output: bytes) -> str:
    try:
        return text_or(loads(output), "")
    except Unusable:
        return ""


def _part_leniently(data: bytes) -> Part:
    try:
        found = mapping(loads(data))
    except Unusable:  # the table of parts counts it as rejected
        return OTHER_PART
    tool = text_or(found.get("tool"), "")
    if is_damaged(tool):  # as above
        return OTHER_PART
    state = mapping(found.get("state"))
    times = mapping(state.get("time"))
    return Part(
        type=text_or(found.get("type"), ""),
        tool=whole(tool),
        callID=text_or(found.get("callID"), ""),
        state=State(
            text_or(state.get("status"), ""),
            asked_raw(state.get("input")),
            text_or(state.get("error"), ""),
            msgspec.Raw(msgspec.json.encode(whole(text_or(state.get("output"), "")))),
            Recorded(**recorded_fields(state.get("metadata"))),
            Time(times.get("start"), times.get("end")),
        ),
        metadata=found.get("metadata"),
        tokens=used_leniently(found.get("tokens")),
        cost=found.get("cost"),
        synthetic=found.get("synthetic"),
        auto=found.get("auto"),
    )


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
    return MessageData(**given, summary=is_summary, time=Time(completed=times.get("completed")))


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
