"""
Spans: invocations as OpenTelemetry has them, in the words of its GenAI conventions.

Pure.  Nothing of what a model or a user wrote is in a span, and no id of OpenCode's;
its names are those that the metrics show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from opencode_exporter import __version__
from opencode_exporter.counting.calls import error_type
from opencode_exporter.events import ERROR, Invocation
from opencode_exporter.expose.otlp.span_ids import Ids

_SCOPE: Final = InstrumentationScope("opencode_exporter", __version__)
_OPERATION: Final = "execute_tool"
_NS_PER_MS: Final = 1_000_000
_STATUSES: Final = {ERROR: Status(StatusCode.ERROR)}
_UNSET: Final = Status(StatusCode.UNSET)


@dataclass(frozen=True)
class Shown:
    """The names of an invocation, as the metrics show them; an empty one is not shown."""

    tool: str
    agent: str
    project: str
    skill: str


def span_of(event: Invocation, shown: Shown, ids: Ids, resource: Resource) -> ReadableSpan:
    """
    Return the span of an invocation that has ended.

    Args:
        event: The invocation; its duration was measured.
        shown: Its names.
        ids: Its ids.
        resource: Who sends it.
    """
    error = error_type(event.status or "", event.reason) if event.status == ERROR else ""
    attributes = {
        "gen_ai.operation.name": _OPERATION,
        "gen_ai.tool.name": shown.tool,
        "gen_ai.agent.name": shown.agent,
        "gen_ai.skill.name": shown.skill,
        "error.type": error,
        "opencode.status": event.status or "",
        "opencode.project": shown.project,
    }
    return ReadableSpan(
        f"{_OPERATION} {shown.tool}",
        context=_context(ids.trace, ids.span),
        parent=_context(ids.trace, ids.parent) if ids.parent else None,
        resource=resource,
        attributes={name: value for name, value in attributes.items() if value},
        kind=SpanKind.INTERNAL,
        status=_STATUSES.get(event.status or "", _UNSET),
        # As long as the metrics say: what it waited for permission is before it, where known.
        start_time=(event.ended - event.duration) * _NS_PER_MS,
        end_time=event.ended * _NS_PER_MS,
        instrumentation_scope=_SCOPE,
    )


def _context(trace: int, span: int) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(trace, span, is_remote=False, trace_flags=flags)
