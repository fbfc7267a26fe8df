"""Pushes to an endpoint that takes its time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.clock import FakeClock
from harness.otlp.push_lines import snapshot
from opencode_exporter.expose.otlp.metrics_push import Push
from opencode_exporter.expose.otlp.target import target_of


def name(monkeypatch: pytest.MonkeyPatch, url: str, **more: str) -> dict[str, str]:
    """Have the environment name an endpoint, with half a second for each request."""
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "0.5",
        **{f"OTEL_EXPORTER_OTLP_{name}": value for name, value in more.items()},
    }
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    return dict(os.environ)


@contextmanager
def pushing(environ: dict[str, str], clock: FakeClock) -> Iterator[Push]:
    """Make a push to what an environment names; its thread has not been started."""
    target = target_of(environ)
    assert target
    push = Push(
        target,
        "7",
        clock,
        take_in=lambda: None,
        snapshot=lambda: (snapshot(), lambda: None),
        exports={},
    )
    try:
        yield push
    finally:
        push.stop(0)
