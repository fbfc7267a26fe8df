"""What is open is given up on evidence alone, and what it says in the end counts once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from contract.oracle.building import USED
from harness.clock import HOUR_MS
from harness.databases import V1, V2, call
from harness.exporters import Bench, Exposed, exposed

CALLS = "opencode_tool_invocations_total"
TURNS = "opencode_turns_total"
TOKENS = "opencode_tokens_total"
RUNNING = "opencode_tool_in_flight"
REJECTED = "opencode_exporter_rows_rejected_total"
LATE = "opencode_exporter_late_ends_total"
FINISH = {"type": "step-finish", "reason": "stop", "tokens": USED, "cost": 0.25}
WHAT_STEPS_SAY = (TOKENS, "opencode_cost_usd_total", "opencode_steps_total", TURNS)


def said(page: Exposed) -> dict[str, float]:
    """Return the sums of what steps say."""
    return {name: page.total(name) for name in WHAT_STEPS_SAY}


def ended(page: Exposed) -> dict[tuple[str, ...], float]:
    """Return the invocations that were counted, by tool and status."""
    return {key: value for key, value in page.by(CALLS, "tool", "status").items() if value}


@pytest.fixture
def old(bench: Bench) -> V1:
    """Return an empty database of 1.x, written at the time of the test."""
    return V1(bench.source, now=bench.clock.ms)


@pytest.fixture
def new(bench: Bench) -> V2:
    """Return an empty database of 2.x, written at the time of the test."""
    return V2(bench.source, now=bench.clock.ms)


def looks(bench: Bench, database: V1 | V2) -> Callable[..., Exposed]:
    """Return what polls at the time of the database and returns the page."""
    exporter = bench.exporter()

    def look(later_ms: int = 10) -> Exposed:
        bench.clock.ms = max(bench.clock.ms, database.now) + later_ms
        database.now = bench.clock.ms
        exporter.poll()
        return exposed(exporter)

    return look


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


def test_a_corrupt_later_row_of_2x_leaves_an_open_call_running(bench: Bench, new: V2) -> None:
    """The same of 2.x."""
    look = looks(bench, new)
    session = new.session()
    one = call("c1", "read", status="running", completed=None)
    first = new.assistant(session, [one], completed=None)
    look()
    new.raw_row(session, "{broken")
    page = look(70_000)
    assert (ended(page), page.total(RUNNING)) == ({}, 1)
    new.rewrite(first, [call("c1", "read")])
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


def exposed_once(bench: Bench) -> Exposed:
    """Return what a reading of everything shows that has never looked before."""
    exporter = bench.exporter(in_memory=True)
    exporter.poll()
    page = exposed(exporter)
    exporter.close()
    return page


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


@pytest.mark.parametrize("outcome", ["interrupted", "failed"])
def test_idle_ends_a_step_that_is_still_open(outcome: str, bench: Bench, new: V2) -> None:
    """2.x writes ``idle`` without completing the step: its turn waited for six hours."""
    look = looks(bench, new)
    session = new.session()
    new.user(session)
    new.assistant(session, [], completed=None)
    new.idle(session, outcome)
    assert look().by(TURNS, "outcome") == {(outcome,): 1}


@pytest.mark.parametrize("word", ["cancelled", "x" * 300, None, 7], ids=str)
def test_an_outcome_has_its_fixed_values_only(word: Any, bench: Bench, new: V2) -> None:
    """A word of ``idle`` that nobody documented became a label."""
    look = looks(bench, new)
    session = new.session()
    new.user(session)
    new.assistant(session, [])
    new.idle(session, word)
    assert look().by(TURNS, "outcome") == {("succeeded",): 1}


def test_an_open_row_that_broke_before_a_later_step_is_left(bench: Bench, new: V2) -> None:
    """That it cannot be read is no sign of life: the step that is over tells."""
    look = looks(bench, new)
    session = new.session()
    one = call("c1", "read", status="running", completed=None)
    first = new.assistant(session, [one], completed=None)
    look()
    new.assistant(session, [], completed=None)
    new.db.execute(
        "UPDATE session_message SET data = '7', time_updated = ? WHERE id = ?", (new.tick(), first)
    )
    assert ended(look()) == {}
    new.assistant(session, [])
    assert ended(look()) == {("read", "abandoned"): 1}


def test_a_row_that_was_just_written_is_not_given_up_unread(bench: Bench, new: V2) -> None:
    """A call that had run for hours was given up when its row was written, but unreadably."""
    look = looks(bench, new)
    one = call("c1", "read", status="running", completed=None)
    step = new.assistant(new.session(), [one], completed=None)
    look()
    new.now += 7 * HOUR_MS
    write = "UPDATE session_message SET data = ?, time_updated = ? WHERE id = ?"
    kept = new.db.execute("SELECT data FROM session_message WHERE id = ?", (step,)).get
    new.db.execute(write, ("7", new.tick(), step))
    assert ended(look()) == {}
    new.db.execute(write, (kept.replace("running", "completed"), new.tick(), step))
    assert ended(look()) == {("read", "completed"): 1}


def test_an_end_that_nobody_read_before_its_row_broke(bench: Bench, new: V2) -> None:
    """The properties forgot that such a call is given up for its age like any other."""
    look = looks(bench, new)
    runs = call("c1", status="running", completed=None)
    step = new.assistant(new.session(), [runs], completed=None)
    look()
    new.rewrite(step, [call("c1")], completed=None)
    read = "SELECT data FROM session_message WHERE id = ?"
    kept = new.db.execute(read, (step,)).get
    write = "UPDATE session_message SET data = ? WHERE id = ?"
    new.db.execute(write, ("", step))
    assert look(7 * HOUR_MS).total(RUNNING) == 0
    new.db.execute(write, (kept, step))
    page = look(70_000)
    assert (ended(page), page.total(LATE)) == ({("read", "abandoned"): 1}, 1)


def completed_by_the_next(new: V2, step: str, calls: list[Any]) -> None:
    """Complete a step as 2.0.15 does when the next one of its session begins, whoever's it is."""
    new.rewrite(step, calls)
    sql = "UPDATE session_message SET data = json_remove(data, '$.finish'), time_updated = ?"
    new.db.execute(f"{sql} WHERE id = ?", (new.tick(), step))


@pytest.mark.parametrize("wait_ms", [10, 70_000, 7 * HOUR_MS], ids=["soon", "later", "at night"])
@pytest.mark.parametrize("was_open", [False, True], ids=["completed unseen", "seen open"])
def test_a_step_that_the_next_one_completed_loses_nothing(
    wait_ms: int, bench: Bench, new: V2, *, was_open: bool
) -> None:
    """
    What came after a step of 2.x had been completed was lost: calls, tokens, cost and edits.

    2.x completes the last step of a session, without ``finish``, when the next one begins; its
    own process may be at work on it still, in another terminal, and completes it again.
    """
    look = looks(bench, new)
    session = new.session()
    new.user(session)
    change = {"file": "a.py", "status": "modified", "additions": 7, "deletions": 1}
    runs = call("c1", "edit", status="running", completed=None)
    edits, reads = call("c1", "edit", metadata={"files": [change]}), call("c2", "read")
    first = new.assistant(session, [runs], completed=None)
    if was_open:
        look()
    new.user(session)
    completed_by_the_next(new, first, [runs])
    new.assistant(session, [])
    assert ended(look()) == {("edit", "abandoned"): 1}
    look(wait_ms)
    completed_by_the_next(new, first, [edits, reads])
    page = look(70_000)
    assert ended(page) == {("edit", "abandoned"): 1, ("read", "completed"): 1}
    assert page.total("opencode_edit_lines_total") == 8
    new.rewrite(first, [edits, reads, call("c3", "grep")], tokens=USED, cost=0.25)
    for page in (look(70_000), look(70_000)):
        assert said(page) == said(exposed_once(bench))
        assert ended(page)["grep", "completed"] == 1
        assert page.total("opencode_edit_lines_total") == 8
        assert page.total(LATE) == 1
