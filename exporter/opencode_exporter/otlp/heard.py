"""
What is heard of OpenTelemetry: its loggers' lines, taken instead of written.

Its exporters say why something did not arrive in the log alone, and in lines that may
hold credentials.  Each line comes from the thread that exports, so that several
exporters do not hear each other.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

_THEIRS: Final = logging.getLogger("opentelemetry")


class Heard(logging.Handler):
    """Takes the lines of OpenTelemetry's loggers, so that they do not reach the log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self._records: list[logging.LogRecord] = []

    def listen(self) -> None:
        """Take every line from now on."""
        _THEIRS.addHandler(self)
        _THEIRS.propagate = False
        _THEIRS.setLevel(logging.WARNING)  # the log's level is no matter: causes are in these
        # Its lines name the URL, and that may hold a key.
        logging.getLogger("urllib3").setLevel(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, if it is of the thread that listens."""
        if record.thread == self._thread:
            self._records.append(record)

    def taken(self) -> list[logging.LogRecord]:
        """Return the lines since the last call; those that follow are of the calling thread."""
        self._thread = threading.get_ident()
        records, self._records = self._records, []
        return records

    def close(self) -> None:
        """Let the lines pass again, unless somebody else listens."""
        _THEIRS.removeHandler(self)
        if not any(isinstance(handler, Heard) for handler in _THEIRS.handlers):
            _THEIRS.propagate = True
            _THEIRS.setLevel(logging.NOTSET)
        super().close()
