"""Steps and remarks of 2.x in rows that are odd, or that are not over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.oracle.rows import v2_row
from harness.clock import FakeClock
from harness.databases import BEGIN_MS, V2
from harness.row_shapes import call
from opencode_exporter.decode.opencode.v2.rows import ROW_TYPES, decode
from opencode_exporter.decode.opencode.v2.shapes import SessionMessageRow
from opencode_exporter.decode.values import Unusable
from opencode_exporter.events import Event, Invocation, Rejection, Remark, Session, Step, Tokens
from opencode_exporter.source.opencode.source import Source
from opencode_exporter.source.opencode.tables.session_message_v2 import MessageTable
from opencode_exporter.source.opencode.tables.table import WITHOUT_BOUNDS

NOW: Final = 1_795_500_000_000
SESSION: Final = Session("ses_1", "project", BEGIN_MS, directory="/home/ann/project")


def last(row: SessionMessageRow) -> Event:
    """Return the event that a row's others precede."""
    return decode(row, SESSION, NOW).events[-1]


def assistant(**fields: Any) -> SessionMessageRow:
    """Return a step's row."""
    data = {"time": {"created": BEGIN_MS + 5}, "agent": "build", "content": []} | fields
    return SessionMessageRow(
        "msg_1", "assistant", BEGIN_MS + 5, BEGIN_MS + 9, json.dumps(data).encode()
    )


def other(kind: str, **fields: Any) -> SessionMessageRow:
    """Return a row of another type."""
    return SessionMessageRow("msg_1", kind, BEGIN_MS + 5, BEGIN_MS + 9, json.dumps(fields).encode())


ODD: Final[st.SearchStrategy[Any]] = st.sampled_from(
    [None, True, 5, -5, 1.5, 10**30, 1e300, "", "x", "\ud83d", [], [1], [{}], {}, {"type": 5}]
)
FIELDS: Final = (
    *("time", "agent", "content", "model", "finish", "error", "tokens", "cost", "retry"),
    *("skill", "name", "text", "skills", "outcome", "reason", "status"),
)
NESTED: Final = {
    "time": ("created", "completed", "streamed"),
    "model": ("id", "providerID"),
    "tokens": ("input", "output", "reasoning", "cache"),
    "retry": ("attempt",),
    "error": ("type", "message"),
}
DATA: Final = st.fixed_dictionaries(
    {},
    optional={
        name: ODD | st.dictionaries(st.sampled_from(NESTED.get(name, ("x",))), ODD)
        for name in FIELDS
    },
)


@given(st.sampled_from(ROW_TYPES), DATA)
def test_odd_fields_spoil_no_row(kind: str, data: dict[str, Any]) -> None:
    """Every JSON object is a step or a remark that can be kept and counted, or a rejection."""
    try:
        event = last(
            SessionMessageRow("msg_1", kind, BEGIN_MS, BEGIN_MS, json.dumps(data).encode())
        )
    except Unusable as err:
        assert (err.cause, kind) in {("time", "skill"), ("time", "user")}  # noqa: PT017
        return
    assert isinstance(event, Step | Remark)
    texts = [event.agent, event.provider, event.model]
    texts += [event.finish, event.error] if isinstance(event, Step) else event.skills
    assert all(text.encode() is not None for text in texts)
    numbers = [event.cost, *(getattr(event.tokens, name) for name in Tokens.__struct_fields__)]
    numbers += [event.completed, event.streamed] if isinstance(event, Step) else []
    assert all(type(number) is int and 0 <= number < 2**63 for number in numbers)


@given(DATA)
def test_odd_steps_are_read_like_the_independent_computation_does(data: dict[str, Any]) -> None:
    """What has an odd type is not there, for both."""
    step = last(SessionMessageRow("msg_1", "assistant", BEGIN_MS, 1, json.dumps(data).encode()))
    theirs = v2_row("ses_1", "msg_1", "assistant", BEGIN_MS, 1, data)
    for name in ("agent", "provider", "model", "finish", "error"):
        expected = getattr(theirs, name).encode("utf-8", "replace").decode()
        assert getattr(step, name) == expected


def test_calls_that_are_set_aside_are_not_the_steps() -> None:
    """An odd call is rejected for all purposes; the step and its other calls are there."""
    odd = call("b") | {"time": {}}
    good = call("a") | {"time": {"created": BEGIN_MS + 6, "completed": BEGIN_MS + 7}}
    events = decode(assistant(content=[good, odd]), SESSION, NOW).events
    assert [type(event) for event in events] == [Invocation, Rejection, Step]
    assert isinstance(events[-1], Step)
    assert len(events[-1].calls) == 1


@pytest.mark.parametrize(
    ("data", "mode", "is_over"),
    [
        ({"reason": "auto"}, "auto", True),
        ({"reason": "manual", "status": "completed"}, "manual", True),
        ({"status": "completed"}, "auto", True),
        ({"reason": "manual", "status": "running"}, "", False),
        ({"reason": "auto", "status": "failed"}, "", True),
        ({"reason": "auto", "status": None}, "", True),
    ],
)
def test_only_a_compaction_that_completed_is_one(
    data: dict[str, Any], mode: str, is_over: bool
) -> None:
    """One that runs is looked at again; one that failed still used tokens."""
    row = other("compaction", tokens={"input": 5}, cost=0.5, **data)
    decoded = decode(row, SESSION, NOW)
    event = decoded.events[-1]
    assert isinstance(event, Remark)
    assert (event.kind, event.role, event.agent) == ("note", "", "compaction")
    assert (event.compaction, event.is_over, decoded.final) == (mode, is_over, is_over)
    assert (event.tokens, event.cost) == (Tokens(input=5), 5 * 10**9)


def test_refusals_by_the_user_end_a_turn_and_those_of_rules_do_not() -> None:
    """Both are denied; only the first is a refusal."""
    texts = ("The user declined this tool call", "Permission denied: edit")
    items = [
        {
            "type": "tool",
            "id": f"call_{number}",
            "name": "edit",
            "state": {"status": "error", "error": {"type": "tool.execution", "message": text}},
            "time": {"created": BEGIN_MS + 6, "completed": BEGIN_MS + 7},
        }
        for number, text in enumerate(texts)
    ]
    step = last(assistant(content=items))
    assert isinstance(step, Step)
    assert [(one.status, one.refused) for one in step.calls] == [
        ("denied", True),
        ("denied", False),
    ]


def test_a_step_that_goes_on_is_shown_and_looked_at_again(tmp_path: Path) -> None:
    """An open row gives its step as it is now, keeps its open calls, and ends it later."""
    clock = FakeClock()
    with V2(tmp_path / "opencode.db") as database:
        session = database.session(directory="/home/ann/project")
        running = call("a", "read", status="running")
        message = database.assistant(session, [running, call("b", "edit")], completed=None)
        with Source(tmp_path / "opencode.db", "opencode.db").open() as reader:
            table = MessageTable(reader, clock)
            chunk = table.read_after(0, WITHOUT_BOUNDS, {}).chunk
        assert [type(event) for event in chunk.events] == [Invocation, Step]
        assert [row.row for row in chunk.open_rows] == [message]
        assert [one.call for one in chunk.open_rows[0].calls] == ["a"]
        step = chunk.events[-1]
        assert isinstance(step, Step)
        assert (step.is_over, [one.status for one in step.calls]) == (False, [None, "completed"])
        database.rewrite(message, [call("a", "read"), call("b", "edit")])
        with Source(tmp_path / "opencode.db", "opencode.db").open() as reader:
            chunk = MessageTable(reader, clock).read_again([message]).chunk
        step = chunk.events[-1]
        assert isinstance(step, Step)
        assert (step.is_over, chunk.open_rows, step.finish) == (True, [], "tool-calls")
