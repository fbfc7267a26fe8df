"""Sessions, todos and what no recording shows, each provoked in a database."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from harness.databases import V1, V2, call
from harness.exporters import Bench, Exposed, exposed
from opencode_exporter.service.exporter import Exporter

SESSIONS = "opencode_session_tool_invocations"


def polled(exporter: Exporter) -> Exposed:
    """Return the page after a poll."""
    exporter.poll()
    return exposed(exporter)


def one_call(db: V1 | V2, session: str) -> None:
    """Write a step with one call, which is over."""
    if isinstance(db, V2):
        db.assistant(session, [call()])
        return
    message = db.message(session, finish="tool-calls")
    db.tool(message)
    end(db, message)


def end(db: V1, message: str) -> None:
    """Complete a step."""
    sql = (
        "UPDATE message SET data = json_set(data, '$.time.completed', ?), time_updated = ? "
        "WHERE id = ?"
    )
    db.db.execute(sql, (db.tick(), db.now, message))


def put_away(db: V1 | V2, session: str) -> None:
    """Archive a session."""
    db.db.execute(f"UPDATE {db.sessions} SET time_archived = ? WHERE id = ?", (db.tick(), session))


@pytest.mark.parametrize("generation", [V1, V2])
def test_session_is_active_for_five_minutes(bench: Bench, generation: type[V1 | V2]) -> None:
    """A session counts as active until 5 minutes after its last change, over a restart too."""
    with generation(bench.source) as db:
        exporter = bench.exporter()
        bench.clock.ms = db.now
        one_call(db, db.session())
        assert polled(exporter).value("opencode_sessions_active") == 1
        exporter.close()
        exporter = bench.exporter()
        bench.clock.advance(ms=299_000)
        assert polled(exporter).value("opencode_sessions_active") == 1
        bench.clock.advance(ms=2_000)
        assert polled(exporter).value("opencode_sessions_active") == 0
        exporter.close()


@pytest.mark.parametrize("generation", [V1, V2])
def test_session_is_observed_once_when_it_has_been_idle(
    bench: Bench, generation: type[V1 | V2]
) -> None:
    """An hour after its last change the calls of a session are observed, and never again."""
    with generation(bench.source) as db:
        exporter = bench.exporter()
        bench.clock.ms = db.now
        session = db.session()
        for _ in range(3):
            one_call(db, session)
        bench.clock.ms = db.now + 3_599_000
        assert polled(exporter).total(f"{SESSIONS}_count") == 0
        bench.clock.advance(ms=1000)
        page = polled(exporter)
        assert page.value(f"{SESSIONS}_sum", session_kind="root") == 3
        db.now = bench.clock.ms
        one_call(db, session)
        bench.clock.advance(hours=2)
        assert polled(exporter).value(f"{SESSIONS}_count", session_kind="root") == 1
        exporter.close()


@pytest.mark.parametrize("generation", [V1, V2])
def test_archived_session_is_observed_within_a_minute(
    bench: Bench, generation: type[V1 | V2]
) -> None:
    """What the user puts away is over."""
    with generation(bench.source) as db:
        exporter = bench.exporter()
        bench.clock.ms = db.now
        session = db.session()
        one_call(db, session)
        assert polled(exporter).total(f"{SESSIONS}_count") == 0
        put_away(db, session)
        bench.clock.advance(ms=61_000)
        assert polled(exporter).value(f"{SESSIONS}_count", session_kind="root") == 1
        exporter.close()


@pytest.mark.parametrize("generation", [V1, V2])
def test_last_calls_of_an_archived_session_are_among_the_observed(
    bench: Bench, generation: type[V1 | V2]
) -> None:
    """What came since the last poll was left out: a session was observed before it was read."""
    with generation(bench.source) as db:
        exporter = bench.exporter()
        bench.clock.ms = db.now
        session = db.session()
        one_call(db, session)
        exporter.poll()
        one_call(db, session)
        put_away(db, session)
        bench.clock.advance(ms=61_000)
        page = polled(exporter)
        assert page.value(f"{SESSIONS}_sum", session_kind="root") == 2
        exporter.close()


def test_todos_of_active_sessions_are_shown(bench: Bench) -> None:
    """Items by status, as long as their session is active; odd statuses are ``_other``."""
    with V1(bench.source) as db:
        exporter = bench.exporter()
        bench.clock.ms = db.now
        session = db.session()
        one_call(db, session)
        for position, status in enumerate(("pending", "pending", "completed", "secret plan")):
            db.db.execute(
                "INSERT INTO todo (session_id, content, status, priority, position, time_created, "
                "time_updated) VALUES (?, 'do it', ?, 'high', ?, 1, 1)",
                (session, status, position),
            )
        page = polled(exporter)
        assert page.by("opencode_todos", "todo_status") == {
            ("pending",): 2,
            ("completed",): 1,
            ("_other",): 1,
        }
        bench.clock.advance(ms=301_000)
        assert polled(exporter).total("opencode_todos") == 0
        exporter.close()


def test_files_on_which_every_attempt_failed_are_counted(bench: Bench) -> None:
    """Two failures in a turn, and then none that succeeds: one change is abandoned."""
    with V1(bench.source) as db:
        session = db.session()
        db.message(session, role="user")
        for _ in range(2):
            message = db.message(session, finish="tool-calls")
            db.raw_part(message, broken_edit(db))
            end(db, message)
        message = db.message(session, finish="stop")
        db.raw_part(message, '{"type":"text","text":"I give up"}')
        end(db, message)
        bench.clock.ms = db.now + 120_000
        page = bench.read_once()
    assert page.value("opencode_edit_abandoned_changes_total", tool="edit") == 1
    assert page.total("opencode_edit_attempts_per_change_count") == 0
    assert page.value("opencode_tool_retries_total", tool="edit") == 1


def broken_edit(db: V1) -> str:
    """Return the data of an edit that found nothing to replace."""
    start = db.tick()
    state = {
        "status": "error",
        "input": {"filePath": "/home/dev/demo/a.py"},
        "error": "Could not find oldString",
        "time": {"start": start, "end": db.tick()},
    }
    return json.dumps({"type": "tool", "tool": "edit", "callID": f"call_{start}", "state": state})


def v1_retry(bench: Bench) -> None:
    """Write a step of 1.x whose request was repeated twice."""
    with V1(bench.source) as db:
        message = db.message(db.session(), finish="stop")
        for _ in range(2):
            db.raw_part(message, '{"type":"retry","attempt":1}')
        end(db, message)
        bench.clock.ms = db.now + 120_000


def v2_retry(bench: Bench) -> None:
    """Write a step of 2.x that says the same."""
    with V2(bench.source) as db:
        message = db.assistant(db.session(), [])
        sql = "UPDATE session_message SET data = json_set(data, '$.retry.attempt', 2) WHERE id = ?"
        db.db.execute(sql, (message,))
        bench.clock.ms = db.now + 120_000


@pytest.mark.parametrize("write", [v1_retry, v2_retry])
def test_repeated_requests_are_counted_where_they_are_recorded(
    bench: Bench, write: Callable[[Bench], None]
) -> None:
    """The numbers of attempts were added up; a step was asked again, however often."""
    write(bench)
    name = "opencode_model_retries_total"
    assert bench.read_once().value(name, provider="scripted", model="scripted-model") == 1


def test_single_label_counters_are_there_before_their_first_event(bench: Bench) -> None:
    """``increase()`` sees the first retry of a tool, as its series is there at 0."""
    with V1(bench.source):
        page = bench.read_once()
    assert page.value("opencode_tool_retries_total", tool="edit") == 0
    assert page.value("opencode_edit_abandoned_changes_total", tool="edit") == 0
    assert page.value("opencode_edit_abandoned_changes_total", tool="shell") is None
