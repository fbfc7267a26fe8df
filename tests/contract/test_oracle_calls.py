"""The independent computation's calls and retries, by rows that are made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.oracle.building import Old
from contract.oracle.calls import v1_call, v2_call
from contract.oracle.executions import duration
from contract.oracle.model import Call, Row, Session
from contract.oracle.reading import read
from contract.oracle.rows import v2_row
from contract.oracle.totals import expected
from harness.databases import BEGIN_MS, V1, V2, call
from opencode_exporter.demo.rows import text

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
NO_TOOL = "Model tried to call unavailable tool 'web_search'. Available tools: bash, edit."
NO_JSON = "Invalid input for tool bash: JSON parsing failed: Text: {"
BROKEN = "The arguments provided to the tool are invalid: " + NO_TOOL
STOPPED = "(no output)\n\n<{0}_metadata>\nUser aborted the command\n</{0}_metadata>"


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
