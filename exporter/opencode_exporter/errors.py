"""
Errors: causes of failure, each with a hint that an operator can act on.

The message is a fact, the hint an action.  Neither ever holds row content, and both can
be printed anywhere.  A path is any bytes, and a name anything: escape sequences would be
obeyed by a terminal, marks of direction would turn a line around, and bytes that are not
UTF-8 can be encoded by nobody.  `printable` writes all of that as what it is.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Final

_ACTING: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of characters that act, or cannot be encoded, instead of being seen."""
_BYTES: Final = range(0xDC80, 0xDD00)
"""How Python keeps the bytes of a path that are not UTF-8."""


def printable(text: str | Path, *, keep: str = "") -> str:
    r"""
    Return a text with escapes for invisible characters: ``\x1b``, ``\u202e`` and ``\xe9``.

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


class ExporterError(Exception):
    """An error that the operator is told in one sentence."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = printable(message)
        self.hint = printable(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class ConfigError(ExporterError):
    """A flag, an environment variable or a configuration file cannot be used."""


class SourceError(ExporterError):
    """A source cannot be read now; it is tried again at the next poll."""


class SourceMissingError(SourceError):
    """There is no file at the source's path (yet)."""


class SourceUnsupportedError(SourceError):
    """The file is read, but tables or columns that we rely on are not there."""


class SourceChangedError(SourceError):
    """The source changed under a read that needs it still; nothing of it counts."""


class LedgerError(ExporterError):
    """The ledger cannot be opened or written."""


class LedgerBusyError(LedgerError):
    """Another exporter holds the ledger."""


class LedgerDamagedError(LedgerError):
    """The ledger's file is damaged: it is kept aside, and counting begins anew."""
