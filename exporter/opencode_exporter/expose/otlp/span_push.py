"""
Tracing: each invocation that ends as a span, once it counts for good.

Spans wait in the queue of OpenTelemetry's batch processor, which sends them in a thread
of its own; what finds it full is dropped, and counted.  Neither polls nor scrapes wait.
Knows no source; reads of the ledger which names are shown.
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
        self._resource = resource_of(ledger.meta["instance_id"], host_name=target.host_name)
        self._callers = Callers()
        self._waiting: list[Invocation] = []  # for the commit
        self._too_many = 0  # for them there was no room
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

    def counted(self, event: Invocation) -> None:
        """Keep an invocation for the commit: one that has an end, after the baseline."""
        measured = event.duration >= 0 and event.status != ABANDONED
        if not measured or event.ended < self._ledger.baseline_ms:
            return
        if len(self._waiting) < self._room():
            self._waiting.append(event)
        else:
            self._too_many += 1

    def committed(self, running: Iterable[Invocation]) -> None:
        """Send off what was kept."""
        waiting, self._waiting = self._waiting, []
        self.spans["dropped"] += self._too_many
        self._too_many = 0
        for call in (*running, *waiting):
            self._callers.note(call)
        for event in waiting:
            self._send_off(event)

    def forget(self) -> None:
        """Forget what was kept."""
        self._waiting = []
        self._too_many = 0

    def _room(self) -> int:
        """Return how many more the queue takes; what is being sent counts as being in it."""
        return self._target.queue - self._handed + self.spans["ok"] + self.spans["error"]

    def _send_off(self, event: Invocation) -> None:
        shown = self._shown(event)
        if not self._filters.tool.shows(shown.tool):
            return
        ids = self._callers.ids(self._ledger.published.salt, event)
        self._processor.on_end(span_of(event, shown, ids, self._resource))
        self._handed += 1
        if event.status in (COMPLETED, ERROR):
            exemplar = Exemplar(
                f"{ids.trace:032x}", f"{ids.span:016x}", event.duration, event.ended
            )
            self.exemplars.note(c.TOOL_DURATION, (shown.tool, event.status), exemplar)
            if shown.skill:
                self.exemplars.note(c.SKILL_DURATION, (shown.skill, event.status), exemplar)

    def _shown(self, event: Invocation) -> Shown:
        names, how = self._ledger.names, self._project_names
        labels = (
            names.label("tool", event.tool, vouched=event.vouched),
            names.label("agent", event.agent),
            names.label("project", event.project),
            event.status or "",
        )
        tool, agent, project, _ = shown_labels(
            c.TOOL_USAGE, labels, how, self._ledger.published.salt
        )
        skill = ""
        if event.skill is not None:
            name = names.label("skill", event.skill, vouched=event.status == COMPLETED)
            skill = name if self._filters.skill.shows(name) else ""
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
