"""
The push: every metric, on an interval and at the end, in a thread of its own.

Neither polls nor scrapes wait for it.  Values are cumulative, so a push that fails is
made good by the next one.  Knows no web server and starts no poll itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricExporter, MetricsData

from opencode_exporter.clock import Clock
from opencode_exporter.expose.otlp.link import Link
from opencode_exporter.expose.otlp.points import metrics_data
from opencode_exporter.expose.otlp.resource import resource_of
from opencode_exporter.expose.otlp.session import session
from opencode_exporter.expose.otlp.target import Target
from opencode_exporter.expose.otlp.troubles import Troubles
from opencode_exporter.expose.snapshot import Snapshot

log = logging.getLogger(__name__)

_POINTS: Final = 5000  # in a request: gRPC receivers refuse more than 4 MiB, unless told


class Push:
    """
    Pushes to a target, from `start` to `stop`.

    Args:
        target: Where to.
        instance_id: The ledger's.
        clock: A stopwatch.
        take_in: Brings what is shown up to date, in little time.
        snapshot: Returns what is shown, and what to call when it has arrived.
        exports: Where the pushes are counted, by result.

    Raises:
        ConfigError: The environment cannot be used.
    """

    def __init__(
        self,
        target: Target,
        instance_id: str,
        clock: Clock,
        *,
        take_in: Callable[[], None],
        snapshot: Callable[[], tuple[Snapshot, Callable[[], None]]],
        exports: dict[str, int],
    ) -> None:
        self.exports = exports
        self.exports.update(ok=0, error=0)
        self._target = target
        self._take_in = take_in
        self._snapshot = snapshot
        self._sender = Sender(target)
        self._resource = resource_of(instance_id, host_name=target.host_name)
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)
        self._due = threading.Event()
        self._is_ready = False
        self._stopping = False
        self._given_up = False
        self._troubles = Troubles(
            log,
            clock,
            target.shown,
            lost="push failed, the next one has it all",
            over="push arrives again",
        )

    def start(self) -> None:
        """Start to push."""
        where = {"endpoint": self._target.shown, "protocol": self._target.protocol}
        log.info("pushing over OTLP", extra={**where, "interval_s": self._target.interval_s})
        if self._target.refused:
            log.warning(
                "temporality is not sent, totals are cumulative",
                extra={"preference": self._target.refused},
            )
        self._thread.start()

    def polled(self, *, is_ready: bool) -> None:
        """Note that a poll has ended: after the first with the history in, a push is due."""
        if is_ready and not self._is_ready:
            self._is_ready = True
            self._due.set()

    def stop(self, within_s: float) -> None:
        """
        Push for the last time and stop; safe to call again.

        Args:
            within_s: How long that may take.  What does not arrive by then goes with the
                first push of the next start.
        """
        self._stopping = True
        self._due.set()
        if self._thread.is_alive():
            self._thread.join(within_s)
        if self._thread.is_alive() and not self._given_up:
            self._given_up = True
            log.warning("last push did not end in time", extra={"endpoint": self._target.shown})
        self._sender.close()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            self._due.wait(self._target.interval_s)
            self._due.clear()
            is_last = self._stopping
            if not is_last:
                self._take_in()
            if self._given_up:
                return
            try:
                self._push()
            except Exception:  # noqa: BLE001  # it is logged, unless all is over
                # A defect of ours must not end the pushes; it is shown and tried again.
                self._sender.tell(partial(log.exception, "push failed"))

    def _push(self) -> None:
        snapshot, arrived = self._snapshot()
        data = metrics_data(snapshot, self._resource, gen_ai=self._target.gen_ai)
        cause = self._sender.send(data)
        self.exports["error" if cause else "ok"] += 1
        if not cause:
            arrived()
        self._sender.tell(partial(self._troubles.ended, cause))


class Sender(Link[MetricsData]):
    """Sends data points to a target.  One thread at a time may send."""

    def _over_http(self) -> MetricExporter:
        return OTLPMetricExporter(
            self._target.url,
            session=session(self._target.provider),
            max_export_batch_size=_POINTS,
        )

    def _over_grpc(self, compression: Any) -> MetricExporter:
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter  # noqa: PLC0415

        return metric_exporter.OTLPMetricExporter(
            self._target.url, compression=compression, max_export_batch_size=_POINTS
        )
