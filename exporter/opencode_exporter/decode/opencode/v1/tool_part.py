"""
The JSON of a tool part of v1, as far as an invocation asks for it.

Pure.  A typed decoder reads almost every row and skips what is not asked for; what it
refuses is read again leniently, so that one odd field loses no call.  Knows what fields
are called and not what they mean.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from opencode_exporter.decode.condense import LEFT_OUT
from opencode_exporter.decode.values import (
    REFUSED,
    Unusable,
    amount,
    loads,
    mapping,
    name_of,
    text_or,
    whole,
)


class Time(msgspec.Struct, gc=False):
    """When a call began and ended."""

    start: int | None = None
    end: int | None = None


class Input(msgspec.Struct, gc=False):
    """What a call was asked, as far as it is asked for."""

    name: Any = None
    command: Any = None
    tool: Any = None
    error: Any = None


NO_INPUT: Final = Input()


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
    time: Time | None = None
    left_out: int = msgspec.field(default=0, name=f"output{LEFT_OUT}")  # bytes, of a large row


class ToolPart(msgspec.Struct, gc=False):
    """The JSON of a tool part, as far as it is asked for."""

    type: str = ""
    tool: str = ""
    callID: str = ""  # noqa: N815  # OpenCode's name
    state: State | None = None
    metadata: Any = None  # of who ran it; what came of it is in the state


_part = msgspec.json.Decoder(ToolPart).decode
_input = msgspec.json.Decoder(Input).decode


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
        time=Time(times.get("start"), times.get("end")),
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


def input_of(state: State) -> Input:
    """Return what a call was asked; nothing where that cannot be read."""
    if not isinstance(state.input, msgspec.Raw):
        return NO_INPUT
    try:
        return _input(state.input)
    except REFUSED:
        return _asked_leniently(bytes(state.input))


def _asked_leniently(data: bytes) -> Input:
    try:
        return Input(**_names(mapping(loads(data))))
    except Unusable:
        return NO_INPUT
