"""The independent computation's times and durations, by rows that are made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.oracle.building import Old, done
from contract.oracle.calls import v1_call, v2_call
from contract.oracle.executions import duration, executions
from contract.oracle.model import Call, Moment, Row, Session, moment, took
from contract.oracle.reading import read
from contract.oracle.totals import expected
from harness.databases import BEGIN_MS, V1, call

DAY_MS = 86_400_000
NOW = BEGIN_MS + DAY_MS


def part(times: dict[str, Any]) -> dict[str, Any]:
    """Return a tool part of 1.x that has these times."""
    state = {"status": "completed", "input": {}, "time": times}
    return {"type": "tool", "tool": "read", "callID": "call_1", "state": state}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[V1]:
    """A database of 1.x."""
    with V1(tmp_path / "opencode.db") as database:
        yield database


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
    old = v1_call("s", "m", part(times), now=NOW)
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
