"""The independent computation knows turns, copies and sums, by hand-computed databases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.oracle.building import COST, New, Old, done
from contract.oracle.totals import expected
from harness.databases import V1, V2
from harness.upgraded import upgraded

SHELL = done("bash", {"command": "make"}, metadata={"exit": 0})
MODEL = ("scripted", "scripted-model")


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Old]:
    """A database of 1.x."""
    with V1(tmp_path / "opencode.db") as db:
        yield Old(db)


@pytest.fixture
def new(tmp_path: Path) -> Iterator[New]:
    """A database of 2.x."""
    with V2(tmp_path / "opencode.db") as db:
        yield New(db)


def refused(text: str) -> dict[str, Any]:
    """Return a call that the user, or a rule, refused."""
    return done("bash", {"command": "reboot"}, status="error", error=text)


def outcomes(work: Old | New) -> dict[str, int]:
    """Return how many turns ended how."""
    counted: Counter[tuple[str, str]] = expected(work.db.path)["opencode_turns_total"]
    return {outcome: count for (_, outcome), count in counted.items()}


@pytest.mark.parametrize(
    ("step", "outcome"),
    [
        ({"finish": "stop"}, "succeeded"),
        ({"finish": "length"}, "failed"),
        ({"finish": "content-filter"}, "failed"),
        ({"error": "APIError"}, "failed"),
        ({"error": "MessageAbortedError"}, "interrupted"),
        ({"finish": ""}, "interrupted"),
        ({"over": False}, "abandoned"),
        ({"finish": "tool-calls"}, "abandoned"),
    ],
)
def test_a_turn_of_1x_ends_by_its_last_step(old: Old, step: Any, outcome: str) -> None:
    """A finish other than tool-calls or an error ends it; without an end it is abandoned."""
    session = old.db.session()
    old.say(session)
    old.step(session, [SHELL])
    old.step(session, [], **step)
    assert outcomes(old) == {outcome: 1}
    measured = expected(old.db.path)["opencode_turn_duration_seconds"]
    assert measured == ({} if outcome == "abandoned" else {("build",): [4000]})


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("The user rejected permission to use this specific tool call.", "interrupted"),
        ('PermissionRejectedError({"_tag":"PermissionRejectedError"})', "interrupted"),
        ("The user rejected permission … with the following feedback: no", "succeeded"),
        ("The user has specified a rule which prevents you from it", "succeeded"),
    ],
)
def test_a_refusal_ends_a_turn_of_1x_but_a_rule_does_not(old: Old, text: str, outcome: str) -> None:
    """Only what the user refuses without a word to the model interrupts."""
    session = old.db.session()
    old.say(session)
    old.step(session, [refused(text)])
    if outcome == "succeeded":
        old.step(session, [])
    assert outcomes(old) == {outcome: 1}


def test_the_next_human_message_ends_a_turn_of_1x(old: Old) -> None:
    """A killed turn is abandoned then; messages that nothing answers make no turn."""
    session = old.db.session()
    old.say(session)
    old.step(session, [done("bash", {"command": "x"}, status="running")], over=False)
    old.say(session)
    old.say(session, agent="plan")
    old.step(session, [], agent="plan")
    old.say(session)
    found = expected(old.db.path)
    assert found["opencode_turns_total"] == {("build", "abandoned"): 1, ("plan", "succeeded"): 1}
    assert found["opencode_turn_duration_seconds"] == {("plan",): [2000]}
    messages = {("user", "build"): 3, ("user", "plan"): 1}
    messages |= {("assistant", "build"): 1, ("assistant", "plan"): 1}
    assert found["opencode_messages_total"] == messages


def test_compactions_and_typed_commands_leave_a_turn_alone(old: Old) -> None:
    """A summary is a step, but of no turn; a command's message is none."""
    session = old.db.session()
    old.say(session)
    old.step(session, [SHELL])
    old.compact(session, auto=True)
    old.step(session, [])
    old.say(session, synthetic=True)
    typed = old.db.message(session)
    ulid = "01M7YNFCRCR2HSVVZ8RDW1V0SR"
    old.db.tool(typed, call=ulid, tool="bash", input={"command": "ls"}, metadata={"output": ""})
    found = expected(old.db.path)
    assert found["opencode_turns_total"] == {("build", "succeeded"): 1}
    steps = {(*MODEL, "tool-calls"): 1, (*MODEL, "stop"): 2}
    assert found["opencode_steps_total"] == steps
    assert found["opencode_session_compactions_total"] == {("auto",): 1}
    assert found["opencode_session_tool_invocations"] == {("root",): [1]}
    assert sum(found["opencode_cost_usd_total"].values()) == 3 * COST


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "interrupted"])
def test_a_turn_of_2x_goes_on_until_idle(new: New, outcome: str) -> None:
    """What the user says meanwhile steers it; without an answer only idle makes a turn."""
    session = new.db.session()
    new.say(session)
    new.step(session, [SHELL])
    new.step(session, [])
    new.say(session)
    new.step(session, [])
    new.end(session, outcome)
    new.say(session)
    new.end(session, "failed")
    new.say(session)
    found = expected(new.db.path)["opencode_turns_total"]
    assert found == {("build", outcome): 1, ("_unknown", "failed"): 1}


def test_a_turn_of_2x_whose_process_died_is_abandoned(new: New) -> None:
    """A step without a finish ends it at the next human message, or never."""
    session = new.db.session()
    running = done("shell", {"command": "x"}, status="running")
    new.say(session)
    new.step(session, [running], over=False)
    new.say(session)
    new.step(session, [])
    new.end(session)
    new.say(session)
    new.step(session, [running], over=False)
    assert outcomes(new) == {"abandoned": 2, "succeeded": 1}


@pytest.mark.parametrize(
    ("last", "outcome"),
    [
        ({"error": "aborted"}, "interrupted"),
        ({"error": "provider.auth"}, "failed"),
        ({"finish": "stop"}, "succeeded"),
        ({"finish": "tool-calls"}, "abandoned"),
    ],
)
def test_a_turn_of_2x_without_idle_ends_as_its_last_step_says(
    new: New, last: Any, outcome: str
) -> None:
    """A process that exits at once leaves the end of its step, but no idle."""
    session = new.db.session()
    new.say(session)
    new.step(session, [SHELL])
    new.step(session, [], **last)
    assert outcomes(new) == {outcome: 1}


def test_idle_calls_no_cut_answer_a_success(new: New) -> None:
    """2.0.15 writes succeeded after a step that was cut at its length."""
    session = new.db.session()
    new.say(session)
    new.step(session, [], finish="length")
    new.end(session)
    assert outcomes(new) == {"failed": 1}


def test_steps_of_2x_are_measured_where_they_have_a_finish(new: New) -> None:
    """A step that failed has finished as an error; one of a dead process has not."""
    session = new.db.session()
    new.say(session)
    new.step(session, [], error="aborted")
    new.step(session, [], over=False)
    found = expected(new.db.path)
    assert found["opencode_steps_total"] == {(*MODEL, "error"): 1}
    assert found["opencode_step_duration_seconds"] == {MODEL: [1000]}
    assert found["opencode_model_response_seconds"] == {MODEL: [50]}
    assert found["opencode_session_errors_total"] == {("aborted",): 1}


@pytest.mark.parametrize("deleted", [False, True])
def test_forks_repeat_nothing(tmp_path: Path, deleted: bool) -> None:
    """Copies count for nobody; once the original is gone, the oldest copy counts."""
    for kind, number in ((V1, "1"), (V2, "2")):
        with kind(tmp_path / f"{number}.db") as db:
            work = Old(db) if isinstance(db, V1) else New(db)
            session = db.session()
            work.say(session)
            work.step(session, [SHELL])
            work.step(session, [])
            work.end(session)
            once = expected(db.path)
            first = db.fork(session)
            db.fork(first)
            if deleted:
                db.delete_session(session)
            twice = expected(db.path)
            work.say(first)
            work.step(first, [])
            work.end(first)
            last = expected(db.path)
        sessions = "opencode_sessions_total", "opencode_session_tool_invocations"
        assert {key for key in once if once[key] != twice[key]} <= set(sessions)
        kinds = {labels[0]: count for labels, count in twice[sessions[0]].items()}
        assert kinds == ({"fork": 2} if deleted else {"root": 1, "fork": 2})
        assert last["opencode_turns_total"] == {("build", "succeeded"): 2}
        assert last["opencode_tokens_total"][*MODEL, "input"] == 300


def test_an_upgraded_database_is_the_union_by_identity(tmp_path: Path) -> None:
    """What 2.x imported counts once; the session goes on in both generations."""
    with upgraded(tmp_path / "opencode.db") as (db, later):
        old, new = Old(db), New(later)
        session = db.session()
        user = old.say(session)
        step = old.step(session, [SHELL | {"call": "call_a"}])
        last = old.step(session, [])
        later.session(id=session, created=db.db.execute("SELECT time_created FROM session").get)
        for message in (user, step, last):
            _import(db, later, session, message)
        later.now = db.now + 60_000
        new.say(session)
        new.step(session, [SHELL])
        new.step(session, [])
        new.end(session)
        db.now = later.now + 60_000
        old.say(session)
        old.step(session, [SHELL])
        old.step(session, [], finish="length")
        found = expected(db.path)
    turns_ended = {("build", "succeeded"): 2, ("build", "failed"): 1}
    assert found["opencode_turns_total"] == turns_ended
    assert found["opencode_turn_duration_seconds"] == {("build",): [4000, 4000, 4000]}
    assert found["opencode_sessions_total"] == {("root", "demo"): 1}
    assert found["opencode_session_tool_invocations"] == {("root",): [3]}
    assert found["opencode_tokens_total"][*MODEL, "input"] == 600
    assert found["opencode_model_response_seconds"] == {MODEL: [50, 50]}


def _import(old: V1, new: V2, session: str, message: str) -> None:
    """Copy a message as the first start of 2.x does: without ``ran`` and ``streamed``."""
    sql = "SELECT data ->> '$.role', time_created FROM message WHERE id = ?"
    role, created = old.db.execute(sql, (message,)).get
    if role == "user":
        new.user(session, id=message, created=created)
    else:
        new.assistant(session, [], id=message, created=created, completed=created + 1001)
