"""
What is wanted of a large row, by table: the shapes by which `condense` brings it down.

Follows the fields that the decoders declare, so that nothing they ask for is lost.
Texts of which the size counts say how much of them is missing.
"""

from __future__ import annotations

from typing import Final

import msgspec

from opencode_exporter.decode.condense import Leaf, Shape
from opencode_exporter.decode.opencode import usage
from opencode_exporter.decode.opencode.call_json import DIFF_FIELDS, Asked
from opencode_exporter.decode.opencode.v1 import shapes as v1
from opencode_exporter.decode.opencode.v2 import shapes as v2

_ARGUMENT: Final = Leaf(1 << 16)  # hashed, or searched for names
_OUTPUT: Final = Leaf(2048, counted=True)  # OpenCode puts its remarks at the ends
_EMPTY: Final[Shape] = {}  # that it is there
_TIMES: Final[Shape] = dict.fromkeys(
    ("created", "streamed", "ran", "start", "end", "completed"), Leaf()
)
_ERROR: Final[Shape] = {"name": Leaf(), "type": Leaf(), "message": Leaf(), "data": _EMPTY}
_RETRY: Final = Leaf(nested=True)


def _fields(struct: type[msgspec.Struct], **known: Shape) -> dict[str, Shape]:
    names = (field.encode_name for field in msgspec.structs.fields(struct))
    return {name: known.get(name, Leaf()) for name in names}


_ASKED: Final = _fields(
    Asked, command=_ARGUMENT, patchText=Leaf(1 << 19), url=_ARGUMENT, path=_ARGUMENT
)
_DIFF: Final[Shape] = dict.fromkeys(DIFF_FIELDS, Leaf())
_RECORDED: Final[dict[str, Shape]] = {"files": _DIFF, "filediff": _DIFF}
_RECORDED["results"] = {"filediff": _DIFF}
_USED: Final = _fields(usage.Used, cache=_fields(usage.Cache))
_BY_PROVIDER: Final[Shape] = {"providerExecuted": Leaf()}
_CALL_STATE: Final = _fields(
    v1.State,
    output=_OUTPUT,
    input=_ASKED,
    metadata=_fields(v1.Metadata, **_RECORDED),
    time=_TIMES,
)
PART: Final[Shape] = _fields(v1.Part, state=_CALL_STATE, metadata=_BY_PROVIDER, tokens=_USED)
"""Of a row of ``part``."""

MESSAGE: Final[Shape] = _fields(v1.MessageData, summary=_EMPTY, error=_ERROR, time=_TIMES)
"""Of a row of ``message``."""

_STATE: Final = _fields(
    v2.State,
    input=_ASKED,
    content=_fields(v2.Content, text=_OUTPUT),
    error=_ERROR,
    metadata=_fields(v2.Metadata, **_RECORDED, toolCalls=_fields(v2.InnerCall)),
)
_SKILL: Final[Shape] = {"id": Leaf(), "name": Leaf(), "text": _OUTPUT}
SESSION_MESSAGE: Final[Shape] = _fields(
    v2.Data,
    content=_fields(v2.Item, state=_STATE, time=_TIMES, providerState=_BY_PROVIDER),
    time=_TIMES,
    model=_fields(v2.Model),
    error=_ERROR,
    retry=_RETRY,
    text=_OUTPUT,
    skills=_SKILL,
    tokens=_USED,
)
"""Of a row of ``session_message``."""
