"""
Printable text: what comes from outside, as people and terminals may see it.

A path is any bytes, and a name anything.  Escape sequences would be obeyed by a
terminal, marks of direction would turn a line around, and bytes that are not UTF-8
can be encoded by nobody: all of that is written as what it is.  Everything else stays.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Final

_ACTING: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of what does something, or cannot be encoded, instead of being seen."""
_BYTES: Final = range(0xDC80, 0xDD00)
"""How Python keeps the bytes of a path that are not UTF-8."""


def printable(text: str | Path, *, keep: str = "") -> str:
    r"""
    Return a text of which all can be seen: ``\x1b``, ``\u202e`` and ``\xe9`` for what cannot.

    Args:
        text: Anything.
        keep: Characters to leave as they are, such as the ends of lines.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(char if char in keep else _seen(char) for char in text)


def _seen(char: str) -> str:
    if unicodedata.category(char) not in _ACTING:
        return char
    if ord(char) in _BYTES:
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")
