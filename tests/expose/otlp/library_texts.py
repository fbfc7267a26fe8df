"""
What the libraries below a push say when it fails, and what we make of it; a program.

Prints JSON: the version of OpenTelemetry, and by protocol and situation its lines as it writes
them and the cause that a `Sender` returns.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any, Final, get_args

import opentelemetry.sdk.version

from opencode_exporter import catalog as c
from opencode_exporter.expose.otlp.link import Link
from opencode_exporter.expose.otlp.metrics_push import Sender
from opencode_exporter.expose.otlp.points import metrics_data
from opencode_exporter.expose.otlp.resource import resource_of
from opencode_exporter.expose.otlp.target import Protocol, target_of
from opencode_exporter.expose.snapshot import Snapshot

NOBODY_LISTENS: Final = "http://127.0.0.1:1"
SITUATIONS: Final[dict[str, dict[str, str]]] = {
    "nobody listens": {"OTEL_EXPORTER_OTLP_TIMEOUT": "2"},  # for a second try
    "header cannot be sent": {"OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%0Ab"},
    "header has no value": {"OTEL_EXPORTER_OTLP_HEADERS": "no sign of a value"},
}


class Lines(logging.Handler):
    """Keeps all lines, with the names of their loggers."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.kept.append(f"{record.name}: {record.getMessage()}")


def said(protocol: str, variables: dict[str, str]) -> dict[str, Any]:
    """Return the lines of a failed push, and the cause that it came to."""
    usual = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": NOBODY_LISTENS,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "0.2",
        "OTEL_EXPORTER_OTLP_HEADERS": "",
    }
    os.environ.update(usual | variables)
    target = target_of(os.environ)
    assert target
    lines = Lines()
    for name in ("opentelemetry", Link.__module__):
        logging.getLogger(name).handlers = [lines]
    sender = Sender(target)
    snapshot = Snapshot({c.UP: {("opencode.db",): 1}}, 5000, {}, 1000)
    cause = sender.send(metrics_data(snapshot, resource_of("7", host_name=False), gen_ai=False))
    sender.close()
    return {"lines": lines.kept, "cause": cause}


if __name__ == "__main__":
    found = {
        protocol: {name: said(protocol, variables) for name, variables in SITUATIONS.items()}
        for protocol in get_args(Protocol)
    }
    sys.stdout.write(json.dumps({"version": opentelemetry.sdk.version.__version__, **found}))
