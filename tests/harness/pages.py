"""What an exporter's page says of invocations, after a poll."""

from __future__ import annotations

from harness.exporters import Exposed, exposed
from opencode_exporter.service.exporter import Exporter

CALLS = "opencode_tool_invocations_total"
DURATION = "opencode_tool_duration_seconds"
LATE = "opencode_exporter_late_ends_total"


def polled(exporter: Exporter) -> Exposed:
    """Return the page after a poll."""
    exporter.poll()
    return exposed(exporter)


def counted(page: Exposed) -> dict[tuple[str, ...], int]:
    """Return the counts by tool and status."""
    return dict(page.by(CALLS, "tool", "status"))


def running(page: Exposed, tool: str = "read") -> float:
    """Return how many calls of a tool run."""
    return page.value("opencode_tool_in_flight", tool=tool) or 0
