"""A name that was shown at 0 stays on the page, however many others come after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.databases import V1, V2, call
from harness.exporters import Bench, Exposed
from harness.pages import CALLS, polled
from harness.skill_files import put
from opencode_exporter.catalog.vocabulary import CATEGORIES
from opencode_exporter.counting.labels import Slots, limit_of
from opencode_exporter.events import OVERFLOW
from opencode_exporter.service.exporter import Exporter

LOADS: Final = "opencode_skill_invocations_total"


def names(page: Exposed, label: str) -> set[str]:
    """Return all values of a label."""
    return {
        dict(labels)[label]
        for series in page.samples.values()
        for labels in series
        if label in dict(labels)
    }


def zeros(page: Exposed, name: str) -> set[object]:
    """Return which series of a metric there are."""
    return set(page.samples[name])


@pytest.fixture
def exporter(bench: Bench) -> Iterator[Exporter]:
    """An exporter that is polled by hand."""
    found = bench.exporter()
    yield found
    found.close()


def use(db: V1, *tools: str) -> None:
    """Write a call of each tool."""
    message = db.message(db.session())
    for tool in tools:
        db.tool(message, call=f"call_{tool}", tool=tool)


@pytest.mark.slow
@pytest.mark.parametrize("restart", [False, True], ids=["serving", "restarted"])
def test_built_in_tools_stay_when_the_slots_fill(bench: Bench, *, restart: bool) -> None:
    """Their series at 0 gave way to new names, so that the first call of one was not seen."""
    exporter = bench.exporter()
    with V1(bench.source) as db:
        use(db, "read")
        first = polled(exporter)
        assert names(first, "tool") >= set(CATEGORIES)
        before = first
        for batch in range(6):
            use(db, *(f"mcp_{batch}_{number}" for number in range(20)))
            if restart:
                exporter.close()
                exporter = bench.exporter()
            page = polled(exporter)
            assert zeros(page, CALLS) >= zeros(before, CALLS)
            assert len(names(page, "tool")) <= limit_of("tool")
            before = page
        assert page.total(CALLS) == 1 + 6 * 20
        assert (page.value(CALLS, tool=OVERFLOW, status="completed") or 0) > 0
        assert page.value(CALLS, tool="edit", status="completed") == 0
        use(db, "edit", "mcp_0_0", "mcp_5_19")
        page = polled(exporter)
        assert page.value(CALLS, tool="edit", status="completed") == 1
        assert page.value(CALLS, tool="mcp_0_0", status="completed") == 2
    exporter.close()


def test_names_of_the_history_come_before_those_that_are_known(bench: Bench) -> None:
    """What was used at the first start has its slots; what is left is for names at 0."""
    with V1(bench.source) as db:
        use(db, *(f"mcp_{number}" for number in range(90)))
    page = bench.read_once()
    assert page.value(CALLS, tool=OVERFLOW, status="completed") == 0
    assert {f"mcp_{number}" for number in range(90)} <= names(page, "tool")
    assert len(names(page, "tool")) == limit_of("tool")


def test_running_call_of_one_name_too_many_has_none(bench: Bench, exporter: Exporter) -> None:
    """What runs keeps within the same limit."""
    with V1(bench.source) as db:
        use(db, *(f"mcp_{number}" for number in range(97)))
        message = db.message(db.session())
        for number in range(4):
            db.tool(message, call=f"run_{number}", tool=f"new_{number}", status="running")
        page = polled(exporter)
        assert page.total("opencode_tool_in_flight") == 4
        assert len(names(page, "tool")) <= limit_of("tool")


def test_installed_skills_stay_when_the_slots_fill(bench: Bench, exporter: Exporter) -> None:
    """Also one that is installed later, and one that was removed."""
    home = bench.directory / "home"
    put(home / ".claude" / "skills" / "first", "first")
    with V2(bench.source) as db:
        session = db.session()
        assert "first" in names(polled(exporter), "skill")
        second = home / ".claude" / "skills" / "second"
        put(second, "second")
        bench.clock.advance(ms=61_000)
        db.session()
        before = polled(exporter)
        assert {"first", "second"} <= names(before, "skill")
        (second / "SKILL.md").unlink()
        bench.clock.advance(ms=61_000)
        for number in range(120):
            loaded = call(f"call_{number}", "skill", metadata={"name": f"skill-{number}"})
            db.assistant(session, [loaded])
        page = polled(exporter)
        assert zeros(page, LOADS) >= zeros(before, LOADS)
        assert len(names(page, "skill")) <= limit_of("skill")
        assert page.total(LOADS) == 120


TEXTS: Final = st.sampled_from([f"n{number}" for number in range(130)])


@given(steps=st.lists(st.tuples(st.booleans(), st.sets(TEXTS, max_size=60)), max_size=12))
def test_places_and_slots_never_go(steps: list[tuple[bool, set[str]]]) -> None:
    """Whoever comes in which order, what was shown stays, within the limit, and after a restart."""
    slots, kept, known = Slots(), list[tuple[str, str]](), set[str]()
    for takes, some in steps:
        if takes:
            for name in sorted(some):
                was_known = name in known
                shown = slots.take("tool", name)
                assert shown == name or not was_known
        else:
            slots.keep("tool", sorted(some))
        found = {*slots.names("tool"), *slots.places("tool")}
        assert found >= known
        assert len(found) == len(slots.names("tool")) + len(slots.places("tool"))
        assert len(found) <= limit_of("tool") - 2
        kept, known = kept + slots.given(), found
        again = Slots(kept)
        assert again.names("tool") == slots.names("tool")
        assert set(again.places("tool")) == set(slots.places("tool"))
        slots = again
