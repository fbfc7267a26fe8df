"""
What is heard of OpenTelemetry: its loggers' lines, taken instead of written.

Its exporters, and what they send by, say why something did not arrive in the log alone, and
in lines that may hold credentials.  Each line comes from the thread that exports, so that several
exporters do not hear each other.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

_OPENTELEMETRY: Final = "opentelemetry"
_THEIRS: Final = [
    logging.getLogger(name) for name in (_OPENTELEMETRY, "grpc", "requests", "urllib3")
]


class Heard(logging.Handler):
    """Takes the lines of all that sends, so that they do not reach the log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self._records: list[logging.LogRecord] = []

    def listen(self) -> None:
        """Take every line from now on."""
        for logger in _THEIRS:
            logger.addHandler(self)
            logger.propagate = False
            # The log's level is no matter: causes are in these, and the others name URLs.
            logger.setLevel(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line of OpenTelemetry's, if it is of the thread that listens."""
        if record.thread == self._thread and record.name.startswith(_OPENTELEMETRY):
            self._records.append(record)

    def taken(self) -> list[logging.LogRecord]:
        """Return the lines since the last call; those that follow are of the calling thread."""
        self._thread = threading.get_ident()
        records, self._records = self._records, []
        return records

    def close(self) -> None:
        """Let the lines pass again, unless somebody else listens."""
        for logger in _THEIRS:
            logger.removeHandler(self)
            if not any(isinstance(handler, Heard) for handler in logger.handlers):
                logger.propagate = True
                logger.setLevel(logging.NOTSET)
        super().close()
