"""In a row of v2 only what cannot be used is set aside: one bad call spares the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from harness.databases import BEGIN_MS, V2, call, schema
from harness.exporters import Bench, exposed
from harness.rereading import CALLS, REJECTED, SECRET, problem, readings, stored
from harness.row_shapes import timed

NOW: Final = 1_795_000_000_000
DAY: Final = 86_400_000
GOOD: Final = {("write", "completed"): 1, ("edit", "completed"): 1}
LAX: Final = schema("v2").replace("`data` text NOT NULL", "`data` text")


def bad(**facts: Any) -> dict[str, Any]:
    """Return an odd call, with a secret where the user's texts are."""
    given = {"input": {"path": SECRET}, "output": SECRET, "created": BEGIN_MS + 50} | facts
    return call(given.pop("id", "call_bad"), given.pop("name", "read"), **given)


def without(item: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a call that lacks a key."""
    return {name: value for name, value in item.items() if name != key}


def row(*items: Any) -> str:
    """Return the data of a step that is over, with these items."""
    content = [timed(item, {}, BEGIN_MS + 50) for item in items]
    times = {"created": BEGIN_MS + 40, "completed": BEGIN_MS + 900}
    return json.dumps({"time": times, "agent": "build", "content": content, "finish": "stop"})


def nested(depth: int) -> str:
    """Return a step with a call whose input is nested that deep."""
    return row(bad(input="@")).replace('"@"', "[" * depth + f'"{SECRET}"' + "]" * depth)


BAD_ITEMS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "number for a name": (bad(name=7), "tool_name"),
    "number for a call id": (bad(id=7), "call_id"),
    "state missing": (without(bad(), "state"), "state"),
    "state a text": (bad() | {"state": SECRET}, "state"),
    "times missing": (without(bad(), "time"), "time"),
    "created missing": (bad(created=None), "time"),
    "created negative": (bad(created=-5), "time"),
    "created a text": (bad(created=SECRET), "time"),
    "created with a fraction": (bad(created=1.5), "time"),
    "created a bool": (bad(created=True), "time"),
    "created a huge integer": (bad(created=10**30), "time"),
    "ran a text": (bad(ran=SECRET), "time"),
    "completed in the future": (bad(completed=NOW + DAY + 1000), "time"),
    "running in the future": (bad(status="running", created=NOW + DAY + 1000), "time"),
    "unknown status": (bad(status="paused"), "status"),
    "number for a status": (bad(status=5), "status"),
}

BAD_ROWS: Final[dict[str, tuple[str | bytes | None, str]]] = {
    "broken JSON": (row(bad())[:-9], "json"),
    "no JSON": (SECRET, "json"),
    "NULL": (None, "json"),
    "BLOB of anything": (b"\xff\x00" + SECRET.encode(), "json"),
    "nested too deep": (nested(200_000), "json"),
    "array": (f'["{SECRET}"]', "shape"),
    "null": ("null", "shape"),
    "content an object": (json.dumps({"content": {"a": SECRET}}), "shape"),
}

COUNTED: Final[dict[str, tuple[str | bytes, dict[tuple[str, ...], int]]]] = {
    "BLOB of good JSON": (row(bad()).encode(), {("read", "completed"): 1}),
    "nested 200 deep": (nested(200), {("read", "completed"): 1}),
    "items that are no objects": (row(None, 5, SECRET, bad()), {("read", "completed"): 1}),
    "name missing": (row(without(bad(), "name")), {("_unknown", "completed"): 1}),
    "call id missing": (row(without(bad(), "id")), {("read", "completed"): 1}),
    "error a text": (row(bad(status="error", error=SECRET)), {("read", "error"): 1}),
    "metadata a list": (row(bad(metadata=[SECRET])), {("read", "completed"): 1}),
    "half an emoji in the output": (row(bad(output="\ud83d")), {("read", "completed"): 1}),
    "half an emoji in the input": (
        row(bad(name="shell", input={"command": "ls \ud83d"})),
        {("shell", "completed"): 1},
    ),
    "half an emoji in the call id": (row(bad(id="call_\ud83d")), {("read", "completed"): 1}),
    "20 MB": (row(bad(output=SECRET + "x" * 20_000_000)), {("read", "completed"): 1}),
    "inner calls that are odd": (
        row(bad(name="execute", metadata={"toolCalls": [1, {"tool": "demo.echo"}]})),
        {("execute", "completed"): 1, ("_unknown", "error"): 1, ("demo.echo", "error"): 1},
    ),
}


@pytest.fixture
def database(bench: Bench) -> Iterator[V2]:
    """A live database whose rows may hold anything, NULL included."""
    with V2(bench.source, ddl=LAX) as database:
        yield database


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD_ITEMS)
def test_bad_call_is_set_aside_and_the_others_of_its_row_count(
    name: str, bench: Bench, database: V2, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a row's calls the one that cannot be used is rejected, once; the others count."""
    item, cause = BAD_ITEMS[name]
    session = database.session()
    database.assistant(session, [call("a", "write"), item, call("b", "edit")])
    for page in readings(bench, database.session):
        assert page.by(CALLS, "tool", "status") == GOOD
        assert page.by(REJECTED, "table", "cause") == {("session_message", cause): 1}
        assert page.value("opencode_up", source="opencode.db") == 1
        assert SECRET not in page.page
    assert SECRET not in caplog.text
    assert SECRET.encode() not in stored(bench.ledger)


@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_row_is_set_aside_once_and_the_others_count(
    name: str, bench: Bench, database: V2, caplog: pytest.LogCaptureFixture
) -> None:
    """An unusable row counts as rejected once, however often it is read; good rows count."""
    data, cause = BAD_ROWS[name]
    session = database.session()
    database.assistant(session, [call("a", "write")])
    database.raw_row(session, data)
    database.assistant(session, [call("b", "edit")])
    for page in readings(bench, database.session):
        assert page.by(CALLS, "tool", "status") == GOOD
        assert page.by(REJECTED, "table", "cause") == {("session_message", cause): 1}
        assert SECRET not in page.page
    assert SECRET not in caplog.text
    assert SECRET.encode() not in stored(bench.ledger)


@pytest.mark.parametrize("name", COUNTED)
def test_odd_row_that_can_be_used_counts_once(
    name: str, bench: Bench, database: V2, caplog: pytest.LogCaptureFixture
) -> None:
    """A row that is odd where it does not matter is counted like any other."""
    data, expected = COUNTED[name]
    session = database.session()
    database.raw_row(session, data)
    database.assistant(session, [call("a", "write"), call("b", "edit")])
    for page in readings(bench, database.session):
        assert page.by(CALLS, "tool", "status") == GOOD | expected
        assert page.total(REJECTED) == 0
        assert SECRET not in page.page
    assert SECRET not in caplog.text
    assert SECRET.encode() not in stored(bench.ledger)


def test_end_before_start_counts_without_a_duration(bench: Bench, database: V2) -> None:
    """A clock that stepped back loses no call, and no negative time is observed."""
    back = bad(created=BEGIN_MS + 90, ran=BEGIN_MS + 80, completed=BEGIN_MS + 70)
    database.assistant(database.session(), [back])
    page = bench.read_once()
    assert page.value(CALLS, tool="read", status="completed") == 1
    assert page.total("opencode_tool_duration_seconds_count") == 0
    assert page.total("opencode_tool_wait_seconds_count") == 0
    assert page.total(REJECTED) == 0


def test_unknown_status_counts_when_it_becomes_a_known_one(bench: Bench, database: V2) -> None:
    """A call set aside for a status of the future counts when it has ended."""
    exporter = bench.exporter()
    calls = [call("a", "write"), bad(status="paused")]
    message = database.assistant(database.session(), calls, facts={"finish": "tool-calls"})
    exporter.poll()
    database.rewrite(message, [call("a", "write"), bad(status="dreaming")])
    exporter.poll()
    assert exposed(exporter).by(CALLS, "tool", "status") == {("write", "completed"): 1}
    database.rewrite(message, [call("a", "write"), bad()])
    bench.clock.advance(ms=61_000)  # its step is over, and old: it is looked at each minute
    exporter.poll()
    page = exposed(exporter)
    exporter.close()
    assert page.by(CALLS, "tool") == {("write",): 1, ("read",): 1}
    assert page.by(REJECTED, "cause") == {("status",): 1}


def test_bad_call_of_a_step_that_goes_on_counts_when_it_is_mended(
    bench: Bench, database: V2
) -> None:
    """What was set aside in a row that was not final is looked at again."""
    exporter = bench.exporter()
    message = database.assistant(database.session(), [bad(created=SECRET)], completed=None)
    exporter.poll()
    assert exposed(exporter).total(CALLS) == 0
    database.rewrite(message, [bad()])
    exporter.poll()
    page = exposed(exporter)
    exporter.close()
    assert page.by(CALLS, "tool", "status") == {("read", "completed"): 1}
    assert page.by(REJECTED, "cause") == {("time",): 1}


@pytest.mark.parametrize(
    "item", [bad(id="call_\ud83d", status="running"), bad(name="x\ud83d", status="running")]
)
def test_half_an_emoji_in_the_names_of_an_open_call_outlives_a_restart(
    item: dict[str, Any], bench: Bench, database: V2
) -> None:
    """An open call whose id or name is no valid text is kept, and counted when it ends."""
    message = database.assistant(database.session(), [item], completed=None)
    for _ in range(2):
        exporter = bench.exporter()
        exporter.poll()
        assert exposed(exporter).total("opencode_tool_in_flight") == 1
        assert not problem(exporter)
        exporter.close()
    database.rewrite(message, [item | {"state": call()["state"], "time": call()["time"]}])
    for page in readings(bench, database.session):
        assert page.total(CALLS) == 1
        assert page.total("opencode_tool_in_flight") == 0


@pytest.mark.parametrize(
    ("kind", "data", "expected", "cause"),
    [
        ("skill", {"skill": "alpha", "name": "alpha"}, {("alpha",): 1}, None),
        ("skill", {"skill": 5, "name": None}, {("_unknown",): 1}, None),
        ("skill", {"skill": "alpha", "time": {"created": SECRET}}, {}, "time"),
        ("user", {"skills": [{"id": "alpha"}, 5, None]}, {("alpha",): 1, ("_unknown",): 2}, None),
        ("user", {"skills": {"alpha": SECRET}}, {}, None),
        ("user", {"skills": [{"id": "alpha"}], "time": {"created": -1}}, {}, "time"),
    ],
)
def test_odd_skill_of_the_user(
    kind: str,
    data: dict[str, Any],
    expected: dict[tuple[str], int],
    cause: str | None,
    bench: Bench,
    database: V2,
) -> None:
    """Skills that the user invoked count as far as their rows say anything."""
    database.raw_row(database.session(), json.dumps(data), kind=kind)
    for page in readings(bench, database.session):
        assert page.by("opencode_skill_invocations_total", "skill") == expected
        assert page.by(REJECTED, "cause") == ({(cause,): 1} if cause else {})
        assert SECRET not in page.page


def test_mentioned_skills_have_a_size(bench: Bench, database: V2) -> None:
    """The text that a mentioned skill puts into the context is measured."""
    database.user(database.session(), skills=("alpha",))
    page = bench.read_once()
    assert page.value("opencode_skill_content_bytes_total", skill="alpha") == len("steps")
