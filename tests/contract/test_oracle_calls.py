"""The independent computation's calls, times and retries, by rows that are made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.oracle.building import Old, done
from contract.oracle.executions import duration, executions
from contract.oracle.model import Call, Moment, Row, Session, moment, took
from contract.oracle.parsing import v1_call, v2_call, v2_row
from contract.oracle.reading import read
from contract.oracle.runs import skill_runs
from contract.oracle.totals import expected
from contract.oracle.turns import turns
from harness.databases import BEGIN_MS, V1, V2, call
from opencode_exporter.demo.rows import text

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
NO_TOOL = "Model tried to call unavailable tool 'web_search'. Available tools: bash, edit."
NO_JSON = "Invalid input for tool bash: JSON parsing failed: Text: {"
BROKEN = "The arguments provided to the tool are invalid: " + NO_TOOL
STOPPED = "(no output)\n\n<{0}_metadata>\nUser aborted the command\n</{0}_metadata>"
DAY_MS = 86_400_000


@pytest.fixture
def db(tmp_path: Path) -> Iterator[V1]:
    """A database of 1.x."""
    with V1(tmp_path / "opencode.db") as database:
        yield database


def part(tool: str, status: str = "completed", *, by: bool | None = None, **state: Any) -> Any:
    """Return a tool part of 1.x; ``by`` is whether the provider ran it."""
    whole = {"status": status, "input": {}} | state
    whole.setdefault("time", {"start": BEGIN_MS + 20, "end": BEGIN_MS + 40})
    made = {"type": "tool", "tool": tool, "callID": "call_1", "state": whole}
    return made if by is None else made | {"metadata": {"providerExecuted": by}}


def of_v1(*args: Any, **more: Any) -> Call:
    """Return the call that a part of 1.x is."""
    found = v1_call("ses", "msg", part(*args, **more))
    assert found is not None
    return found


def of_v2(*args: Any, executed: bool | None = None, **more: Any) -> Call:
    """Return the call that an item of 2.x is; imported ones have no ``executed``."""
    item = call("call_1", *args, created=BEGIN_MS, ran=None, completed=BEGIN_MS + 9, **more)
    del item["executed"]
    return v2_call("ses", "msg", item if executed is None else item | {"executed": executed})


def verdict(found: Call) -> tuple[str, str, str]:
    """Return what a call is counted as."""
    return found.tool, found.status, found.reason


ASKED = {"tool": "web_search", "error": NO_TOOL}


@pytest.mark.parametrize(
    ("state", "as_what"),
    [
        ({"output": '[{"url":"https://example.org"}]'}, ("web_search", "completed", "")),
        ({"status": "error", "error": '{"type":"e"}'}, ("web_search", "error", "other")),
        (
            {"status": "error", "error": "Tool execution aborted"},
            ("web_search", "aborted", ""),
        ),
        ({"status": "running"}, ("web_search", "abandoned", "")),
    ],
)
def test_a_tool_that_the_provider_ran_has_its_name_and_status(
    state: dict[str, Any], as_what: tuple[str, str, str]
) -> None:
    """1.x hands it to `invalid`; the mark stands beside the state."""
    found = of_v1("invalid", by=True, input=ASKED, **state)
    assert verdict(found) == as_what
    assert (found.own, found.vouched) == (False, True)


def test_a_mark_inside_the_state_or_a_false_one_is_none() -> None:
    """Only `metadata.providerExecuted` of the part itself is that mark."""
    inside = of_v1("invalid", input=ASKED, metadata={"providerExecuted": True})
    for found in (inside, of_v1("invalid", by=False, input=ASKED)):
        assert verdict(found) == ("_unknown", "error", "not_found")
        assert (found.own, found.vouched) == (True, False)


def test_an_error_that_1x_marks_as_interrupted_is_not_its_own() -> None:
    """A completed one with the same mark is, and so is an error without it."""
    mark = {"metadata": {"interrupted": True}}
    assert not of_v1("read", "error", error="Tool execution aborted", **mark).own
    assert of_v1("read", "error", error="Tool execution aborted").own
    assert of_v1("read", "completed", **mark).own


def test_2x_marks_what_the_provider_ran() -> None:
    """The item has the provider's name."""
    found = of_v2("web_search", executed=True)
    assert (verdict(found), found.own) == (("web_search", "completed", ""), False)
    error = {"type": "tool.result-missing", "message": "no result"}
    found = of_v2("web_search", "error", executed=True, error=error)
    assert (verdict(found), found.vouched) == (("web_search", "error", "other"), True)
    assert of_v2("read", executed=False).own


@pytest.mark.parametrize(
    ("output", "given", "as_what", "own"),
    [
        ('[{"url":"u"}]', ASKED, ("web_search", "completed", ""), False),
        (BROKEN, ASKED, ("_unknown", "error", "not_found"), True),
        ("", ASKED, ("_unknown", "error", "not_found"), True),
        ("1\n", {"error": NO_TOOL}, ("_unknown", "error", "not_found"), True),
        (BROKEN, {"tool": "bash", "error": NO_JSON}, ("shell", "error", "invalid_arguments"), True),
    ],
)
def test_imported_calls_of_the_provider_are_known_by_their_output(
    output: str, given: dict[str, Any], as_what: tuple[str, str, str], own: bool
) -> None:
    """2.0.15 drops the mark; what 1.x refuses begins with a sentence of its own."""
    found = of_v2("invalid", input=given, output=output)
    assert (verdict(found), found.own) == (as_what, own)


@pytest.mark.parametrize(
    ("state", "tool", "reason"),
    [
        (
            {"input": {"error": "no such"}, "error": "SchemaError(Missing key)"},
            "_unknown",
            "invalid_arguments",
        ),
        ({"input": {"tool": "Write", "error": "x"}, "error": NO_TOOL}, "_unknown", "not_found"),
        ({"input": {"tool": "bash"}, "error": NO_JSON}, "shell", "invalid_arguments"),
        ({"input": ASKED, "error": "x"}, "_unknown", "not_found"),
        ({"input": None, "error": NO_TOOL}, "_unknown", "not_found"),
    ],
)
def test_the_reason_of_an_invalid_call_may_stand_in_its_error(
    state: dict[str, Any], tool: str, reason: str
) -> None:
    """The repair itself can fail; `invalid` is no tool that anybody knows."""
    assert verdict(of_v1("invalid", "error", **state)) == (tool, "error", reason)
    error = {"type": "tool.execution", "message": state["error"]}
    found = of_v2("invalid", "error", input=state["input"], error=error)
    assert verdict(found) == (tool, "error", reason)


@pytest.mark.parametrize(
    ("output", "code", "status"),
    [
        (STOPPED.format("shell"), None, "aborted"),
        (STOPPED.format("bash"), None, "aborted"),
        (STOPPED.format("shell") + "\n", None, "aborted"),
        (STOPPED.format("shell"), 0, "completed"),
        (STOPPED.format("shell") + "\nand on", None, "completed"),
        (
            STOPPED.format("shell")
            + "\n<shell_metadata>\nafter exceeding timeout 300 ms\n</shell_metadata>",
            None,
            "completed",
        ),
        ("User aborted the command", None, "completed"),
    ],
)
def test_a_command_that_the_user_interrupted_is_aborted(
    output: str, code: int | None, status: str
) -> None:
    """1.x calls it completed; only its own remarks at the end of the output tell."""
    meta = {"output": output, "exit": code, "truncated": False}
    found = of_v1("bash", output=output, metadata=meta)
    assert found.status == status
    assert of_v2("bash", output=output, metadata=meta).status == status
    assert of_v1("read", output=output, metadata=meta).status == "completed"
    step, session = Row("step", "msg", BEGIN_MS, 1, "v1"), Session("ses", BEGIN_MS, "p", "/w")
    assert duration(session, step, found) == (None if status == "aborted" else 20)


def typed(db: V1, **facts: Any) -> list[tuple[str, str]]:
    """Return what a shell call with a ULID counts as, and whether its message is a step."""
    session = db.session()
    Old(db).say(session)
    message = db.message(session)
    if facts.pop("stepped"):
        db.raw_part(message, text({"type": "step-start"}))
    db.tool(message, call=ULID, tool="bash", input={"command": "ls"}, **facts)
    (one,) = read(db.path)
    return [(found.tool, found.status) for found in one.calls]


@pytest.mark.parametrize(
    ("stepped", "status", "calls"),
    [
        (False, "completed", []),
        (True, "completed", [("shell", "completed")]),
        (False, "running", [("shell", "abandoned")]),
        (False, "error", [("shell", "error")]),
        (True, "error", [("shell", "error")]),
    ],
)
def test_a_ulid_alone_does_not_make_a_typed_command(
    db: V1, stepped: bool, status: str, calls: list[tuple[str, str]]
) -> None:
    """Typed is what has completed in a message that no step has begun."""
    facts = {"status": status, "metadata": {"output": ""}, "error": "invalid arguments"}
    assert typed(db, stepped=stepped, **facts) == calls


def test_retries_count_steps_and_not_attempts(tmp_path: Path) -> None:
    """`attempt` is the number of the attempt that comes next: 2, 3, 4 are three retries."""
    error = {"type": "provider.invalid-output", "message": "ended"}
    with V2(tmp_path / "opencode.db") as db:
        session = db.session()
        for number in (2, 3, 4):
            data = {"finish": "error", "error": error, "retry": {"attempt": number}}
            db.raw_row(session, text({"model": {"providerID": "p", "id": "m"}} | data))
        found = expected(db.path)["opencode_model_retries_total"]
    assert found == {("p", "m"): 3}
    for odd, count in (({}, 1), (None, 0), (3, 0), ([], 0)):
        assert v2_row("s", "m", "assistant", BEGIN_MS, 1, {"retry": odd}).retries == count


def test_a_step_of_1x_is_one_retry_at_most(db: V1) -> None:
    """However many parts of that kind it holds."""
    message = db.message(db.session())
    for number in (1, 2):
        db.raw_part(message, text({"type": "retry", "attempt": number}))
    model = ("scripted", "scripted-model")
    assert expected(db.path)["opencode_model_retries_total"] == {model: 1}


NOW = BEGIN_MS + DAY_MS


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (1, 1),
        (BEGIN_MS, BEGIN_MS),
        (NOW + DAY_MS - 1, NOW + DAY_MS - 1),
        (NOW + DAY_MS, None),
        (0, None),
        (-1, None),
        (True, None),
        (1.5, None),
        ("1", None),
        (None, None),
    ],
)
def test_one_rule_says_what_is_a_time(value: object, found: Moment) -> None:
    """In both generations alike."""
    assert moment(value, NOW) == found
    times = {"start": value, "end": value}
    old = v1_call("s", "m", part("read", time=times), now=NOW)
    assert old is not None
    assert (old.started, old.ended) == (found, found)
    item = call("a", created=value, ran=value, completed=value)
    new = v2_call("s", "m", item, now=NOW)
    assert (new.started, new.ran, new.ended) == (found, found, found)


@pytest.mark.parametrize(
    ("began", "ended", "lasted"),
    [
        (BEGIN_MS, BEGIN_MS, 0),
        (BEGIN_MS, BEGIN_MS + 5, 5),
        (BEGIN_MS, BEGIN_MS - 1, None),
        (60_000, BEGIN_MS, None),
        (60_000, 61_000, 1000),
        (1_577_836_799_999, 1_577_836_800_000, None),
        (1_577_836_800_000, 1_577_836_800_001, 1),
        (BEGIN_MS, NOW, DAY_MS),
        (BEGIN_MS, NOW + 1, None),
        (None, BEGIN_MS, None),
        (BEGIN_MS, None, None),
        (BEGIN_MS, NOW + DAY_MS, None),
    ],
)
def test_no_duration_comes_from_a_clock_that_was_set(
    began: Moment, ended: Moment, lasted: Moment
) -> None:
    """Nothing lasts longer than from its start to now, or since before OpenCode was there."""
    assert took(began, ended, NOW) == lasted


@pytest.mark.parametrize(("before", "lasted"), [(60_000, 60_010), (60_001, None)])
def test_a_call_begins_with_its_message_or_by_another_clock(before: int, lasted: Moment) -> None:
    """More than a minute before its message no call began."""
    step, session = Row("step", "msg", BEGIN_MS, 1, "v1"), Session("ses", BEGIN_MS, "p", "/w")
    began = BEGIN_MS - before
    found = Call("ses", "msg", "a", "read", "completed", started=began, ended=BEGIN_MS + 10)
    assert duration(session, step, found) == lasted


@pytest.mark.parametrize(
    ("tool", "written", "lasted"),
    [
        ("bash", 100, 600_000 - 100),  # by the row's own time
        ("bash", 0, 600_000),  # as early as the message
        ("bash", -1, 50),  # before the message: imported or migrated
        ("bash", 599_951, 50),  # after the start: written by an import
        ("read", 100, 50),  # no other tool is stamped anew
    ],
)
def test_a_command_of_1x_began_when_its_row_was_written(
    db: V1, tool: str, written: int, lasted: int
) -> None:
    """1.14.48 to 1.18.20 stamp its start anew whenever it prints."""
    session = db.session()
    message = db.message(session)
    sql = "SELECT time_created FROM message"
    at = db.db.execute(sql).get
    db.tool(message, tool=tool, start=at + 599_950, end=at + 600_000)
    db.db.execute("UPDATE part SET time_created = ?", (at + written,))
    (cells,) = executions(db.path).values()
    assert cells[-1] == lasted


def test_a_fork_whose_original_is_gone_keeps_the_start_that_its_call_tells(db: V1) -> None:
    """The rows of a copy were written when it was made."""
    session = db.session()
    message = db.message(session)
    at = db.db.execute("SELECT time_created FROM message").get
    db.tool(message, tool="bash", start=at + 500, end=at + 900)
    db.fork(session)
    db.delete_session(session)
    db.db.execute("UPDATE part SET time_created = ?", (at + 100,))
    (cells,) = executions(db.path).values()
    assert cells[-1] == 400


def test_now_is_when_the_database_was_read(db: V1) -> None:
    """What ends after it has no duration, and what is a day after it is no time."""
    work, session = Old(db), db.session()
    work.say(session)
    work.step(session, [done("bash", {"command": "make"}, metadata={"exit": 0})])
    work.step(session, [])
    (one,) = read(db.path)
    last = max(row.completed or 0 for row in one.rows)
    measured = "opencode_turn_duration_seconds"
    assert expected(db.path, now=last)[measured] == {("build",): [4000]}
    assert expected(db.path, now=last - 1)[measured] == {}
    assert executions(db.path, now=last) != {}
    assert executions(db.path, now=one.created) == {}
    assert expected(db.path, now=one.created - DAY_MS)["opencode_step_duration_seconds"] == {}


@pytest.mark.parametrize("gap", [-10, 18, 60_000])
def test_a_background_sub_agent_works_for_the_run_of_its_call(gap: int) -> None:
    """Whenever its prompt was written, and whatever else has begun or ended by then."""
    at = BEGIN_MS
    parent, child = (Session(name, at, "p", "/w") for name in ("ses_1", "ses_2"))
    child.parent = parent.id
    load = Call("ses_1", "m2", "a", "skill", "completed", skill="mend", started=at, ended=at + 9)
    start = Call("ses_1", "m3", "b", "subagent", "completed", started=at + 220, ended=at + 300)
    start.child = child.id
    parent.rows = [Row("human", "m1", at, 1, "v2"), *_steps(("m2", at + 100), ("m3", at + 200))]
    parent.rows += [*_steps(("m4", at + 400)), Row("idle", "m5", at + 900, 5, "v2")]
    parent.rows[1].calls, parent.rows[2].calls = [load], [start]
    parent.rows[-1].outcome = "succeeded"
    began = at + 300 + gap
    child.rows = [
        Row("human", "c1", began, 1, "v2"),
        *_steps(("c2", began + 9), ("c3", began + 99)),
    ]
    found = skill_runs([*turns(parent), *turns(child)])
    (run,) = found.runs
    assert {one.message for one in run.steps} == {"m3", "m4", "c2", "c3"}
    assert found.unattributed == 0


def test_of_several_calls_for_one_child_the_last_that_began_before_its_turn_owns_it() -> None:
    """A child can be asked again; where none began before, it is the first."""
    at = BEGIN_MS
    parent, child = (Session(name, at, "p", "/w") for name in ("ses_1", "ses_2"))
    child.parent = parent.id
    parent.rows = [Row("human", "m1", at, 1, "v2")]
    for number, skill in enumerate(("one", "two")):
        began = at + 1000 * number
        load, start = _steps((f"load{number}", began + 100), (f"start{number}", began + 200))
        load.calls = [Call("ses_1", load.message, "a", "skill", "completed", skill=skill)]
        start.calls = [Call("ses_1", start.message, "b", "subagent", "completed")]
        start.calls[0].child, start.calls[0].started = child.id, began + 300
        parent.rows += [load, start]
    for asked, owner in ((at + 50, "one"), (at + 400, "one"), (at + 1400, "two")):
        child.rows = [Row("human", "c1", asked, 1, "v2"), *_steps(("c2", asked + 1))]
        found = skill_runs([*turns(parent), *turns(child)])
        assert found.of_step["c2"].skill == owner


def _steps(*named: tuple[str, int]) -> Iterator[Row]:
    for name, at in named:
        made = Row("step", name, at, at - BEGIN_MS, "v2", role="assistant", finish="stop")
        made.streamed, made.completed = at + 10, at + 60
        yield made
