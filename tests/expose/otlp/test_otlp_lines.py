"""What the log says of pushes that fail, and what a push survives."""

from __future__ import annotations

import logging
import threading

import pytest
from opentelemetry.sdk.metrics.export import MetricExportResult

from harness.clock import FakeClock
from harness.otlp.push_lines import FAILED, pushing, snapshot
from harness.otlp.receivers import HttpReceiver
from harness.waiting import PATIENCE_S, wait_for
from opencode_exporter.expose.snapshot import Snapshot


def test_failures_are_one_line_in_half_a_minute(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The line comes again after 30 s with how many it were; recovery is one line, too."""
    caplog.set_level("INFO", "opencode_exporter")
    receiver = HttpReceiver()
    with pushing(receiver, clock, monkeypatch) as push:
        for seconds in (0, 10, 19, 1, 10):
            clock.advance(ms=seconds * 1000)
            push._push()
        with receiver:
            push._push()
            push._push()
        push._push()  # within half a minute of the last line
        assert push.exports == {"ok": 2, "error": 6}
    lines = [record for record in caplog.records if record.name.startswith("opencode_exporter")]
    told = [(line.getMessage(), vars(line)["failures"]) for line in lines]
    assert told == [(FAILED, 1), (FAILED, 4), ("push arrives again", 5)]
    assert "could not be reached" in vars(lines[0])["err"]


def test_defect_of_ours_does_not_end_the_pushes(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be put together once is logged with its trace, and pushed the next time."""
    broken = iter([ValueError("a defect")])

    def shown() -> Snapshot:
        for err in broken:
            raise err
        return snapshot()

    with HttpReceiver() as receiver, pushing(receiver, clock, monkeypatch, shown) as push:
        push.start()
        wait_for(lambda: receiver.received)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == ["push failed"]


class Stubborn:
    """An exporter that goes on after its end, and logs then, as OpenTelemetry's may."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.released = threading.Event()

    def export(self, _data: object) -> MetricExportResult:
        """Wait to be released, complain, and fail."""
        self.asked.set()
        self.released.wait(PATIENCE_S)
        logging.getLogger("opentelemetry.any").warning("Shutdown in progress, aborting retry.")
        return MetricExportResult.FAILURE

    def shutdown(self) -> None:
        """Do nothing at once."""


def test_nothing_is_logged_after_the_end(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a push says that is still under way comes before `stopped`, or not at all."""
    theirs = logging.getLogger("opentelemetry")
    with pushing(HttpReceiver(), clock, monkeypatch) as push:
        stubborn = Stubborn()
        monkeypatch.setattr(push._sender, "_exporter", stubborn)
        push.start()
        push.polled(is_ready=True)
        wait_for(stubborn.asked.is_set)
        push.stop(0)
        told = [record.getMessage() for record in caplog.records]
        stubborn.released.set()
        push._thread.join(5)
        assert not push._thread.is_alive()
    assert told == ["last push did not end in time"]
    assert [record.getMessage() for record in caplog.records] == told
    assert theirs.propagate  # whoever uses OpenTelemetry beside us is heard again
    assert not theirs.handlers
