"""A row of v1 that cannot be used is set aside, counted once, and stops nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from harness.databases import BEGIN_MS, V1, schema, tool_part
from harness.exporters import Bench, exposed
from harness.rereading import CALLS, REJECTED, SECRET, problem, readings, stored

NOW: Final = 1_795_000_000_000
DAY: Final = 86_400_000
GOOD: Final = {("write", "completed"): 1}
LAX: Final = schema("v1").replace("`data` text NOT NULL", "`data` text")


def odd(**facts: Any) -> str:
    """Return a tool part with odd facts, and with a secret where the user's texts are."""
    given = {"input": {"filePath": SECRET}, "output": SECRET, "start": BEGIN_MS + 50} | facts
    return json.dumps(tool_part(now=BEGIN_MS + 50, **given))


def without(*path: str) -> str:
    """Return a tool part that lacks a key."""
    data = json.loads(odd())
    place = data
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return json.dumps(data)


def nested(depth: int) -> str:
    """Return a tool part whose input is nested that deep."""
    return odd(input="@").replace('"@"', "[" * depth + f'"{SECRET}"' + "]" * depth)


BAD: Final[dict[str, tuple[str | bytes | None, str]]] = {
    "broken JSON": (odd()[:-20], "json"),
    "no JSON": (SECRET, "json"),
    "empty text": ("", "json"),
    "NULL": (None, "shape"),
    "BLOB of anything": (b"\xff\xfe\x00" + SECRET.encode(), "json"),
    "not UTF-8": (odd(tool="re@d").encode().replace(b"@", b"\xff"), "json"),
    "nested too deep": (nested(200_000), "json"),
    "integer of 5000 digits": (odd(end="@").replace('"@"', "1" * 5000), "json"),
    "array": (f'["{SECRET}"]', "shape"),
    "string": (f'"{SECRET}"', "shape"),
    "number": ("1", "shape"),
    "null": ("null", "shape"),
    "number for a tool": (odd(tool=7), "tool_name"),
    "null for a tool": (odd(tool=None), "tool_name"),
    "number for a call id": (odd(call=7), "call_id"),
    "state missing": (without("state"), "state"),
    "state a text": (odd().replace(odd()[odd().index('{"status"') : -1], f'"{SECRET}"'), "state"),
    "times missing": (without("state", "time"), "time"),
    "start missing": (without("state", "time", "start"), "time"),
    "end missing": (without("state", "time", "end"), "time"),
    "start negative": (odd(start=-5, end=BEGIN_MS), "time"),
    "end negative": (odd(end=-5), "time"),
    "start zero": (odd(start=0, end=BEGIN_MS), "time"),
    "end in the future": (odd(end=NOW + DAY + 1000), "time"),
    "start in the future": (odd(start=NOW + DAY + 1000), "time"),
    "open call in the future": (odd(status="running", start=NOW + DAY + 1000), "time"),
    "start a text": (odd(start=SECRET, end=BEGIN_MS), "time"),
    "start with a fraction": (odd(start=1.5, end=BEGIN_MS), "time"),
    "start a bool": (odd(start=True, end=BEGIN_MS), "time"),
    "end a huge integer": (odd(end=10**30), "time"),
    "end infinite": (odd(end=float("inf")), "time"),
    "unknown status": (odd(status="paused"), "status"),
    "number for a status": (odd(status=5), "status"),
}

COUNTED: Final[dict[str, tuple[str | bytes, dict[tuple[str, ...], int]]]] = {
    "BLOB of good JSON": (odd().encode(), {("read", "completed"): 1}),
    "a little in the future": (odd(end=NOW + DAY - 1000), {("read", "completed"): 1}),
    "times that are whole floats": (
        odd(start=float(BEGIN_MS), end=BEGIN_MS + 9.0),
        {("read", "completed"): 1},
    ),
    "nested 200 deep": (nested(200), {("read", "completed"): 1}),
    "tool missing": (without("tool"), {("_unknown", "completed"): 1}),
    "call id missing": (without("callID"), {("read", "completed"): 1}),
    "output a number": (odd(output=5), {("read", "completed"): 1}),
    "input a list": (odd(input=[SECRET]), {("read", "completed"): 1}),
    "huge integer where nothing is read": (
        odd(metadata={"exit": 10**40}),
        {("read", "completed"): 1},
    ),
    "half an emoji in the output": (odd(output="\ud83d"), {("read", "completed"): 1}),
    "half an emoji in the error": (odd(status="error", error="\ud83d"), {("read", "error"): 1}),
    "half an emoji in the input": (
        odd(tool="bash", input={"command": "ls \ud83d"}),
        {("shell", "completed"): 1},
    ),
    "half an emoji in the call id": (odd(call="call_\ud83d"), {("read", "completed"): 1}),
    "20 MB": (odd(output=SECRET + "x" * 20_000_000), {("read", "completed"): 1}),
}


@pytest.fixture
def database(bench: Bench) -> Iterator[V1]:
    """A live database whose parts may hold anything, NULL included."""
    with V1(bench.source, ddl=LAX) as database:
        yield database


def a_step(database: V1) -> str:
    """Write a session with a step and return the step's id."""
    return database.message(database.session())


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
def test_bad_row_is_set_aside_once_and_the_others_count(
    name: str, bench: Bench, database: V1, caplog: pytest.LogCaptureFixture
) -> None:
    """An unusable row counts as rejected once, however often it is read; good rows count."""
    data, cause = BAD[name]
    message = a_step(database)
    database.tool(message, call="before", tool="write")
    database.raw_part(message, data)
    database.tool(message, call="after", tool="edit")
    for page in readings(bench, lambda: a_step(database)):
        assert page.by(CALLS, "tool", "status") == GOOD | {("edit", "completed"): 1}
        assert page.by(REJECTED, "source", "table", "cause") == {("opencode.db", "part", cause): 1}
        assert page.value("opencode_up", source="opencode.db") == 1
        assert page.total("opencode_tool_in_flight") == 0
        assert SECRET not in page.page
    assert SECRET not in caplog.text
    assert SECRET.encode() not in stored(bench.ledger)


@pytest.mark.parametrize("name", COUNTED)
def test_odd_row_that_can_be_used_counts_once(
    name: str, bench: Bench, database: V1, caplog: pytest.LogCaptureFixture
) -> None:
    """A row that is odd where it does not matter is an invocation like any other."""
    data, expected = COUNTED[name]
    message = a_step(database)
    database.raw_part(message, data)
    database.tool(message, call="good", tool="write")
    for page in readings(bench, lambda: a_step(database)):
        assert page.by(CALLS, "tool", "status") == GOOD | expected
        assert page.total(REJECTED) == 0
        assert SECRET not in page.page
    assert SECRET not in caplog.text
    assert SECRET.encode() not in stored(bench.ledger)


def test_end_before_start_counts_without_a_duration(bench: Bench, database: V1) -> None:
    """A clock that stepped back loses no call, and no negative time is observed."""
    message = a_step(database)
    database.tool(message, start=BEGIN_MS + 100, end=BEGIN_MS + 50)
    page = bench.read_once()
    assert page.value(CALLS, tool="read", status="completed") == 1
    assert page.total("opencode_tool_duration_seconds_count") == 0
    assert page.total(REJECTED) == 0


@pytest.mark.parametrize("restart", [False, True])
def test_unknown_status_counts_when_it_becomes_a_known_one(
    restart: bool, bench: Bench, database: V1
) -> None:
    """A call set aside for a status of the future counts when it has ended, also after restart."""
    exporter = bench.exporter()
    part = database.tool(a_step(database), status="paused")
    exporter.poll()
    for status in ("dreaming", "running", "completed"):
        database.rewrite(part, status=status)
        if restart:
            exporter.close()
            exporter = bench.exporter()
        exporter.poll()
    page = exposed(exporter)
    exporter.close()
    assert page.by(CALLS, "tool", "status") == {("read", "completed"): 1}
    assert page.by(REJECTED, "table", "cause") == {("part", "status"): 1}


def test_half_an_emoji_in_the_id_of_an_open_call_outlives_a_restart(
    bench: Bench, database: V1
) -> None:
    """An open call whose id is no valid text is kept, and counted when it ends."""
    part = database.tool(a_step(database), call="call_\ud83d", status="running")
    for _ in range(2):
        exporter = bench.exporter()
        exporter.poll()
        assert exposed(exporter).value("opencode_tool_in_flight", tool="read") == 1
        assert not problem(exporter)
        exporter.close()
    database.rewrite(part, status="completed")
    for page in readings(bench, lambda: a_step(database)):
        assert page.by(CALLS, "tool", "status") == {("read", "completed"): 1}
        assert page.total("opencode_tool_in_flight") == 0


def test_open_call_whose_row_breaks_is_set_aside(bench: Bench, database: V1) -> None:
    """A call in flight is no longer shown when its row cannot be read any more."""
    exporter = bench.exporter()
    message = a_step(database)
    part = database.tool(message, status="running")
    exporter.poll()
    database.raw_part(message, SECRET, part=part)
    exporter.poll()
    page = exposed(exporter)
    exporter.close()
    assert page.total("opencode_tool_in_flight") == 0
    assert page.by(REJECTED, "table", "cause") == {("part", "json"): 1}


@pytest.mark.parametrize(
    "data",
    [SECRET, b"\xff", None, "[]", '{"agent": 7}', '{"agent": ' + "[" * 100_000, "{}"],
    ids=["no JSON", "BLOB", "NULL", "array", "number", "nested too deep", "empty"],
)
def test_call_of_a_bad_message_counts(data: str | bytes | None, bench: Bench, database: V1) -> None:
    """A message that cannot be used costs its calls no more than the agent's name."""
    message = a_step(database)
    database.tool(message, tool="write")
    database.db.execute("UPDATE message SET data = ? WHERE id = ?", (data, message))
    for page in readings(bench, lambda: a_step(database)):
        assert page.by("opencode_tool_usage_total", "tool", "agent") == {("write", "_unknown"): 1}
        assert page.value("opencode_up", source="opencode.db") == 1


def test_bad_messages_do_not_stop_the_look_for_later_steps(bench: Bench, database: V1) -> None:
    """Whether an open call was left behind is found out past messages that cannot be used."""
    exporter = bench.exporter()
    session = database.session()
    database.tool(database.message(session), status="running")
    for data in (SECRET, b"\xff", None, "[" * 100_000):
        later = database.message(session)
        database.db.execute("UPDATE message SET data = ? WHERE id = ?", (data, later))
    exporter.poll()
    assert not problem(exporter)
    assert exposed(exporter).value("opencode_tool_in_flight", tool="read") == 1
    database.message(session)
    exporter.poll()
    page = exposed(exporter)
    exporter.close()
    assert page.by(CALLS, "tool", "status") == {("read", "abandoned"): 1}


@pytest.mark.parametrize("value", ["x", 1.5, -5, 2**63 - 1, b"\xff"])
def test_columns_of_a_wrong_type_lose_no_call(value: Any, bench: Bench, database: V1) -> None:
    """Times of sessions, messages and rows that are no times leave every call counted."""
    database.tool(a_step(database), tool="write")
    for table in ("session", "message", "part"):
        database.db.execute(f"UPDATE {table} SET time_created = ?1, time_updated = ?1", (value,))
    for page in readings(bench, lambda: a_step(database)):
        assert page.by(CALLS, "tool", "status") == GOOD
        assert page.total("opencode_source_last_event_timestamp_seconds") <= NOW / 1000


@pytest.mark.parametrize("column", ["directory", "version", "title", "project_id"])
def test_text_of_a_session_that_is_not_utf8_costs_no_call(
    column: str, bench: Bench, database: V1
) -> None:
    """A path or a name that is no text takes nothing away but, at most, the project's name."""
    database.tool(a_step(database), tool="write")
    database.db.execute("PRAGMA foreign_keys = OFF")
    database.db.execute(f"UPDATE session SET {column} = CAST(x'2fff' AS TEXT)")
    database.db.execute("UPDATE project SET worktree = CAST(x'2fff' AS TEXT)")
    exporter = bench.exporter()
    exporter.poll()
    assert not problem(exporter)
    assert exposed(exporter).by(CALLS, "tool", "status") == GOOD
    exporter.close()
