"""The independent computation knows skill runs, retries and edits, by hand-computed databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.oracle.building import COST, New, Old, done, failed, loaded
from contract.oracle.model import Call, Row, Session
from contract.oracle.runs import skill_runs
from contract.oracle.totals import expected
from contract.oracle.turns import turns
from harness.databases import BEGIN_MS, V1, V2

SHELL = done("bash", {"command": "make"}, metadata={"exit": 0})
BROKEN = done("bash", {"command": "make"}, metadata={"exit": 2})


def read(path: str) -> dict[str, Any]:
    """Return a call that reads a file."""
    return done("read", {"filePath": path, "path": path})


def edit(path: str, *, works: bool = True) -> dict[str, Any]:
    """Return a call that edits a file, or tries to."""
    given = {"filePath": path, "path": path}
    diff = {"file": path, "additions": 3, "deletions": 1}
    if works:
        return done("edit", given, metadata={"filediff": diff})
    return failed("edit", given, "Could not find oldString in the file")


@pytest.fixture(params=["v1", "v2"])
def work(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Old | New]:
    """A database of each generation."""
    path = tmp_path / "opencode.db"
    if request.param == "v1":
        with V1(path) as old:
            yield Old(old)
    else:
        with V2(path) as new:
            yield New(new)


def child_of(work: Old | New, parent: str) -> str:
    """Write the session of a sub-agent."""
    return work.db.session(parent=parent)


def task(child: str) -> dict[str, Any]:
    """Return a call that starts a sub-agent in a session."""
    return done("task", {"prompt": "look"}, metadata={"sessionId": child, "sessionID": child})


def test_runs_go_by_step_until_the_next_load_or_the_end_of_the_turn(work: Old | New) -> None:
    """The steps after a load are its run's; the step that loads the next skill is nobody's."""
    session = work.db.session()
    work.say(session)
    work.step(session, [loaded("one"), read("parallel.py")])
    work.step(session, [SHELL])
    work.step(session, [loaded("two"), read("with-the-load.py")])
    work.step(session, [read("a.py")])
    work.step(session, [])
    work.end(session)
    found = expected(work.db.path)
    runs = {("one", "build", "succeeded"): 1, ("two", "build", "succeeded"): 1}
    assert found["opencode_skill_runs_total"] == runs
    # From 300 ms in step 1 to the begin of step 3; from 300 ms in step 3 to the end of step 5.
    durations = {("one",): [3700], ("two",): [4700]}
    assert found["opencode_skill_run_duration_seconds"] == durations
    calls = {("one", "shell", "completed"): 1, ("two", "read", "completed"): 1}
    assert found["opencode_skill_run_tool_invocations_total"] == calls
    assert found["opencode_skill_run_cost_usd_total"] == {("one",): COST, ("two",): 2 * COST}
    tokens = found["opencode_skill_run_tokens_total"]
    assert (tokens["one", "input"], tokens["two", "input"]) == (100, 200)
    assert (tokens["two", "cache_read"], tokens["two", "cache_write"]) == (10, 4)
    assert found["opencode_skill_transitions_total"] == {("one", "two"): 1}
    next_tools = {("one", "shell"): 1, ("two", "read"): 1}
    assert found["opencode_skill_next_tool_total"] == next_tools
    assert found["opencode_turn_duration_seconds"] == {("build",): [10_000]}


def test_of_several_loads_in_one_step_the_last_owns_what_follows(work: Old | New) -> None:
    """The others are counted and have no duration."""
    session = work.db.session()
    work.say(session)
    work.step(session, [loaded("one"), loaded("two")])
    work.step(session, [SHELL])
    work.step(session, [])
    work.end(session)
    found = expected(work.db.path)
    assert {run[0] for run in found["opencode_skill_runs_total"]} == {"one", "two"}
    assert found["opencode_skill_run_duration_seconds"] == {("two",): [4700]}
    calls = {("two", "shell", "completed"): 1}
    assert found["opencode_skill_run_tool_invocations_total"] == calls
    assert found["opencode_skill_transitions_total"] == {("one", "two"): 1}
    next_tools = {("one", "shell"): 1, ("two", "shell"): 1}
    assert found["opencode_skill_next_tool_total"] == next_tools


def test_a_run_ends_with_its_turn_and_as_it_does(work: Old | New) -> None:
    """A failed load opens no run; a run of a turn that never ended is abandoned."""
    session = work.db.session()
    work.say(session)
    work.step(session, [failed("skill", {"name": "none", "id": "none"}, "Skill not found")])
    work.step(session, [loaded("one")])
    work.step(session, [done("bash", {"command": "x"}, status="running")], over=False)
    found = expected(work.db.path)
    assert found["opencode_skill_runs_total"] == {("one", "build", "abandoned"): 1}
    assert found["opencode_skill_run_duration_seconds"] == {}
    calls = {("one", "shell", "abandoned"): 1}
    assert found["opencode_skill_run_tool_invocations_total"] == calls
    assert found["opencode_turns_total"] == {("build", "abandoned"): 1}


def test_work_of_a_sub_agent_belongs_to_the_innermost_run(work: Old | New) -> None:
    """A child's steps are its own run's, and else those of the run around the call."""
    session = work.db.session()
    work.say(session)
    work.step(session, [loaded("outer")])
    child = child_of(work, session)
    work.step(session, [task(child)])
    work.say(child)
    work.step(child, [loaded("inner"), read("a.py")], agent="general")
    work.step(child, [SHELL], agent="general")
    work.step(child, [], agent="general")
    work.end(child)
    work.step(session, [])
    work.end(session)
    found = expected(work.db.path)
    runs = {("outer", "build", "succeeded"): 1, ("inner", "general", "succeeded"): 1}
    assert found["opencode_skill_runs_total"] == runs
    calls = {
        ("outer", "subagent", "completed"): 1,
        ("outer", "skill", "completed"): 1,
        ("outer", "read", "completed"): 1,
        ("inner", "shell", "completed"): 1,
    }
    assert found["opencode_skill_run_tool_invocations_total"] == calls
    cost = {("outer",): 3 * COST, ("inner",): 2 * COST}
    assert found["opencode_skill_run_cost_usd_total"] == cost
    assert found["opencode_exporter_unattributed_total"] == {(): 0}


def test_sub_agents_two_levels_deep_work_for_the_run_at_the_top(work: Old | New) -> None:
    """A grandchild's turn belongs to a call of the child's turn, which belongs to the run."""
    session = work.db.session()
    work.say(session)
    work.step(session, [loaded("outer")])
    child = child_of(work, session)
    work.step(session, [task(child)])
    work.say(child)
    grandchild = child_of(work, child)
    work.step(child, [task(grandchild)])
    work.say(grandchild)
    work.step(grandchild, [SHELL])
    work.step(grandchild, [])
    work.end(grandchild)
    work.step(child, [])
    work.end(child)
    work.step(session, [])
    work.end(session)
    found = expected(work.db.path)
    assert found["opencode_skill_run_cost_usd_total"] == {("outer",): 6 * COST}
    calls = {("outer", "subagent", "completed"): 2, ("outer", "shell", "completed"): 1}
    assert found["opencode_skill_run_tool_invocations_total"] == calls


def test_a_child_that_no_call_names_is_unattributed(work: Old | New) -> None:
    """Its turn counts, and belongs to no run."""
    session = work.db.session()
    work.say(session)
    work.step(session, [loaded("one")])
    child = child_of(work, session)
    work.say(child)
    work.step(child, [SHELL])
    work.step(child, [])
    work.end(child)
    found = expected(work.db.path)
    assert found["opencode_exporter_unattributed_total"] == {(): 1}
    assert found["opencode_skill_run_tool_invocations_total"] == {}
    assert found["opencode_sessions_total"] == {("root", "demo"): 1, ("subagent", "demo"): 1}


def test_the_users_skill_opens_a_run_at_the_next_step(tmp_path: Path) -> None:
    """A slash command and mentions open runs; of two mentions the last one owns the steps."""
    with V2(tmp_path / "opencode.db") as db:
        work, session = New(db), db.session()
        work.invoke(session, "slash")
        work.step(session, [SHELL])
        work.step(session, [])
        work.end(session)
        work.say(session, skills=("one", "two"))
        work.step(session, [])
        work.end(session)
        work.invoke(session, "unanswered")
        found = expected(db.path)
    names = ("slash", "one", "two")
    runs = {(name, "build", "succeeded"): 1 for name in names}
    assert found["opencode_skill_runs_total"] == runs
    durations = {("slash",): [4000], ("two",): [2000]}
    assert found["opencode_skill_run_duration_seconds"] == durations
    cost = {("slash",): 2 * COST, ("two",): COST}
    assert found["opencode_skill_run_cost_usd_total"] == cost
    assert found["opencode_turns_total"] == {("build", "succeeded"): 2}
    pairs = [("slash", "one"), ("one", "two"), ("two", "unanswered")]
    assert list(found["opencode_skill_transitions_total"]) == pairs
    assert found["opencode_skill_next_tool_total"] == {("slash", "shell"): 1}


def test_retries_follow_an_error_or_a_non_zero_exit(work: Old | New) -> None:
    """Same tool, same target, a later step of the same turn, and the latest attempt failed."""
    session = work.db.session()
    work.say(session)
    work.step(session, [loaded("one")])
    work.step(session, [BROKEN, BROKEN])  # in the same step: none
    work.step(session, [SHELL, failed("read", {"filePath": "a.py", "path": "a.py"})])  # one
    work.step(session, [SHELL, read("b.py")])  # the latest worked; another file: none
    work.step(session, [read("/home/dev/demo/a.py"), BROKEN])  # one: the same file
    work.step(session, [])
    work.end(session)
    work.say(session)
    work.step(session, [SHELL])  # another turn: none
    work.step(session, [])
    work.end(session)
    found = expected(work.db.path)
    assert found["opencode_tool_retries_total"] == {("shell",): 1, ("read",): 1}
    assert found["opencode_skill_run_retries_total"] == {("one",): 2}


def test_edits_count_attempts_changes_and_lines(work: Old | New) -> None:
    """A change takes the attempts on its file until one succeeds; else it is abandoned."""
    session = work.db.session()
    work.say(session)
    work.step(session, [edit("a.py", works=False), edit("b.md", works=False)])
    work.step(session, [edit("a.py", works=False)])
    work.step(session, [edit("a.py"), edit("a.py")])
    work.step(session, [])
    work.end(session)
    found = expected(work.db.path)
    model = ("scripted", "scripted-model")
    attempts = {("edit", *model, "completed"): 2, ("edit", *model, "error"): 3}
    assert found["opencode_edit_attempts_total"] == attempts
    assert found["opencode_edit_attempts_per_change"] == {("edit",): [3, 1]}
    assert found["opencode_edit_abandoned_changes_total"] == {("edit",): 1}
    lines = {("added", "python"): 6, ("removed", "python"): 2}
    assert found["opencode_edit_lines_total"] == lines
    assert found["opencode_file_operations_total"] == {("edited", "python"): 2}


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
