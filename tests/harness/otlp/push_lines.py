"""Pushes, and the lines that the log has of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from harness.clock import FakeClock
from harness.otlp.receivers import Receiver
from opencode_exporter import catalog as c
from opencode_exporter.expose.otlp.metrics_push import Push
from opencode_exporter.expose.otlp.target import target_of
from opencode_exporter.expose.snapshot import Snapshot

FAILED = "push failed, the next one has it all"


def snapshot() -> Snapshot:
    """Return a snapshot with one gauge."""
    return Snapshot({c.UP: {("opencode.db",): 1}}, 5000, {}, 1000)


@contextmanager
def pushing(
    receiver: Receiver,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    shown: Callable[[], Snapshot] = snapshot,
    **more: str,
) -> Iterator[Push]:
    """Make a push to a receiver; its thread has not been started."""
    receiver.name_in(monkeypatch, OTEL_EXPORTER_OTLP_TIMEOUT="0.5", **more)
    target = target_of(receiver.environment | more)
    assert target
    push = Push(
        target,
        "7",
        clock,
        take_in=lambda: None,
        snapshot=lambda: (shown(), lambda: None),
        exports={},
    )
    try:
        yield push
    finally:
        push.stop(5)
