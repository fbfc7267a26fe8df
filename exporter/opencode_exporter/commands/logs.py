"""
Logs: constant messages, data as keys, on stderr.

logfmt on a terminal, JSON elsewhere.  Standard logging underneath, so that the
libraries' lines look the same.
"""

from __future__ import annotations

import logging
import sys
from typing import Final, Literal

import structlog
from structlog.typing import EventDict, WrappedLogger

from opencode_exporter.clock import LineLimit
from opencode_exporter.errors import printable

LogFormat = Literal["auto", "logfmt", "json"]
_ORDER: Final = ["ts", "level", "msg"]
_AT_A_CLIENTS_WILL: Final = ("uvicorn", "asyncio", "opencode_exporter.web")


def configure(level: str, log_format: LogFormat) -> None:
    """Send every log line of the process to stderr, in one shape."""
    if log_format == "auto":
        log_format = "logfmt" if sys.stderr.isatty() else "json"
    renderer = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.processors.LogfmtRenderer(key_order=_ORDER, drop_missing=True)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Throttle())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
                structlog.processors.format_exc_info,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.EventRenamer("msg"),
                _plain,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("watchfiles").setLevel(logging.WARNING)


class Throttle(logging.Filter):
    """
    Passes a line that any client can cause once in 30 seconds, with a count of the others.

    A flood of bad requests would fill the disk with one line again and again.
    """

    def __init__(self) -> None:
        super().__init__()
        self._limit = LineLimit()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is written."""
        if record.levelno < logging.WARNING or not record.name.startswith(_AT_A_CLIENTS_WILL):
            return True
        line = record.name, str(record.msg).partition("\n")[0]
        held_back = self._limit.held_back(line, record.created)
        if held_back is None:
            return False
        if held_back:
            record.repeated = held_back
        return True


def _plain(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Return an event of numbers and printable texts, in the usual order of keys."""
    keys = [*_ORDER, *(key for key in event if key not in _ORDER)]
    return {
        # The renderers escape the ends of lines themselves.
        key: value if isinstance(value, int | float | bool) else printable(str(value), keep="\n")
        for key in keys
        if (value := event.get(key)) is not None
    }
