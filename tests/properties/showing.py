"""What a page must always show, whatever has happened: sums that agree, values that never fall."""

from __future__ import annotations

from collections import Counter
from typing import Final

from harness.exporters import Exposed, Labels
from properties.account import Call
from properties.opencode import OpenCode
from properties.truth import Truth

CALLS: Final = "opencode_tool_invocations_total"
USAGE: Final = "opencode_tool_usage_total"
DURATION: Final = "opencode_tool_duration_seconds"
_GROWING: Final = ("_total", "_bucket", "_sum", "_count")
_OF_THE_PROCESS: Final = ("opencode_exporter_poll",)
"""Say how this process does; they begin again with it, as Prometheus expects."""
_MEASURED: Final = ("completed", "error")

Values = dict[tuple[str, Labels], float]


def growing(page: Exposed) -> Values:
    """Return every counter and everything that a histogram consists of."""
    return {
        (name, labels): value
        for name, series in page.samples.items()
        if name.endswith(_GROWING) and not name.startswith(_OF_THE_PROCESS)
        for labels, value in series.items()
    }


def counts(page: Exposed) -> Values:
    """Return the counters and histograms about OpenCode, and the copies skipped."""
    return {
        (name, labels): value
        for (name, labels), value in growing(page).items()
        if not name.startswith("opencode_exporter_") or "copies" in name
    }


def never_falls(before: Values, after: Values) -> None:
    """Check that nothing fell or went away between two scrapes."""
    for series, value in before.items():
        if not value:
            continue  # a restart shows names at 0 only when it has looked for them
        assert series in after, f"{series} went away"
        assert after[series] >= value - 1e-9, f"{series} fell from {value} to {after[series]}"


def agrees(page: Exposed) -> None:
    """Check that what is shown in several ways is the same in all."""
    calls = page.by(CALLS, "tool", "status")
    assert calls == page.by(USAGE, "tool", "status")
    ended = {name: n for name, n in calls.items() if name[1] in _MEASURED}
    assert ended == page.by(f"{DURATION}_count", "tool", "status")
    infinite = {
        (dict(labels)["tool"], dict(labels)["status"]): value
        for labels, value in page.samples.get(f"{DURATION}_bucket", {}).items()
        if dict(labels)["le"] == "+Inf" and value
    }
    assert infinite == ended
    failed = Counter({tool: n for (tool, status), n in calls.items() if status == "error"})
    assert {(tool,): n for tool, n in failed.items()} == page.by(
        "opencode_tool_errors_total", "tool"
    )
    loads = {status: n for (tool, status), n in calls.items() if tool == "skill"}
    shown = page.by("opencode_skill_usage_total", "status")
    assert {(status,): n for status, n in loads.items()} == shown
    first = page.total("opencode_skill_sessions_total")
    assert first + page.total("opencode_skill_reloads_total") == loads.get("completed", 0)


def messages_once(page: Exposed, world: OpenCode) -> None:
    """Check that no message is counted twice."""
    for (role,), count in page.by("opencode_messages_total", "role").items():
        assert count <= world.written[role], f"{count} messages of {role} are counted"


def lasts(page: Exposed, world: OpenCode, truth: Truth) -> None:
    """
    Check that durations add up to those of exactly the calls that were counted.

    A command of 1.x whose start nobody saw has run since its row was made.
    """
    least: Counter[tuple[str, ...]] = Counter()
    most: Counter[tuple[str, ...]] = Counter()
    for call in world.calls:
        for place in _measured(call, truth):
            least[place] += call.duration
            most[place] += max(call.duration, call.longest)
    found = page.by(f"{DURATION}_sum", "tool", "status")
    assert found.keys() == least.keys()
    for kind, seconds in found.items():
        assert least[kind] - 0.5 <= seconds * 1000 <= most[kind] + 0.5, kind


def _measured(call: Call, truth: Truth) -> list[tuple[str, ...]]:
    states = {state.status for state in truth.states.get(call, ())}
    return [(call.cell[0], status) for status in states.intersection(_MEASURED)]
