"""
What both decoders share: reading values that a model or an old version wrote.

Pure.  A value that cannot be used raises `Unusable` with a cause, which becomes
the label of the rejected row; its content goes nowhere.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec
from xxhash import xxh3_128_hexdigest

from opencode_exporter import times
from opencode_exporter.events import LONGEST_NAME, UNKNOWN

REFUSED: Final = (msgspec.DecodeError, UnicodeError, RecursionError, TypeError)
"""What a typed decoder raises on data that it does not take; TypeError: NULL."""


class Unusable(Exception):  # noqa: N818  # a cause, not a failure of ours
    """
    The row cannot be counted.

    ``cause`` is one of a fixed set of words; ``until`` is when it can be after all, as our
    clock has passed its times, in Unix ms, or 0.
    """

    def __init__(self, cause: str, until: int = 0) -> None:
        super().__init__(cause)
        self.cause = cause
        self.until = until


class Message(msgspec.Struct, frozen=True, gc=False):
    """What a call's message says about it."""

    agent: str = UNKNOWN
    created: int = 0


def loads(data: bytes | None) -> Any:
    """
    Decode JSON as JavaScript would, lone surrogates included.

    Bytes that are no text become U+FFFD, there as here: they spoil no more than the
    text that they are in.

    Raises:
        Unusable: It is not JSON.
    """
    if not isinstance(data, bytes):  # NULL, or a number
        raise Unusable("json")
    try:
        return json.loads(_decoded(data))
    except (ValueError, RecursionError) as err:
        raise Unusable("json") from err


def _decoded(data: bytes) -> str:
    encoding = json.detect_encoding(data)
    try:
        return data.decode(encoding, "surrogatepass")
    except UnicodeDecodeError:
        return data.decode(encoding, "replace")


def name_of(value: object, cause: str) -> str:
    """
    Return the name that a call needs, without lone surrogates.

    Args:
        value: What stands in its place.
        cause: Why the call cannot be used if that is no text.

    Raises:
        Unusable: It is none, or its bytes are damaged: it would be a name of nothing.
    """
    if not isinstance(value, str):
        raise Unusable(cause)
    if is_damaged(value):
        raise Unusable("json")
    return str(whole(value))


def is_damaged(name: str) -> bool:
    """Return whether some bytes of a name were no text."""
    return "\ufffd" in name


def moment(value: object, now: int, *others: object) -> int:
    """
    Return a time in Unix milliseconds, without which a row cannot be counted.

    Args:
        value: What stands in its place.
        now: Unix ms.
        others: Further times of the same call: one of our future waits for all of them.

    Raises:
        Unusable: It is missing, no number, not positive, or in the future.
    """
    found = times.believable(value, now)
    if not found:
        raise Unusable("time", times.awaited(now, value, *others))
    return found


def ended(value: object, now: int, *others: object) -> int:
    """Return the time of an end likewise: nothing has ended after now."""
    found = times.passed(value, now)
    if not found:
        raise Unusable("time", times.awaited(now, value, *others))
    return found


def text_bytes(text: str) -> int:
    """Return the UTF-8 size of a text; a lone surrogate counts as the three bytes it takes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def whole(value: object) -> Any:
    """Return a text without lone surrogates, which the ledger cannot keep; else the value."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def text_or(value: object, default: str) -> str:
    """Return a text that is not empty, else the default."""
    return value if isinstance(value, str) and value else default


def name_or(value: object, default: str) -> str:
    """Return a name that is not empty, else the default; of a long one its beginning."""
    return value[:LONGEST_NAME] if isinstance(value, str) and value else default[:LONGEST_NAME]


def id_of(text: str) -> str:
    """Return an id; one that is too long to be one has a hash for its end, and stays one."""
    if len(text) <= LONGEST_NAME:
        return text
    whole_text = xxh3_128_hexdigest(text.encode("utf-8", "surrogatepass"))
    return text[: LONGEST_NAME - len(whole_text)] + whole_text


def mapping(value: object) -> dict[str, Any]:
    """Return a JSON object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


_TOO_MANY: Final = 1 << 40


def amount(value: object) -> int:
    """Return a number that counts something, 0 for what cannot be one."""
    return value if type(value) is int and 0 <= value < _TOO_MANY else 0
