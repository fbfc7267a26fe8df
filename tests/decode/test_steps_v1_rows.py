"""The table of v1's messages: rows that stay open, bounds, ids, and the sessions around them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from decode.messages_v1 import USED, only, put, read, step, table
from harness.clock import FakeClock
from harness.databases import V1
from harness.recordings import unpack
from opencode_exporter.chunk import Anchor
from opencode_exporter.clock import Patience
from opencode_exporter.events import Rejection, Session, Step
from opencode_exporter.source.opencode.session_rows import Sessions, archived, todos
from opencode_exporter.source.opencode.source import Source
from opencode_exporter.source.opencode.stretches import resume
from opencode_exporter.source.opencode.tables.table import WITHOUT_BOUNDS
from opencode_exporter.source.opencode.tailer import CHUNK_ROWS, Tailer

SINCE: Final = 61_000
"""Milliseconds after which no more parts are waited for."""


@pytest.fixture
def db(tmp_path: Path) -> Iterator[V1]:
    """A database that is written to."""
    with V1(tmp_path / "opencode.db") as database:
        yield database


def test_step_is_open_until_it_is_completed(db: V1, clock: FakeClock) -> None:
    """An open step is an event in its place, and a row to look at again."""
    message = step(db, completed=None)
    db.tool(message, status="running")
    later = step(db)
    chunk = read(db.path, clock)
    first, second = chunk.events
    assert isinstance(first, Step)
    assert isinstance(second, Step)
    assert [(one.message, one.is_over) for one in (first, second)] == [
        (message, False),
        (later, True),
    ]
    assert [call.status for call in first.calls] == [None]
    (row,) = chunk.open_rows
    assert (row.table, row.row, row.calls) == ("message", message, ())


def test_open_rows_have_the_state_that_is_compared_later(db: V1, clock: FakeClock) -> None:
    """A row that has not moved is not read again; each new part moves it."""
    clock.ms = db.now + 1000
    session = db.session()
    message = db.message(session, role="user")
    (row,) = read(db.path, clock).open_rows
    with table(db.path, clock) as messages:
        assert messages.states([message, "msg_none"]) == {message: (row.updated, row.size)}
    put(db, message, type="text", text="sure", synthetic=True)
    with table(db.path, clock) as messages:
        assert messages.states([message])[message] != (row.updated, row.size)


def test_what_the_user_says_is_open_until_a_part_tells_what_it_is(db: V1, clock: FakeClock) -> None:
    """Parts are written after their message: before, it may become anything."""
    clock.ms = db.now + 1000
    message = db.message(db.session(), role="user")
    first = read(db.path, clock)
    assert [(one.kind, one.is_over) for one in first.events] == [("note", False)]  # type: ignore[union-attr]
    put(db, message, type="text", text="read a file", synthetic=True)
    assert (only(db.path, clock).kind, only(db.path, clock).is_over) == ("note", False)
    put(db, message, type="text", text="please")
    with table(db.path, clock) as messages:
        chunk = messages.read_again([message]).chunk
    assert [(one.kind, one.is_over) for one in chunk.events] == [("human", True)]  # type: ignore[union-attr]
    assert (chunk.open_rows, chunk.settled) == ([], [message])


@pytest.mark.parametrize(
    ("parts", "kind", "compaction"),
    [
        ([], "human", ""),
        ([{"type": "text", "text": "go on", "synthetic": True}], "note", ""),
        ([{"type": "text", "synthetic": True}, {"type": "file", "url": "x"}], "human", ""),
        ([{"type": "compaction", "auto": True}], "note", "auto"),
        ([{"type": "compaction", "auto": False}], "note", "manual"),
        ([{"type": "text", "text": '{"synthetic":true}' + "x" * 999}], "human", ""),
        ([{"type": "text", "text": "x" * 999, "synthetic": True}], "note", ""),
    ],
)
def test_what_the_user_said_a_minute_ago_is_over(
    parts: list[Any], kind: str, compaction: str, db: V1, clock: FakeClock
) -> None:
    """No more parts are waited for, and those that are there tell what it was."""
    clock.ms = db.now + 1000
    message = db.message(db.session(), role="user")
    for part in parts:
        put(db, message, **part)
    with table(db.path, clock) as messages:
        before = messages.states([message])
        clock.ms = db.now + SINCE
        assert messages.states([message]) != before, "is read again though it has not changed"
    remark = only(db.path, clock)
    assert (remark.kind, remark.compaction, remark.is_over) == (kind, compaction, True)


def test_finished_step_waits_for_parts_that_a_copy_brings_after_it(
    db: V1, clock: FakeClock
) -> None:
    """A fork and an import write the completed message first; its tokens are not lost."""
    clock.ms = db.now + 1000
    message = step(db, finish="stop")
    assert not only(db.path, clock).is_over
    put(db, message, type="step-start")
    assert not only(db.path, clock).is_over
    put(db, message, type="step-finish", cost=0.1, tokens=USED)
    assert only(db.path, clock).is_over
    assert only(db.path, clock).tokens.input == USED["input"]


def test_step_without_an_end_of_its_own_is_over_at_once(db: V1, clock: FakeClock) -> None:
    """A call of a command with a sub-agent has neither start nor end; an error has no parts."""
    clock.ms = db.now + 1000
    message = step(db, finish="tool-calls")
    db.tool(message, tool="task", metadata={"sessionId": "ses_child"})
    step(db, error={"name": "APIError", "data": {}})
    task, failed = read(db.path, clock).events
    assert isinstance(task, Step)
    assert isinstance(failed, Step)
    assert (task.is_over, failed.is_over) == (True, True)
    assert [call.child for call in task.calls] == ["ses_child"]


def test_ids_that_are_no_text_reject_their_rows_alone(db: V1, clock: FakeClock) -> None:
    """One row of a thousand has an id that is no UTF-8: the others are read."""
    good = step(db)
    session = db.session()
    db.db.execute("PRAGMA foreign_keys = OFF")
    sql = 'INSERT INTO message VALUES (CAST(? AS TEXT), ?, 1, 1, \'{"role":"user"}\')'
    db.db.execute(sql, (b"msg_\xff", session))
    first, second = read(db.path, clock).events
    assert first.message == good  # type: ignore[union-attr]
    assert second == Rejection("msg_\\xff", "shape")


def test_bounds_cut_a_chunk_between_rows(db: V1, clock: FakeClock) -> None:
    """By rows, by bytes of the parts too, and by the clock; the next one goes on there."""
    with db.db:
        for _ in range(300):
            db.tool(step(db), output="x" * 1000)
    with table(db.path, clock) as messages:
        last = messages.last_rowid()
        for bounds, most in (
            (WITHOUT_BOUNDS._replace(rows=10), 10),
            (WITHOUT_BOUNDS._replace(bytes=100_000), 128),
            (WITHOUT_BOUNDS._replace(until=0.0), 64),
            (WITHOUT_BOUNDS._replace(last=150), 300),
        ):
            found: list[str] = []
            rowid = 0
            while (taken := messages.read_after(rowid, bounds, {})).newest:
                assert len(taken.chunk.events) == taken.chunk.rows <= most
                found += [event.message for event in taken.chunk.events]  # type: ignore[union-attr]
                rowid = taken.newest[-1].rowid
            assert len(found) == len({*found}) == min(last, bounds.last)


def test_table_is_read_on_after_its_anchors(db: V1, clock: FakeClock) -> None:
    """The tailer reads it in chunks, and its anchors are in their places afterwards."""
    with db.db:
        for _ in range(CHUNK_ROWS + 5):
            step(db)
    with table(db.path, clock) as messages:
        reader, tailer = messages._reader, Tailer(clock, Patience(clock, 0))
        (stretch,) = (one for one in tailer.ahead(reader, {}) if one.table == "message")
        cursor = stretch.cursor
        for taken in tailer.between(reader, messages, Anchor(0, ""), stretch.last):
            cursor = cursor.extended(taken.newest)
        assert resume(reader, "message", cursor) == stretch.last == CHUNK_ROWS + 5


def test_sessions_tell_where_they_belong(db: V1) -> None:
    """Parent and directory are known, and which sessions are archived."""
    root = db.session(directory="/home/dev/demo")
    child = db.session(parent=root, time_archived=5)
    with Source(db.path, "x").open() as reader:
        sessions = Sessions(reader, "session")
        begun = sessions.get(child).created
        assert sessions.get(child) == Session(
            child, "demo", begun, root, False, "/home/dev/demo", root=root
        )
        assert sessions.get(root).parent == ""
        assert archived(reader, [root, child, "ses_none"]) == {child}


def test_sessions_tell_which_is_above_all_others(db: V1) -> None:
    """Through every level, to one whose row is gone, and to some end of a circle."""
    root = db.session()
    middle = db.session(parent=root)
    lowest = db.session(parent=middle)
    orphan = db.session(parent=db.session(parent="ses_gone"))
    circle = db.session(id="ses_one", parent="ses_other")
    db.session(id="ses_other", parent=circle)
    with Source(db.path, "x").open() as reader:
        sessions = Sessions(reader, "session")
        found = [sessions.get(one).root for one in (root, middle, lowest, orphan)]
        assert found == ["", root, root, "ses_gone"]
        assert sessions.get(circle).root in {"ses_one", "ses_other"}


def test_todos_are_counted_by_status(db: V1) -> None:
    """Of the given sessions alone; what is no status of 1.x is another."""
    first, second = db.session(), db.session()
    sql = "INSERT INTO todo VALUES (?, 'secret', ?, 'low', ?, 1, 1)"
    for place, status in enumerate(("pending", "pending", "completed", "later", b"\xff")):
        db.db.execute(sql, (first, status, place))
    db.db.execute(sql, (second, "in_progress", 0))
    with Source(db.path, "x").open() as reader:
        assert todos(reader, [first]) == {first: {"pending": 2, "completed": 1, "_other": 2}}


def test_forks_and_missing_todos_of_two(tmp_path: Path) -> None:
    """2.x says itself which session is a fork, and keeps no todo items."""
    path = unpack("turns-2.0.15", tmp_path)
    db = apsw.Connection(str(path))
    rows: list[Any] = db.execute("SELECT id, fork_session_id FROM session_v2").fetchall()
    known = dict(rows)
    db.close()
    with Source(path, "x").open() as reader:
        sessions = Sessions(reader, "session_v2")
        assert {key: sessions.get(key).is_fork for key in known} == {
            key: bool(origin) for key, origin in known.items()
        }
        assert any(known.values())
        assert todos(reader, [*known]) == {}
