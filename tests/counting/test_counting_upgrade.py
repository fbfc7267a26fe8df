"""A database of both generations is the union of them: each invocation counts once."""

from __future__ import annotations

import pytest

from counting.copied_sessions import copies
from harness.databases import call
from harness.exporters import Bench
from harness.pages import DURATION, LATE, counted, polled, running
from harness.upgraded import import_step, upgraded

INTERRUPTED = {"type": "tool.interrupted", "message": "Tool execution interrupted: read"}


@pytest.mark.parametrize("between", [False, True], ids=["one poll", "two polls"])
def test_imported_call_counts_once(bench: Bench, *, between: bool) -> None:
    """A call that an upgrade copied into the tables of 2.x counts once, new ones count too."""
    exporter = bench.exporter()
    with upgraded(bench.source) as (old, new):
        session = old.session()
        message = old.message(session)
        old.tool(message, call="call_1")
        if between:
            polled(exporter)
        import_step(old, new, session, message, [call("call_1")])
        new.assistant(session, [call("call_1", "grep")])
        page = polled(exporter)
        assert counted(page) == {("read", "completed"): 1, ("grep", "completed"): 1}
        assert (copies(page, "upgrade"), copies(page)) == (1, 0)
    exporter.close()


def test_call_of_2x_written_again_as_1x_counts_once(bench: Bench) -> None:
    """Whichever generation is read first counts; the other's row of the call is a copy."""
    exporter = bench.exporter()
    with upgraded(bench.source) as (old, new):
        created = old.tick()
        session = new.session(created=created)
        message = new.assistant(session, [call("call_1")])
        page = polled(exporter)
        assert counted(page) == {("read", "completed"): 1}
        old.session(id=session, created=created)
        old.tool(old.message(session, id=message), call="call_1")
        for _ in range(2):
            page = polled(exporter)
            assert counted(page) == {("read", "completed"): 1}
            assert copies(page, "upgrade") == 1
            old.session()
    exporter.close()


@pytest.mark.parametrize("between", [False, True], ids=["one poll", "two polls"])
@pytest.mark.parametrize("status", ["pending", "running"])
def test_upgrade_closes_an_open_call_as_abandoned(
    bench: Bench, status: str, *, between: bool
) -> None:
    """What 2.x wrote as interrupted ends the open call of 1.x: once, without a duration."""
    exporter = bench.exporter()
    with upgraded(bench.source) as (old, new):
        session = old.session()
        message = old.message(session)
        part = old.tool(message, call="call_1", status=status)
        if between:
            assert running(polled(exporter)) == (status == "running")
        given = call("call_1", status="error", error=INTERRUPTED)
        import_step(old, new, session, message, [given])
        for _ in range(2):
            page = polled(exporter)
            assert (counted(page), running(page)) == ({("read", "abandoned"): 1}, 0)
            assert page.total(f"{DURATION}_count") == 0
            new.session()
        bench.clock.advance(hours=7)
        new.session()
        page = polled(exporter)
        assert (counted(page), running(page)) == ({("read", "abandoned"): 1}, 0)
        assert page.total(LATE) == 0
        old.rewrite(part, status="completed")
        page = polled(exporter)
        assert (counted(page), running(page)) == ({("read", "abandoned"): 1}, 0)
    exporter.close()


@pytest.mark.parametrize("fork", [False, True], ids=["imported", "forked"])
def test_refused_call_of_1x_counts_under_one_name(bench: Bench, *, fork: bool) -> None:
    """What 1.x handed to its tool ``invalid`` is an error of no tool in the tables of 2.x too."""
    asked = {"tool": "frobnicate", "error": "Model tried to call unavailable tool 'frobnicate'."}
    with upgraded(bench.source) as (old, new):
        session = old.session()
        message = old.message(session)
        start = old.tick()
        times = {"created": start, "ran": None, "completed": start + 3}
        answer = f"The arguments provided to the tool are invalid: {asked['error']}"
        imported = call("call_1", "invalid", input=asked, output=answer, **times)
        if fork:
            old.tool(message, call="call_1", tool="invalid", input=asked, start=start)
        import_step(old, new, session, message, [imported])
        if fork:
            new.fork(session)
        exporter = bench.exporter()
        page = polled(exporter)
        assert counted(page) == {("_unknown", "error"): 1}
        assert page.by("opencode_tool_errors_total", "tool", "reason") == {
            ("_unknown", "not_found"): 1
        }
    exporter.close()
