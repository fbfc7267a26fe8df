"""Open work that is looked at again and again: what is shown of calls, and of what steps say."""

from __future__ import annotations

from collections.abc import Callable

from harness.databases import V1, V2
from harness.exporters import Bench, Exposed, exposed

CALLS = "opencode_tool_invocations_total"
TURNS = "opencode_turns_total"
TOKENS = "opencode_tokens_total"
LATE = "opencode_exporter_late_ends_total"
RUNNING = "opencode_tool_in_flight"
WHAT_STEPS_SAY = (TOKENS, "opencode_cost_usd_total", "opencode_steps_total", TURNS)


def said(page: Exposed) -> dict[str, float]:
    """Return the sums of what steps say."""
    return {name: page.total(name) for name in WHAT_STEPS_SAY}


def ended(page: Exposed) -> dict[tuple[str, ...], float]:
    """Return the invocations that were counted, by tool and status."""
    return {key: value for key, value in page.by(CALLS, "tool", "status").items() if value}


def looks(bench: Bench, database: V1 | V2) -> Callable[..., Exposed]:
    """Return what polls at the time of the database and returns the page."""
    exporter = bench.exporter()

    def look(later_ms: int = 10) -> Exposed:
        bench.clock.ms = max(bench.clock.ms, database.now) + later_ms
        database.now = bench.clock.ms
        exporter.poll()
        return exposed(exporter)

    return look


def exposed_once(bench: Bench) -> Exposed:
    """Return what a reading of everything shows that has never looked before."""
    exporter = bench.exporter(in_memory=True)
    exporter.poll()
    page = exposed(exporter)
    exporter.close()
    return page
