"""What is open in 2.x is given up on evidence alone, and what it says in the end counts once."""

from __future__ import annotations

from typing import Any

import pytest

from contract.oracle.building import USED
from counting.late_ends import LATE, RUNNING, TURNS, ended, exposed_once, looks, said
from harness.clock import HOUR_MS
from harness.databases import V2, call
from harness.exporters import Bench


@pytest.fixture
def new(bench: Bench) -> V2:
    """Return an empty database of 2.x, written at the time of the test."""
    return V2(bench.source, now=bench.clock.ms)


def test_a_corrupt_later_row_of_2x_leaves_an_open_call_running(bench: Bench, new: V2) -> None:
    """As in 1.x, a later row that could not be decoded made open calls abandoned."""
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
