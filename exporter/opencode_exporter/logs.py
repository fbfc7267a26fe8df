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

LogFormat = Literal["auto", "logfmt", "json"]
_ORDER: Final = ["ts", "level", "msg"]


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


def _plain(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Make every value one that both renderers can write, in the usual order."""
    keys = [*_ORDER, *(key for key in event if key not in _ORDER)]
    return {
        key: value if isinstance(value, str | int | float | bool) else str(value)
        for key in keys
        if (value := event.get(key)) is not None
    }
