"""What is open in 1.x is given up on evidence alone, and what it says in the end counts once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contract.oracle.building import USED
from counting.late_ends import CALLS, LATE, RUNNING, TURNS, ended, exposed_once, looks, said
from harness.databases import V1
from harness.exporters import Bench

REJECTED = "opencode_exporter_rows_rejected_total"
FINISH = {"type": "step-finish", "reason": "stop", "tokens": USED, "cost": 0.25}


@pytest.fixture
def old(bench: Bench) -> V1:
    """Return an empty database of 1.x, written at the time of the test."""
    return V1(bench.source, now=bench.clock.ms)


def over(old: V1, message: str, finish: str = "stop") -> None:
    """Write that a step of 1.x is over."""
    old.raw_part(message, json.dumps(FINISH))
    old.rewrite_message(message, completed=old.tick(), finish=finish)


def human(old: V1, session: str) -> str:
    """Write what a human says to 1.x."""
    message = old.message(session, role="user")
    old.raw_part(message, '{"type":"text","text":"please"}')
    return message


def test_a_corrupt_later_row_leaves_an_open_call_running(bench: Bench, old: V1) -> None:
    """A later message that could not be decoded made open calls abandoned; their ends were lost."""
    look = looks(bench, old)
    session = old.session()
    first = old.message(session)
    part = old.tool(first, tool="read", status="running")
    look()
    bad = old.message(session)
    old.db.execute("UPDATE message SET data = '{broken' WHERE id = ?", (bad,))
    for _ in range(3):
        page = look(70_000)
        assert (ended(page), page.total(RUNNING)) == ({}, 1)
    old.rewrite(part, status="completed")
    assert ended(look()) == {("read", "completed"): 1}


def test_a_later_step_has_to_be_over_or_a_minute_old(bench: Bench, old: V1) -> None:
    """A step that has just begun says nothing of what runs; one that is a minute old does."""
    look = looks(bench, old)
    session = old.session()
    old.tool(old.message(session), tool="read", status="running")
    look()
    old.message(session)
    assert ended(look()) == {}
    # Nobody writes any more: the age alone decides, at the next look in a minute.
    assert ended(look(61_000)) == {("read", "abandoned"): 1}


def test_what_changes_beside_a_later_step_is_not_given_up(bench: Bench, old: V1) -> None:
    """A second process in the session ended the first one's running command for us."""
    look = looks(bench, old)
    session = old.session()
    command = old.tool(old.message(session), tool="bash", status="running")
    look()
    over(old, old.message(session))
    old.rewrite(command, metadata={"output": "a line"})
    page = look(70_000)
    assert (ended(page), page.total(RUNNING)) == ({}, 1)


@pytest.mark.parametrize("wait_ms", [10, 70_000], ids=["waited for", "given up"])
def test_two_processes_in_one_session_lose_nothing(wait_ms: int, bench: Bench, old: V1) -> None:
    """A step that ended after a later one had begun lost its tokens, cost and edits."""
    look = looks(bench, old)
    session = old.session()
    asked = human(old, session)
    first = old.message(session, parentID=asked)
    edit = old.tool(first, tool="edit", status="running", input={"filePath": "a.py"})
    look()
    again = human(old, session)
    second = old.message(session, parentID=again)
    reads = old.tool(second, tool="read", status="running")
    look(wait_ms)
    diff = {"filediff": {"file": "a.py", "additions": 7, "deletions": 1}}
    old.rewrite(edit, status="completed", metadata=diff)
    over(old, first)
    old.rewrite(reads, status="completed")
    over(old, second)
    for page in (look(), look(), look(70_000)):
        whole = exposed_once(bench)
        assert said(page) == said(whole)
        assert page.total("opencode_edit_lines_total") == 8
        assert page.total(LATE) == (wait_ms > 60_000)


def test_an_open_row_that_breaks_and_is_mended_counts(bench: Bench, old: V1) -> None:
    """A row that could not be read for a while was settled, and its end was lost."""
    look = looks(bench, old)
    part = old.tool(message := old.message(old.session()), tool="read", status="running")
    look()
    old.raw_part(message, "{broken", part=part)
    page = look()
    assert (ended(page), page.total(RUNNING), page.total(REJECTED)) == ({}, 0, 1)
    old.rewrite(part, status="completed")
    assert ended(look()) == {("read", "completed"): 1}


def test_a_command_that_prints_began_when_it_was_first_seen(bench: Bench, old: V1) -> None:
    """1.14.48 to 1.18.20 stamp a command's start anew whenever it prints: it lasted for ms."""
    look = looks(bench, old)
    message = old.message(old.session())
    began = old.now + 1
    part = old.tool(message, tool="bash", status="running", start=began)
    look()
    old.now += 600_000
    old.rewrite(part, start=old.now, metadata={"output": "a line"})
    page = look()
    assert page.value("opencode_tool_in_flight_oldest_start_timestamp_seconds", tool="shell") == (
        pytest.approx(began / 1000, abs=0.01)
    )
    old.rewrite(part, status="completed", start=old.now, end=old.now + 20)
    assert look().total("opencode_tool_duration_seconds_sum") == pytest.approx(600, abs=1)


def test_a_ulid_as_call_id_hides_no_running_command(bench: Bench, old: V1) -> None:
    """A running command with a ULID as its id was taken for the user's, and never looked at."""
    look = looks(bench, old)
    message = old.message(old.session())
    old.raw_part(message, '{"type":"step-start"}')
    ulid = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    shell: dict[str, Any] = {"tool": "bash", "call": ulid, "metadata": {"output": ""}}
    part = old.tool(message, status="running", **shell)
    assert look().total(RUNNING) == 1
    old.rewrite(part, status="completed", metadata={"output": "x", "exit": 0, "truncated": False})
    assert ended(look()) == {("shell", "completed"): 1}


@pytest.mark.parametrize(
    ("facts", "counts"),
    [
        ({"metadata": {"output": "x"}}, {}),
        ({"metadata": {"output": "x", "description": ""}}, {}),
        ({"metadata": {"output": "x", "exit": 0, "truncated": False}}, {("completed",): 1}),
        ({"metadata": {"output": "x", "exit": None, "truncated": False}}, {("completed",): 1}),
        ({"status": "error", "error": "spawn ENOENT"}, {("error",): 1}),
        ({"status": "error", "error": "The user rejected permission to use"}, {("denied",): 1}),
        ({"status": "error", "error": "Tool execution aborted"}, {("aborted",): 1}),
        ({"tool": "read"}, {("completed",): 1}),
    ],
)
def test_what_a_ulid_hides_outside_of_a_step(
    bench: Bench, old: V1, facts: dict[str, Any], counts: dict[tuple[str], int]
) -> None:
    """Only a command that completed and recorded nothing but its output is the user's."""
    message = old.message(old.session())
    typed: dict[str, Any] = {"tool": "bash", "metadata": {"output": ""}}
    old.tool(message, call="01ARZ3NDEKTSV4RRFFQ69G5FAW", **typed)
    old.tool(message, call="01ARZ3NDEKTSV4RRFFQ69G5FAV", **{"tool": "bash", **facts})
    page = bench.read_once()
    assert page.by(CALLS, "status") == counts
    assert page.by(REJECTED, "cause") == {}


def test_a_command_that_the_user_typed_is_no_invocation_while_it_runs(
    bench: Bench, old: V1
) -> None:
    """It has a ULID as well; but no step of the model began in its message."""
    look = looks(bench, old)
    message = old.message(old.session())
    shell: dict[str, Any] = {"tool": "bash", "call": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}
    part = old.tool(message, status="running", metadata={"output": ""}, **shell)
    assert look().total(RUNNING) == 0
    old.rewrite(part, status="completed", metadata={"output": "x"})
    page = look()
    assert (ended(page), page.total(RUNNING)) == ({}, 0)


def test_unknown_is_decided_by_a_minute_of_silence(bench: Bench, old: V1) -> None:
    """A turn that ended with a word nobody knows waited for the next message."""
    look = looks(bench, old)
    session = old.session()
    step = old.message(session, parentID=human(old, session))
    old.raw_part(step, '{"type":"step-start"}')
    over(old, step, "unknown")
    assert look().total(TURNS) == 0
    assert look(61_000).by(TURNS, "outcome") == {("succeeded",): 1}


def test_two_attempts_in_one_message_count_when_it_is_over(bench: Bench, old: V1) -> None:
    """1.18.34 asks again within a message: two steps begin in it, one ends."""
    look = looks(bench, old)
    session = old.session()
    step = old.message(session, parentID=human(old, session))
    for _ in range(2):
        old.raw_part(step, '{"type":"step-start"}')
    over(old, step)
    assert look().by(TURNS, "outcome") == {("succeeded",): 1}


def test_a_row_that_waits_for_its_age_wakes_us_itself(bench: Bench, old: V1) -> None:
    """A step whose parts were still to come stayed open until somebody wrote another row."""
    look = looks(bench, old)
    session = old.session()
    step = old.message(session, parentID=human(old, session))
    old.rewrite_message(step, completed=old.tick(), finish="stop")
    assert look().total(TURNS) == 0
    assert look(61_000).by(TURNS, "outcome") == {("succeeded",): 1}
