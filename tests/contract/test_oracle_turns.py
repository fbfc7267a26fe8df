"""The independent computation's turns follow OpenCode's own loop, by rows that are made by hand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from contract.oracle.model import Call, Row, Session
from contract.oracle.runs import skill_runs
from contract.oracle.turns import Turn, turns

BEGIN_MS = 1_795_000_000_000
SECOND_MS = 1000
_numbers = itertools.count(1)
READ = {"tool": "read"}
ABROAD = {"tool": "web_search", "own": False}
"""A call that the provider ran."""
CUT = {"tool": "read", "status": "error", "own": False}
"""A call that 1.x marks as interrupted."""


def row(kind: str, message: str = "", **more: Any) -> Row:
    """Return a row that was made a second after the one that was made before it."""
    number = next(_numbers)
    at = BEGIN_MS + number * SECOND_MS
    made = Row(kind, message or f"msg_{number}", at, number, more.pop("generation", "v1"))
    for name, value in more.items():
        setattr(made, name, value)
    return made


def human(message: str = "", **more: Any) -> Row:
    """Return what a human says."""
    return row("human", message, role="user", **more)


def step(*calls: dict[str, Any], finish: str = "stop", done: bool = True, **more: Any) -> Row:
    """Return a step that took half a second and wrote ten tokens."""
    made = row("step", role="assistant", finish=finish, **{"agent": "build", **more})
    made.tokens = made.tokens or {"output": 10}
    made.completed = made.created + 500 if done else None
    usual: dict[str, Any] = {"status": "completed", "started": made.created + 10}
    for number, facts in enumerate(calls):
        made.calls.append(Call("ses", made.message, f"call_{number}", **usual | facts))
    return made


def compaction(*, auto: bool = True) -> list[Row]:
    """Return the rows of a compaction of 1.x; one of its own goes on below a synthetic message."""
    asked = row("note", role="user", compaction="auto" if auto else "manual")
    rows = [asked, step(agent="compaction", summary=True, parent=asked.message)]
    return [*rows, row("note", "synthetic", role="user")] if auto else rows


def turns_of(*rows: Row) -> list[Turn]:
    """Return the turns of a session that holds these rows."""
    return turns(Session("ses", BEGIN_MS, "proj", "/w", rows=list(rows)))


def told(*rows: Row) -> list[tuple[str, int]]:
    """Return the outcomes of turns and how many steps they have."""
    return [(turn.outcome, len(turn.steps)) for turn in turns_of(*rows)]


@pytest.mark.parametrize("word", ["tool-calls", "stop", "unknown", "other", "length", "brand-new"])
def test_a_step_with_calls_goes_on_whatever_its_finish_says(word: str) -> None:
    """Providers end steps that hold calls with any word; one human message is one turn."""
    skill = {"tool": "skill", "skill": "tidy", "ended": BEGIN_MS}
    make = {"tool": "shell", "given": {"command": "make"}}
    rows = [human(), *(step(one, finish=word) for one in (skill, make, make)), step()]
    found = turns_of(*rows)
    assert [(turn.outcome, len(turn.steps)) for turn in found] == [("succeeded", 4)]
    (run,) = skill_runs(found).runs
    assert (run.skill, run.outcome, len(run.steps)) == ("tidy", "succeeded", 3)


@pytest.mark.parametrize("call", [ABROAD, CUT])
def test_calls_that_opencode_does_not_run_do_not_keep_a_turn_open(call: dict[str, Any]) -> None:
    """The loop looks at calls of its own only: those of the provider do not count there."""
    assert told(human(), step(call), human(), step(call, READ), step()) == [
        ("succeeded", 1),
        ("succeeded", 2),
    ]


@pytest.mark.parametrize(
    ("last", "outcome"),
    [
        ({"finish": "stop"}, "succeeded"),
        ({"finish": "length"}, "failed"),
        ({"finish": "content-filter"}, "failed"),
        ({"finish": "error"}, "failed"),
        ({"finish": "other"}, "succeeded"),
        ({"finish": "other", "tokens": {"output": 0, "reasoning": 9}}, "failed"),
        ({"finish": "unknown"}, "succeeded"),
        ({"finish": "unknown", "tokens": {"output": 0}}, "failed"),
        ({"finish": "brand-new"}, "succeeded"),
        ({"finish": "brand-new", "tokens": {"output": 0}}, "failed"),
        ({"finish": "tool-calls"}, "abandoned"),
        ({"finish": "", "error": "MessageAbortedError"}, "interrupted"),
        ({"finish": "", "error": "APIError"}, "failed"),
        ({"finish": ""}, "interrupted"),
        ({"finish": "", "done": False}, "abandoned"),
    ],
)
@pytest.mark.parametrize("goes_on", [False, True])
def test_the_last_step_says_how_a_turn_of_1x_ended(
    last: dict[str, Any], outcome: str, goes_on: bool
) -> None:
    """At rest, and when the next human message comes, which has a turn of its own."""
    rows = [human(), step(READ), step(**last)]
    later = [human(), step()] if goes_on else []
    assert told(*rows, *later) == [(outcome, 2), ("succeeded", 1)][: 2 if goes_on else 1]


def test_a_turn_that_was_to_go_on_is_abandoned_at_the_next_human_message() -> None:
    """It gets no further step; one whose step just stopped was interrupted by the user."""
    first, second = human(), human()
    rows = [first, step(READ, parent=first.message), second, step(parent=second.message)]
    assert told(*rows) == [("abandoned", 1), ("succeeded", 1)]
    assert told(human(), step(READ, finish=""), human(), step()) == [
        ("interrupted", 1),
        ("succeeded", 1),
    ]


def test_unknown_goes_on_when_a_further_step_of_the_exchange_follows() -> None:
    """1.18.27 and later go on after it, up to 1.18.20 stop there: what follows tells."""
    ask = human("ask")
    cut: dict[str, Any] = {"finish": "unknown", "tokens": {"output": 0}}
    assert told(ask, step(**cut, parent="ask"), step(parent="ask")) == [("succeeded", 2)]
    asks = [human("one"), human("two")]
    rows = [*asks, step(**cut, parent="one"), step(parent="two")]
    assert told(*rows) == [("failed", 1), ("succeeded", 1)]
    rows = [human(), step(**cut), *compaction(), step(parent="synthetic")]
    assert told(*rows) == [("succeeded", 2)]
    rows = [human(), step(finish="unknown"), *compaction(auto=False), human(), step()]
    assert told(*rows) == [("succeeded", 1), ("succeeded", 1)]


def test_a_compaction_in_the_middle_of_a_turn_leaves_it_and_its_run_one() -> None:
    """The prompt was too long: an empty step, the compaction, and on below another message."""
    ask = human("ask")
    skill = {"tool": "skill", "skill": "tidy", "ended": BEGIN_MS}
    rows = [ask, step(skill, parent="ask"), step(finish="", parent="ask"), *compaction()]
    rows += [step(READ, parent="synthetic"), step(parent="synthetic")]
    found = turns_of(*rows)
    assert [(turn.outcome, turn.start) for turn in found] == [("succeeded", ask.created)]
    assert [one.summary for one in found[0].steps] == [False] * 4
    (run,) = skill_runs(found).runs
    assert (run.outcome, len(run.steps)) == ("succeeded", 3)


def test_an_empty_step_with_a_compaction_behind_it_was_not_interrupted() -> None:
    """When nothing comes after the compaction, the turn was abandoned."""
    assert told(human(), step(finish=""), *compaction()) == [("abandoned", 1)]
    assert told(human(), step(finish=""), *compaction(), human()) == [("abandoned", 1)]


def test_a_step_answers_the_human_message_that_it_names() -> None:
    """The turn begins with that one; those before it are answered with it."""
    asks = [human(name) for name in ("one", "two", "three")]
    (turn,) = turns_of(*asks, step(parent="two"))
    assert turn.start == asks[1].created
    first, second = turns_of(*asks, step(parent="two"), step(parent="three"))
    assert (first.start, second.start) == (asks[1].created, asks[2].created)
    first, second = turns_of(*asks, step(parent="one"), step(parent="elsewhere"))
    assert (first.start, second.start) == (asks[0].created, asks[2].created)
    (turn,) = turns_of(*asks, step())
    assert turn.start == asks[2].created


def test_a_step_that_names_another_human_message_begins_its_turn() -> None:
    """Two processes in one session: the turn that was to go on ends there."""
    rows = [human("one"), human("two"), step(READ, parent="one"), step(READ, parent="two")]
    assert told(*rows, step(parent="two")) == [("abandoned", 1), ("succeeded", 2)]
    rows = [human("one"), human("two"), step(finish="", parent="one"), step(parent="two")]
    assert told(*rows) == [("interrupted", 1), ("succeeded", 1)]


def new(kind: str, **more: Any) -> Row:
    """Return a row of 2.x that is no step."""
    return row(kind, generation="v2", **more)


def streamed(*calls: dict[str, Any], **more: Any) -> Row:
    """Return a step of 2.x."""
    made = step(*calls, generation="v2", **more)
    made.streamed = made.created + 100
    return made


@pytest.mark.parametrize("outcome", ["interrupted", "failed"])
def test_idle_ends_a_turn_of_2x_whose_step_is_still_open(outcome: str) -> None:
    """Its end is not known, also when the step gets one as the session goes on later."""
    skill = {"tool": "skill", "skill": "tidy", "ended": BEGIN_MS}
    for done in (False, True):
        last = step(finish="", done=done, generation="v2")
        rows = [human(), streamed(skill, finish="tool-calls"), last, new("idle", outcome=outcome)]
        (turn,) = found = turns_of(*rows)
        assert (turn.outcome, turn.duration) == (outcome, None)
        (run,) = skill_runs(found).runs
        assert (run.outcome, run.duration) == (outcome, None)


@pytest.mark.parametrize("idle", [False, True])
def test_an_aborted_step_of_2x_ends_its_turn_at_once(idle: bool) -> None:
    """Without `idle`, and with one behind it, which ends no other turn then."""
    rest = [new("idle", outcome="interrupted")] if idle else []
    rows = [human(), streamed(READ, finish="tool-calls"), streamed(finish="error", error="aborted")]
    assert told(*rows, *rest) == [("interrupted", 2)]
    assert told(*rows, *rest, human(), streamed()) == [("interrupted", 2), ("succeeded", 1)]


def test_a_broken_stream_of_2x_ends_no_turn() -> None:
    """The step that is asked again has an error, and the turn goes on in the next one."""
    broken = streamed(finish="error", error="provider.invalid-output", retries=1)
    rows = [human(), broken, new("note"), streamed(), new("idle", outcome="succeeded")]
    assert told(*rows) == [("succeeded", 2)]


@pytest.mark.parametrize("word", ["", "cancelled", "x" * 300])
def test_an_outcome_that_nobody_knows_is_that_of_the_last_step(word: str) -> None:
    """The label has its fixed values only; a turn without a step is abandoned."""
    idle: dict[str, Any] = {"kind": "idle", "outcome": word}
    assert told(human(), streamed(), new(**idle)) == [("succeeded", 1)]
    assert told(human(), streamed(READ), new(**idle)) == [("succeeded", 1)]
    assert told(human(), streamed(finish="length"), new(**idle)) == [("failed", 1)]
    assert told(human(), streamed(READ, finish="tool-calls"), new(**idle)) == [("abandoned", 1)]
    assert told(human(), streamed(finish="", done=False), new(**idle)) == [("abandoned", 1)]
    assert told(human(), new(**idle)) == [("abandoned", 0)]


def test_imported_rows_follow_the_loop_of_1x() -> None:
    """They were never streamed and have no `idle`; where one of both is, it is a turn of 2.x."""
    old: dict[str, Any] = {"generation": "v2"}
    rows = [human(**old), step(READ, **old), step(**old), human(**old), step(READ, **old)]
    assert told(*rows) == [("succeeded", 2), ("abandoned", 1)]
    failed = step(finish="", error="provider.error", **old)
    assert told(human(**old), failed, step(**old)) == [("failed", 1), ("succeeded", 1)]
    idle = new("idle", outcome="succeeded")
    assert told(human(**old), failed, step(**old), idle) == [("succeeded", 2)]
    assert told(human(**old), step(**old), streamed()) == [("succeeded", 2)]


def test_a_turn_has_no_duration_when_the_clock_was_set_meanwhile() -> None:
    """From 1970 to today, from the future, and backwards: nothing is known."""
    for at in (60_000, BEGIN_MS * 1000, BEGIN_MS + 10**9):
        ask, answer = human(), step()
        ask.created = at
        (turn,) = turns_of(ask, answer)
        assert (turn.outcome, turn.duration) == ("succeeded", None)
    ask, answer = human(), step()
    ask.created, answer.created, answer.completed = 60_000, 61_000, 62_000  # a clock of its own
    (turn,) = turns_of(ask, answer)
    assert turn.duration == 2000
