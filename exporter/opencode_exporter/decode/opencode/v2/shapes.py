"""
The JSON of OpenCode 2.x: a row of ``session_message``, as far as it is asked for.

Pure.  A typed decoder reads almost every row and skips what is not asked for; what
it refuses is read again leniently, so that one odd field loses no call.  Does not
know what the fields mean.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from opencode_exporter.decode.condense import LEFT_OUT
from opencode_exporter.decode.opencode.call_json import (
    Recorded,
    Unread,
    asked_raw,
    recorded_fields,
)
from opencode_exporter.decode.opencode.usage import Used, used_leniently
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


class SessionMessageRow(NamedTuple):
    """A row of ``session_message`` that can hold what we count."""

    id: str
    type: str
    created: int
    changed: int
    data: bytes


class Times(msgspec.Struct, gc=False):
    """When a call was asked for, began and ended."""

    created: int | None = None
    ran: int | None = None
    completed: int | None = None


TEXT_LEFT_OUT: Final = f"text{LEFT_OUT}"
"""The name of the bytes that are missing from a text of a large row."""


class Content(msgspec.Struct, gc=False):
    """A piece of a call's output."""

    type: str = ""
    text: str = ""
    left_out: int = msgspec.field(default=0, name=TEXT_LEFT_OUT)  # bytes, of a large row


class Error(msgspec.Struct, gc=False):
    """Why a call failed."""

    type: str = ""
    message: str = ""


class InnerCall(msgspec.Struct, gc=False):
    """A call inside ``execute``."""

    tool: str = ""
    status: str = ""


class Metadata(Recorded, gc=False):
    """What a call recorded, with what only 2.x has."""

    toolCalls: list[InnerCall] | None = None  # noqa: N815  # OpenCode's name


class State(msgspec.Struct, gc=False):
    """How far a call is, and with what."""

    status: str = ""
    input: Unread = msgspec.UNSET
    content: list[Content] | None = None
    error: Error | None = None
    metadata: Metadata | None = None

    @property
    def text(self) -> str:
        """The output, as a text."""
        return "".join(part.text for part in self.content or () if part.type == "text")

    @property
    def left_out(self) -> int:
        """The bytes of the output that are missing from its text, of a large row."""
        return sum(part.left_out for part in self.content or () if part.type == "text")


class Item(msgspec.Struct, gc=False):
    """A piece of a step; those of the type ``tool`` are calls."""

    type: str = ""
    id: str = ""
    name: str = ""
    state: State | None = None
    time: Times | None = None
    executed: Any = None  # true: the provider ran it
    providerState: Any = None  # noqa: N815  # of what 2.x imported says the same


class MessageTimes(msgspec.Struct, gc=False):
    """When a message was begun, answered and over."""

    created: Any = None
    completed: Any = None
    streamed: Any = None


class Model(msgspec.Struct, gc=False):
    """Which model was asked."""

    providerID: Any = None  # noqa: N815
    id: Any = None


class Data(msgspec.Struct, gc=False):
    """The data of a row, whatever its type."""

    agent: Any = None
    content: list[Item] = []  # msgspec copies empty defaults
    time: MessageTimes | None = None
    skill: Any = None
    name: Any = None
    text: Any = None
    left_out: Any = msgspec.field(default=0, name=TEXT_LEFT_OUT)
    skills: Any = None
    model: Model | None = None
    finish: Any = None
    error: Any = None
    tokens: Used | None = None
    cost: Any = None
    retry: Any = None
    outcome: Any = None
    reason: Any = None
    status: Any = "completed"  # of a compaction: older ones do not say


_data = msgspec.json.Decoder(Data).decode


def parse(row: SessionMessageRow) -> tuple[Data, list[str]]:
    """
    Return a row's data, and the causes for which calls of it cannot be used.

    Raises:
        Unusable: It is no JSON object.
    """
    try:
        return _data(row.data), []
    except REFUSED:
        return _parse_leniently(loads(row.data))


_PLAIN = (
    *("agent", "skill", "name", "skills", "finish", "error", "cost", "retry"),
    *("outcome", "reason", "status"),
)


def _parse_leniently(found: Any) -> tuple[Data, list[str]]:
    if not isinstance(found, dict):
        raise Unusable("shape")
    content = found.get("content")
    items: list[Item] = []
    odd = [] if content is None or isinstance(content, list) else ["shape"]
    for raw in content if isinstance(content, list) else []:
        if mapping(raw).get("type") != "tool":
            continue
        try:
            items.append(_item_leniently(raw))
        except Unusable as err:
            odd.append(err.cause)
    times, model = mapping(found.get("time")), mapping(found.get("model"))
    more = {key: whole(found[key]) for key in _PLAIN if key in found}
    return Data(
        content=items,
        text=found.get("text"),
        left_out=found.get(TEXT_LEFT_OUT),
        time=MessageTimes(times.get("created"), times.get("completed"), times.get("streamed")),
        model=Model(whole(model.get("providerID")), whole(model.get("id"))),
        tokens=used_leniently(found.get("tokens")),
        **more,
    ), odd


def _item_leniently(raw: dict[str, Any]) -> Item:
    name = name_of(raw.get("name", ""), "tool_name")
    call_id = raw.get("id", "")
    if not isinstance(call_id, str):
        raise Unusable("call_id")
    state = raw.get("state")
    if not isinstance(state, dict):
        raise Unusable("state")
    times, error = mapping(raw.get("time")), mapping(state.get("error"))
    parts = state.get("content")
    return Item(
        type="tool",
        id=whole(call_id),
        name=name,
        state=State(
            status=text_or(state.get("status"), ""),
            input=asked_raw(state.get("input")),
            content=[
                Content(
                    text_or(part.get("type"), ""),
                    text_or(part.get("text"), ""),
                    amount(part.get(TEXT_LEFT_OUT)),
                )
                for part in map(mapping, parts if isinstance(parts, list) else [])
            ],
            error=Error(text_or(error.get("type"), ""), text_or(error.get("message"), "")),
            metadata=_metadata_leniently(mapping(state.get("metadata"))),
        ),
        time=Times(times.get("created"), times.get("ran"), times.get("completed")),
        executed=raw.get("executed"),
        providerState=raw.get("providerState"),
    )


def _metadata_leniently(meta: dict[str, Any]) -> Metadata:
    calls = meta.get("toolCalls")
    inner = [
        InnerCall(whole(text_or(call.get("tool"), "")), text_or(call.get("status"), ""))
        for call in map(mapping, calls if isinstance(calls, list) else [])
    ]
    return Metadata(**recorded_fields(meta), toolCalls=inner)


class _Step(msgspec.Struct, gc=False):
    time: MessageTimes | None = None


_step = msgspec.json.Decoder(_Step).decode


def is_step_over(data: bytes) -> bool | None:
    """Return whether an assistant's data are those of a step that is over; None: unreadable."""
    try:
        found = _step(data)
    except REFUSED:
        return _is_step_over_leniently(data)
    return found.time is not None and found.time.completed is not None


def _is_step_over_leniently(data: bytes) -> bool | None:
    try:
        found = mapping(loads(data))
    except Unusable:
        return None
    return mapping(found.get("time")).get("completed") is not None
