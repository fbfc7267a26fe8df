"""Execution times add up to the same, by whichever labels they are looked at."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencode_exporter import catalog as c
from opencode_exporter.catalog.vocabulary import REASONS
from opencode_exporter.counting.calls import CallSums, ToolKey, ToolSum
from opencode_exporter.counting.labels import Slots
from opencode_exporter.counting.series import Histogram, Labels, Value, merge
from opencode_exporter.counting.totals import changed_by
from opencode_exporter.events import COMPLETED, ERROR, OVERFLOW, STATUSES, Invocation

EXAMPLES: Final = int(os.environ.get("PROPERTY_EXAMPLES", "100"))
EDGES: Final = len(c.EXECUTE_TOOL.buckets)
Cells = Counter[tuple[Labels, int]]
"""What a histogram holds: by labels and place among its cells."""


@st.composite
def calls(draw: st.DrawFn) -> Invocation:
    """Return a call that has ended, of few tools and agents, as the decoders make them."""
    status = draw(st.sampled_from(STATUSES))
    reasons = REASONS if status == ERROR else ("",)
    edges = st.sampled_from([round(1000 * edge) for edge in c.DURATION_BUCKETS])
    return Invocation(
        *("ses", "msg", "call", ""),
        tool=draw(st.sampled_from(("read", "edit", "shell"))),
        status=status,
        reason=draw(st.sampled_from(reasons)),
        duration=draw(st.integers(-1, 10_000_000) | edges | edges.map(lambda edge: edge + 1)),
        agent=draw(st.sampled_from(("build", "plan"))),
        project=draw(st.sampled_from(("one", "two"))),
    )


def summed(events: Iterable[Invocation]) -> dict[ToolKey, ToolSum]:
    """Return what a reader process sends of some calls, over the wire and back."""
    sums = CallSums()
    for event in events:
        sums.count_call(event)
    data = msgspec.msgpack.encode([*sums.by_tool().items()])
    return dict(msgspec.msgpack.decode(data, type=list[tuple[ToolKey, ToolSum]]))


def counted(
    events: list[Invocation], cut: int, slots: Slots, limit: int = 2000
) -> dict[str, dict[Labels, Value]]:
    """Return the series that some calls make: the first ones summed elsewhere."""
    sums = CallSums()
    sums.absorb(summed(events[:cut]).items())
    for event in events[cut:]:
        sums.count_call(event)
    return changed_by(sums.fold(slots, lambda _label, _name: True), {}, limit)


def cells(series: Mapping[Labels, Value], *places: int) -> Cells:
    """Return the cells of a histogram's series, summed over all labels but some."""
    found: Cells = Counter()
    for labels, value in series.items():
        assert isinstance(value, Histogram)
        coarse = value.coarse(EDGES)
        for place, cell in enumerate((*coarse.counts, coarse.total)):
            found[tuple(labels[at] for at in places), place] += cell
    return +found


def statuses(series: Mapping[Labels, Value]) -> dict[Labels, Value]:
    """Return the series of the convention by tool and status: what has no error completed."""
    found: dict[Labels, Value] = {}
    for (tool, _, error), value in series.items():
        key = (tool, ERROR if error else COMPLETED)
        found[key] = merge(c.EXECUTE_TOOL, found.get(key), value)
    return found


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(calls(), max_size=60), st.integers(0, 60))
def test_executions_add_up_to_the_durations_of_tools(events: list[Invocation], cut: int) -> None:
    """Over agents and classes of error they are the durations by tool and status."""
    found = counted(events, cut, Slots())
    executed = found.get(c.EXECUTE_TOOL.name, {})
    durations = found.get(c.TOOL_DURATION.name, {})
    assert cells(statuses(executed), 0, 1) == cells(durations, 0, 1)


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(calls(), max_size=60), st.integers(11, 20))
def test_executions_beyond_the_limit_of_series_are_not_lost(
    events: list[Invocation], limit: int
) -> None:
    """Where series give way to `_other`, all of them together are still all durations."""
    found = counted(events, 0, Slots(), limit)
    executed = found.get(c.EXECUTE_TOOL.name, {})
    assert len(executed) <= limit
    assert cells(statuses(executed), 1) == cells(found.get(c.TOOL_DURATION.name, {}), 1)


@pytest.mark.parametrize(
    ("status", "reason", "shown"),
    [
        ("completed", "", ""),
        ("error", "timeout", "timeout"),
        ("error", "other", "_OTHER"),
        ("error", "", "_OTHER"),
    ],
)
def test_class_of_an_error_is_the_conventions(status: str, reason: str, shown: str) -> None:
    """A call that completed has none, and an error of no class is `_OTHER`."""
    event = Invocation(
        *("ses", "msg", "call", "", "read", status, reason), duration=100_000, agent="plan"
    )
    found = counted([event], 0, Slots())[c.EXECUTE_TOOL.name]
    # Beyond 81.92 s the convention has one bucket only.
    assert found == {("read", "plan", shown): Histogram([0] * EDGES + [1], 100_000)}


@pytest.mark.parametrize("status", ["denied", "aborted", "abandoned"])
def test_a_call_that_was_not_executed_has_no_duration(status: str) -> None:
    """Only what completed or failed is measured."""
    event = Invocation(*("ses", "msg", "call", "", "read", status), duration=5)
    assert c.EXECUTE_TOOL.name not in counted([event], 0, Slots())


def test_an_agent_without_a_slot_is_other_and_counted_as_overflow() -> None:
    """The limits of labels hold for this metric as for all."""
    slots = Slots(("agent", f"agent-{number}") for number in range(48))
    event = Invocation(
        *("ses", "msg", "call", "", "read", "completed"), duration=5, agent="one-more"
    )
    found = counted([event], 0, slots)
    assert found[c.EXECUTE_TOOL.name].keys() == {("read", OVERFLOW, "")}
    assert found[c.LABEL_OVERFLOW.name][c.EXECUTE_TOOL.name,] == 1
