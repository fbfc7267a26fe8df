"""Messages of v1 as steps and remarks: on real databases, and in JSON of any shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec
import pytest

from contract.oracle.model import Row
from contract.oracle.reading import _add_parts
from contract.oracle.rows import v1_row
from contract.oracle.values import load
from decode.messages_v1 import USED, only, put, read, step, table
from harness.clock import FakeClock
from harness.databases import V1
from harness.places import RECORDINGS
from harness.recordings import unpack
from opencode_exporter.demo.rows import text
from opencode_exporter.events import Event, Rejection, Remark, Step, StepCall
from opencode_exporter.source.opencode.tables.table import WITHOUT_BOUNDS, Taken

NAMES: Final = sorted(
    {path.parent.name for path in RECORDINGS.glob("*/truth.json")} - {"2.0.15", "turns-2.0.15"}
)
"""Recordings that hold v1."""
ULID: Final = "01J9ZQ4W2M8N6P3R5T7V9X1Y2Z"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[V1]:
    """A database that is written to."""
    with V1(tmp_path / "opencode.db") as database:
        yield database


def expected(path: Path) -> dict[str, Row]:
    """Return each message as the independent computation has it, copies included."""
    db = apsw.Connection(str(path))
    found: dict[str, Row] = {}
    rows = "SELECT id, session_id, time_created, rowid, data FROM message"
    inside = "SELECT data FROM part WHERE message_id = ? ORDER BY rowid"
    every: list[Any] = db.execute(rows).fetchall()
    for key, session, created, order, data in every:
        row = found[key] = v1_row(key, created, order, load(data))
        _add_parts(session, row, [load(part) for (part,) in db.execute(inside, (key,))])
    db.close()
    return found


@pytest.mark.parametrize("name", NAMES)
def test_messages_of_recordings_are_what_the_independent_computation_says(
    name: str, tmp_path: Path
) -> None:
    """Field by field, in the order of the rows, and every call of every step."""
    path = unpack(name, tmp_path)
    rows = expected(path)
    chunk = read(path)
    assert [event.message for event in chunk.events if not isinstance(event, Rejection)] == [
        row.message for row in sorted(rows.values(), key=lambda row: row.order)
    ]
    for event in chunk.events:
        assert isinstance(event, Step | Remark)
        row = rows[event.message]
        assert (event.created, event.agent) == (row.created, row.agent)
        if isinstance(event, Remark):
            assert (event.kind, event.role) == (row.kind, row.role)
            assert (event.compaction, event.is_over) == (row.compaction, True)
        else:
            assert told(event) == plain(row)


def told(event: Step) -> dict[str, Any]:
    """Return what a step says, in the words of the oracle."""
    used = event.tokens
    return {
        "kind": "note" if event.is_note else "step",
        "completed": event.completed,
        "is_over": event.is_over,
        "model": (event.provider, event.model),
        "ended": (event.finish, event.error),
        "tokens": (used.input, used.output, used.reasoning, used.cache_read, used.cache_write),
        "cost": event.cost,
        "retries": event.retries,
        "summary": event.is_summary,
        "calls": [
            (call.tool, call.status, call.vouched, call.skill, call.started, call.ended)
            for call in event.calls
        ],
        "became": [(call.failed, call.refused, call.child) for call in event.calls],
    }


def plain(row: Row) -> dict[str, Any]:
    """Return what the oracle's row says; there an open call is abandoned at once."""
    kinds = "input", "output", "reasoning", "cache_read", "cache_write"
    return {
        "kind": row.kind,
        "completed": row.completed or 0,
        "is_over": row.completed is not None,
        "model": (row.provider, row.model),
        "ended": (row.finish, row.error),
        "tokens": tuple(row.tokens.get(kind, 0) for kind in kinds),
        "cost": round(row.cost * 10**10),
        "retries": row.retries,
        "summary": row.summary,
        "calls": [
            (
                call.tool,
                None if call.status == "abandoned" else call.status,
                call.vouched,
                call.skill if call.loads else "",
                call.started or 0,
                call.ended or 0,
            )
            for call in row.calls
        ],
        "became": [(call.failed, call.refused, call.child) for call in row.calls],
    }


def test_recordings_hold_every_kind_of_step_and_remark(tmp_path: Path) -> None:
    """What is compared above is there: refusals, children, loads, notes, both compactions."""
    events: list[Event] = []
    for name in NAMES:
        events += read(unpack(name, tmp_path / name)).events
    steps = [event for event in events if isinstance(event, Step)]
    remarks = [event for event in events if isinstance(event, Remark)]
    calls = [call for one in steps for call in one.calls]
    for facts in (
        [one.is_note for one in steps],
        [one.is_summary for one in steps],
        [one.suspect for one in steps],
        [not one.is_over for one in steps],
        [bool(one.error) for one in steps],
        [call.refused for call in calls],
        [bool(call.child) for call in calls],
        [bool(call.skill) for call in calls],
        [bool(call.targets) for call in calls],
        [bool(call.files) for call in calls],
        [one.compaction == "manual" for one in remarks],
        [one.kind == "note" for one in remarks],
        [bool(one.where.parent) for one in steps],
    ):
        assert any(facts)
        assert not all(facts)


def test_parts_are_summed_in_the_order_of_their_rows(db: V1, clock: FakeClock) -> None:
    """Tokens, cost and retries are those of all parts; calls come as they were made."""
    message = step(db, tokens={"input": 999}, cost=9)
    for name in ("b", "a"):
        db.tool(message, part=name, tool=f"tool_{name}")
        put(db, message, type="step-finish", cost=0.00000123456789, tokens=USED)
    put(db, message, type="retry", attempt=1, error={"data": {"responseBody": "x" * 999}})
    found = only(db.path, clock)
    assert (found.tokens.input, found.tokens.cache_write) == (10, 2)
    assert (found.cost, found.retries) == (24_692, 1)
    assert [call.tool for call in found.calls] == ["tool_b", "tool_a"]


@pytest.mark.parametrize("odd", [None, "many", -1, 1.5, True, [], {}, 10**30, "NaN", "1e999"])
def test_odd_numbers_of_a_step_are_none(odd: Any, db: V1, clock: FakeClock) -> None:
    """What is no count of tokens and no price adds nothing, and the rest counts."""
    message = step(db)
    bad = text({"type": "step-finish", "cost": odd, "tokens": {"input": odd, "cache": odd}})
    if odd in ("NaN", "1e999"):
        bad = bad.replace(f'"{odd}"', odd)
    if odd == 1.5:
        bad = bad.replace('"cost":1.5', '"cost":0')
    db.raw_part(message, bad)
    put(db, message, type="step-finish", cost=0.5, tokens=USED)
    found = only(db.path, clock)
    assert (found.tokens.input, found.tokens.cache_read, found.cost) == (5, 2, 5 * 10**9)


@pytest.mark.parametrize(
    ("facts", "call"),
    [
        ({"tool": "bash", "metadata": {"exit": 1}}, StepCall("shell", "completed", failed=True)),
        ({"tool": "x", "metadata": {"exit": True}}, StepCall("x", "completed")),
        ({"tool": "x", "status": "pending"}, StepCall("x", None, vouched=False)),
        ({"tool": "x", "status": "later"}, StepCall("x", None, vouched=False)),
        ({"tool": "x", "status": ["error"]}, StepCall("x", None, vouched=False)),
        ({"tool": "x", "metadata": "none"}, StepCall("x", "completed")),
        ({"tool": "x", "input": [1], "output": 7}, StepCall("x", "completed")),
        ({"tool": 5}, StepCall("_unknown", "completed")),
        ({"tool": "skill", "input": 1}, StepCall("skill", "completed", skill="_unknown")),
        (
            {"tool": "x", "status": "error", "error": "The user rejected permission to use this"},
            StepCall("x", "denied", refused=True),
        ),
        (
            {
                "tool": "x",
                "status": "error",
                "error": "The user rejected permission to use this with the following feedback: no",
            },
            StepCall("x", "denied"),
        ),
        (
            {"tool": "x", "status": "error", "error": "Permission denied: read"},
            StepCall("x", "denied"),
        ),
        (
            {"tool": "x", "status": "error", "error": "Tool execution aborted"},
            StepCall("x", "aborted", vouched=False),
        ),
        (
            {"tool": "invalid", "input": {"tool": "nope", "error": "no such"}},
            StepCall("_unknown", "error", vouched=False, failed=True),
        ),
    ],
)  # fmt: skip
def test_calls_of_any_shape_are_calls_of_their_step(
    facts: dict[str, Any], call: StepCall, db: V1, clock: FakeClock
) -> None:
    """What has an odd type is not there; the call and its step are."""
    db.tool(step(db), **facts)
    (found,) = only(db.path, clock).calls
    names = "tool", "status", "vouched", "skill", "failed", "refused", "child"
    assert [getattr(found, name) for name in names] == [getattr(call, name) for name in names]


@pytest.mark.parametrize("odd", [-5, 0, 10**30, 1.5, "now", None, True])
def test_odd_times_are_not_recorded(odd: Any, db: V1, clock: FakeClock) -> None:
    """A call and a step without a believable time are there, and reach another process."""
    message = step(db, completed=odd)
    db.tool(message, start=odd, end=odd)
    found = only(db.path, clock)
    (call,) = found.calls
    assert (found.completed, call.started, call.ended) == (0, 0, 0)
    assert found.is_over == (odd is not None)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Event) == found


def test_lone_surrogates_cost_nothing(db: V1, clock: FakeClock) -> None:
    """Text cut inside an emoji is no valid UTF-8, and the call is read all the same."""
    message = step(db)
    db.tool(message, tool="skill", call="\ud83d", input={"name": "cut\ud83d"}, output="\ud83d")
    (call,) = only(db.path, clock).calls
    assert (call.tool, call.status, call.skill) == ("skill", "completed", "cut?")
    with table(db.path, clock) as messages:
        taken = messages.read_after(0, WITHOUT_BOUNDS, {})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(taken), type=Taken) == taken


def test_commands_of_the_user_are_no_calls(db: V1, clock: FakeClock) -> None:
    """A step that holds nothing else is a note."""
    db.tool(step(db), tool="bash", call=ULID, metadata={"output": "x"})
    found = only(db.path, clock)
    assert (found.is_note, found.calls) == (True, ())


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        ("{", "json"),
        ("[]", "shape"),
        ("null", "shape"),
        (b"\xff", "json"),
        ("{}", "role"),
        ('{"role":["user"]}', "role"),
    ],
)
def test_unusable_rows_are_set_aside(
    data: str | bytes, cause: str, db: V1, clock: FakeClock
) -> None:
    """They are rejected with a cause, and rows around them are read."""
    before, message, after = step(db), step(db), step(db)
    db.db.execute("UPDATE message SET data = ? WHERE id = ?", (data, message))
    events = read(db.path, clock).events
    assert events[1] == Rejection(message, cause)
    assert [one.message for one in (events[0], events[2])] == [before, after]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "odd",
    [
        {"time": "now"},
        {"time": {"completed": "soon"}, "agent": 5},
        {"error": "broken", "mode": []},
        {"error": {"name": 3}},
        {"finish": {}, "modelID": None, "providerID": 1},
        {"summary": {"diffs": []}, "agent": "\ud83d"},
    ],
)
def test_odd_fields_of_a_message_lose_no_step(
    odd: dict[str, Any], db: V1, clock: FakeClock
) -> None:
    """Whatever has an odd type is as if it were not there."""
    row = {"role": "assistant", "time": {"created": 1, "completed": 2}}
    message = step(db)
    put(db, message, type="step-finish", tokens=USED)
    data = json.dumps(row | odd)
    db.db.execute("UPDATE message SET data = ? WHERE id = ?", (data, message))
    found = only(db.path, clock)
    assert (found.tokens.input, found.finish, found.is_summary) == (5, "", False)
    assert (found.error == "_unknown") == ("error" in odd)
