"""
Tracing: each invocation that ends as a span, once it counts for good.

Spans wait in the queue of OpenTelemetry's batch processor, which sends them in a thread
of its own; what finds it full is dropped, and counted.  Neither polls nor scrapes wait.
Knows no source; is told by the ledger what counts, with its labels.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from opencode_exporter import catalog as c
from opencode_exporter.clock import Clock
from opencode_exporter.errors import ConfigError
from opencode_exporter.events import ABANDONED, COMPLETED, ERROR, Invocation
from opencode_exporter.expose.exemplars import Exemplar
from opencode_exporter.expose.filters import Filters
from opencode_exporter.expose.health import PushHealth
from opencode_exporter.expose.otlp.link import Link
from opencode_exporter.expose.otlp.resource import resource_of
from opencode_exporter.expose.otlp.session import session
from opencode_exporter.expose.otlp.span_ids import Callers
from opencode_exporter.expose.otlp.spans import Shown, span_of
from opencode_exporter.expose.otlp.target import SpanTarget
from opencode_exporter.expose.otlp.troubles import Troubles
from opencode_exporter.expose.shown import ProjectNames, shown_labels
from opencode_exporter.ledger.follower import Counted
from opencode_exporter.ledger.ledger import Ledger

log = logging.getLogger(__name__)


class Tracing:
    """
    Follows a ledger, until `stop`.

    Args:
        target: Where the spans go.
        ledger: What is followed.
        filters: Which tools and skills are shown.
        project_names: How projects are shown.
        clock: A stopwatch.
        health: Where the spans are counted, and their exemplars noted.

    Raises:
        ConfigError: The environment cannot be used.
    """

    def __init__(
        self,
        target: SpanTarget,
        ledger: Ledger,
        filters: Filters,
        project_names: ProjectNames,
        clock: Clock,
        health: PushHealth,
    ) -> None:
        self.spans = health.spans
        self.exemplars = health.exemplars
        self._target = target
        self._ledger = ledger
        self._filters = filters
        self._project_names = project_names
        self._resource = resource_of(ledger.notes.instance_id, host_name=target.host_name)
        self._callers = Callers()
        self._handed = 0
        self._stopping: threading.Thread | None = None
        self._sender = SpanSender(target, clock, self.spans)
        try:
            self._processor = BatchSpanProcessor(self._sender, max_queue_size=target.queue)
        except ValueError as err:
            self._sender.close()
            raise ConfigError(
                f"spans cannot be sent ({err})", hint="look at the OTEL_BSP_* variables"
            ) from err

    def start(self) -> None:
        """Start to follow."""
        where = {"endpoint": self._target.shown, "protocol": self._target.protocol}
        log.info("sending spans over OTLP", extra=where)
        self._ledger.follow(self)

    # What the ledger tells.

    def committed(self, running: Iterable[Invocation], counted: Sequence[Counted]) -> None:
        """Send off what has an end that was measured; what finds no room is dropped."""
        measured = [one for one in counted if _is_measured(one.event)]
        sent = measured[: self._room()]
        self.spans["dropped"] += len(measured) - len(sent)
        for call in (*running, *(one.event for one in sent)):
            self._callers.note(call)
        for one in sent:
            self._send_off(one.event, self._shown(one))

    def _room(self) -> int:
        """Return how many more the queue takes; what is being sent counts as being in it."""
        taken = self._handed - self.spans["ok"] - self.spans["error"]
        return max(0, self._target.queue - taken)

    def _send_off(self, event: Invocation, shown: Shown) -> None:
        if not self._filters.tool.shows(shown.tool):
            return
        ids = self._callers.ids(self._ledger.notes.salt, event)
        self._processor.on_end(span_of(event, shown, ids, self._resource))
        self._handed += 1
        if event.status in (COMPLETED, ERROR):
            exemplar = Exemplar(
                f"{ids.trace:032x}", f"{ids.span:016x}", event.duration, event.ended
            )
            self.exemplars.note(c.TOOL_DURATION, (shown.tool, event.status), exemplar)
            if shown.skill:
                self.exemplars.note(c.SKILL_DURATION, (shown.skill, event.status), exemplar)

    def _shown(self, one: Counted) -> Shown:
        """Return the names of a call as they are shown: its labels by the user's flags."""
        labels = (one.tool, one.agent, one.project, one.event.status or "")
        how, salt = self._project_names, self._ledger.notes.salt
        tool, agent, project, _ = shown_labels(c.TOOL_USAGE, labels, how, salt)
        skill = one.skill if one.skill and self._filters.skill.shows(one.skill) else ""
        return Shown(tool, agent, project, skill)

    def stop(self, within_s: float) -> None:
        """
        Send what waits and stop; safe to call again.

        Args:
            within_s: How long that may take.  What does not arrive by then is lost.
        """
        if self._stopping is None:
            # It waits for the last export, however long that takes.
            self._stopping = threading.Thread(target=self._processor.shutdown, daemon=True)
            self._stopping.start()
        self._stopping.join(within_s)
        if self._stopping.is_alive():
            if not self._sender.is_closed:
                log.warning(
                    "last spans did not end in time", extra={"endpoint": self._target.shown}
                )
            self._sender.close()


def _is_measured(call: Invocation) -> bool:
    return call.duration >= 0 and call.status != ABANDONED


class SpanSender(Link[Sequence[ReadableSpan]], SpanExporter):
    """
    Sends spans to a target.

    Args:
        target: The target.
        clock: A stopwatch.
        spans: Where they are counted, by result: arrived, failed, or dropped before.
    """

    def __init__(self, target: SpanTarget, clock: Clock, spans: dict[str, int]) -> None:
        self.spans = spans
        self.spans.update(ok=0, error=0, dropped=0)
        self._troubles = Troubles(
            log, clock, target.shown, lost="spans did not arrive", over="spans arrive again"
        )
        super().__init__(target)

    def _over_http(self) -> SpanExporter:
        return OTLPSpanExporter(self._target.url, session=session(self._target.provider))

    def _over_grpc(self, compression: Any) -> SpanExporter:
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter  # noqa: PLC0415

        return trace_exporter.OTLPSpanExporter(self._target.url, compression=compression)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send some spans; they are not sent again."""
        cause = self.send(spans)
        self.tell(partial(self._troubles.ended, cause))
        self.spans["error" if cause else "ok"] += len(spans)
        return SpanExportResult.FAILURE if cause else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Send nothing more."""
        self.close()
