"""The last push: what it holds, and that it holds up nobody."""

from __future__ import annotations

import pytest

from faults.endings import end
from harness.exporters import Bench
from harness.otlp.published_rules import pushed
from harness.otlp.receivers import PROTOCOLS, each_protocol
from harness.processes.work import CALLS, counts, serve, working
from harness.waiting import SOON_S, wait_for

pytestmark = pytest.mark.slow


@each_protocol
def test_end_pushes_what_was_counted_since(
    protocol: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First push with the history, last one at the end, though the interval is an hour."""
    with PROTOCOLS[protocol]() as receiver, working(bench, 2) as work:
        receiver.name_in(monkeypatch, OTEL_METRIC_EXPORT_INTERVAL="3600000")
        with serve(bench) as served:
            wait_for(lambda: receiver.received)
            counts(served, work.add(5))
            assert end(served) < SOON_S
        first, last = receiver.received
        sums = [
            sum(value for (name, _), value in pushed(body).items() if name == CALLS)
            for body, _ in (first, last)
        ]
        assert sums == [2, 7]


@each_protocol
def test_end_does_not_wait_for_an_endpoint_that_hangs(
    protocol: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM ends it within two seconds, with a line that the last push is missing."""
    with PROTOCOLS[protocol](hangs=True) as receiver, working(bench):
        receiver.name_in(monkeypatch, OTEL_EXPORTER_OTLP_TIMEOUT="60")
        with serve(bench) as served:
            wait_for(lambda: receiver.asked)
            assert end(served) < SOON_S
            assert served.log.count("last push did not end in time") == 1


@each_protocol
def test_end_does_not_wait_for_an_endpoint_that_is_gone(
    protocol: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM between two tries of a push ends both within two seconds; `stopped` comes last."""
    PROTOCOLS[protocol]().name_in(monkeypatch, OTEL_EXPORTER_OTLP_TIMEOUT="60")
    with working(bench), serve(bench) as served:
        counts(served, 1)
        assert end(served) < SOON_S
