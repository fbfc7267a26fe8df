"""
Causes of failure, each with a hint that an operator can act on.

The message is a fact, the hint an action.  Neither ever holds row content, and both
can be printed anywhere: paths and names in them are as `printable` shows them.
"""

from __future__ import annotations

from opencode_exporter.printable import printable


class ExporterError(Exception):
    """Something went wrong that the operator should hear of in one sentence."""

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
