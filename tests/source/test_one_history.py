"""
A history of 1.x gives one page, however it is read.

As a stream, row by row, each row with care, or by other processes; what is odd in it
is told once, and nothing of it is counted twice or lost.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from decode.messages_v1 import USED, put
from harness.databases import V1, fresh, schema
from harness.exporters import Bench, Exposed
from harness.pages import counted
from harness.rereading import REJECTED, forget_cursors, readings
from opencode_exporter.service import read_ahead, source_poll
from opencode_exporter.source.opencode import tailer
from opencode_exporter.source.opencode.tables import message_parts_v1, stream_v1
from opencode_exporter.source.opencode.tables.message_v1 import StepTable

MOST: Final = 40
REST_MS: Final = 600_000
"""So long ago was the last row written that no session is active any more."""
ULID: Final = "01J9ZQ4W2M8N6P3R5T7V9X1Y2Z"
RUNNING: Final = "opencode_tool_in_flight"
ABOUT_READING: Final = (
    "opencode_exporter_poll",
    "opencode_exporter_last",
    "opencode_exporter_rows_read",
)
LOOSE: Final = schema("v1").replace("text NOT NULL", "text").replace("integer NOT NULL", "integer")
"""Tables that take rows with NULL in them."""


def shown(page: Exposed) -> dict[str, object]:
    """Return all series but those about the reading itself."""
    others = (*ABOUT_READING, "opencode_exporter_ledger")
    return {name: series for name, series in page.samples.items() if not name.startswith(others)}


def begun(db: V1, session: str, **more: Any) -> str:
    """Write a step that is over, and how it begins."""
    times = {"created": db.tick(), "completed": db.now + 500}
    message = db.message(session, time=times, finish="tool-calls", **more)
    put(db, message, type="step-start")
    return message


def ended(db: V1, message: str) -> None:
    """Write how a step ends."""
    put(db, message, type="step-finish", reason="tool-calls", tokens=USED, cost=0.25)


def plain(db: V1) -> None:
    """Write a session as there are many."""
    session = db.session()
    human = db.message(session, role="user")
    put(db, human, type="text", text="please")
    for number in range(3):
        message = begun(db, session, parentID=human)
        put(db, message, type="text", text="well")
        db.tool(message, call=f"call_{number}")
        ended(db, message)


def odd(db: V1) -> None:
    """Write parts that OpenCode never writes, among others."""
    for number, spoil in enumerate(SPOILT):
        plain(db)
        session = db.session()
        message = begun(db, session)
        db.tool(message, tool="grep", call=f"call_{number}_before")
        spoil(db, db.tool(message, tool="glob", call=f"call_{number}_odd"))
        db.tool(message, tool="grep", call=f"call_{number}_after")
        ended(db, message)


def odd_messages(db: V1) -> None:
    """Write messages that OpenCode never writes, among others."""
    for number, spoil in enumerate(SPOILT_MESSAGES):
        plain(db)
        session = db.session()
        for name in ("grep", "glob", "grep"):
            message = begun(db, session)
            db.tool(message, tool=name, call=f"call_{number}")
            ended(db, message)
            if name == "glob":
                spoil(db, message)


def _set(column: str, value: str, table: str = "part") -> Callable[[V1, str], None]:
    """Return what makes a column of a row an SQL value."""

    def spoil(db: V1, name: str) -> None:
        db.db.execute("PRAGMA foreign_keys = OFF")
        db.db.execute(f"UPDATE {table} SET {column} = {value} WHERE id = ?", (name,))
        db.db.execute("PRAGMA foreign_keys = ON")

    return spoil


def _of_another_session(db: V1, part: str) -> None:
    other = db.session(project="other")
    db.db.execute("UPDATE part SET session_id = ? WHERE id = ?", (other, part))


SPOILT: Final[list[Callable[[V1, str], None]]] = [
    _set("data", "NULL"),
    _set("data", "7"),
    _set("data", "'[]'"),
    _set("data", "CAST(x'ff' AS TEXT)"),
    _set("data", "CAST(data AS BLOB)"),
    _set("id", "CAST(id AS BLOB)"),
    _set("id", "CAST(x'70ff71' AS TEXT)"),
    _set("id", "x'70ff72'"),
    _set("id", "NULL"),
    _set("session_id", "CAST(session_id AS BLOB)"),
    _set("session_id", "CAST(x'70ff71' AS TEXT)"),
    _set("session_id", "NULL"),
    _set("message_id", "CAST(message_id AS BLOB)"),
    _set("message_id", "CAST(x'70ff71' AS TEXT)"),
    _set("message_id", "NULL"),
    _set("time_created", "NULL"),
    _set("time_created", "'soon'"),
    _set("time_updated", "NULL"),
    _set("time_updated", "1.5"),
    _of_another_session,
]


SPOILT_MESSAGES: Final = [
    _set(column, value, "message")
    for column, values in (
        ("data", ("NULL", "7", "'[]'", "CAST(x'ff' AS TEXT)", "CAST(data AS BLOB)")),
        ("id", ("CAST(id AS BLOB)", "CAST(x'70ff71' AS TEXT)", "x'70ff72'", "NULL", "7")),
        ("session_id", ("CAST(session_id AS BLOB)", "CAST(x'70ff71' AS TEXT)", "NULL", "'none'")),
        ("time_created", ("NULL", "'soon'", "-1")),
        ("time_updated", ("NULL", "1.5")),
    )
    for value in values
]


def typed(db: V1) -> None:
    """Write commands that the user typed, and others that look like them."""
    plain(db)
    session = db.session()
    shell: dict[str, Any] = {"tool": "bash", "call": ULID}
    output: dict[str, Any] = {"metadata": {"output": "x"}}
    for status in ("completed", "running"):
        message = db.message(session, time={"created": db.tick(), "completed": db.now + 9})
        db.tool(message, status=status, **shell, **output)
    message = begun(db, session)  # of the model
    db.tool(message, **shell, metadata={"output": "x", "exit": 0, "truncated": False})
    ended(db, message)
    message = db.message(session)  # of a step that never said that it began
    db.tool(message, status="error", error="spawn ENOENT", **shell)
    plain(db)
    db.tool(db.message(db.session()), status="running", **shell, **output)


def heavy(db: V1) -> None:
    """Write a message with more parts than are kept of one, among others."""
    plain(db)
    message = begun(db, db.session())
    for number in range(3 * MOST):
        db.tool(message, tool="grep", call=f"call_{number}")
    ended(db, message)
    plain(db)


def orphaned(db: V1) -> None:
    """Write calls whose message is not there: before, among and after others."""
    for number in range(3):
        message = db.message(db.session())
        db.tool(message, tool="list", call=f"call_orphan_{number}")
        db.db.execute("PRAGMA foreign_keys = OFF")
        db.db.execute("DELETE FROM message WHERE id = ?", (message,))
        db.db.execute("PRAGMA foreign_keys = ON")
        if number < 2:
            plain(db)


def row_by_row(patch: pytest.MonkeyPatch) -> None:
    """Let each transaction read one row."""
    patch.setattr(tailer, "CHUNK_ROWS", 1)


def with_care(patch: pytest.MonkeyPatch) -> None:
    """Let no row be read in the stream."""

    def refuse(*_: object) -> None:
        raise UnicodeDecodeError("utf-8", b"", 0, 1, "for the test")

    patch.setattr(StepTable, "_take_stream", refuse)


def by_others(patch: pytest.MonkeyPatch) -> None:
    """Let other processes read, however little there is."""
    patch.setattr(source_poll, "WORTH_IT_ROWS", 1)
    patch.setattr(read_ahead, "_WINDOW_ROWS", 20)


WAYS: Final = (row_by_row, with_care, by_others)
Fill = Callable[[V1], None]


def write(path: Path, fill: Fill) -> V1:
    """Make a database that takes anything."""
    db = V1(path, ddl=LOOSE)
    fill(db)
    return db


@pytest.mark.slow
@pytest.mark.parametrize("fill", [plain, odd, odd_messages, typed, heavy, orphaned])
@pytest.mark.parametrize("way", WAYS)
def test_same_page_however_it_is_read(
    bench: Bench, fill: Fill, way: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """What the stream cannot read it leaves to who reads with care, and tells all the same."""
    with pytest.MonkeyPatch.context() as patch, write(bench.source, fill) as db:
        patch.setattr(message_parts_v1, "MOST", MOST)
        patch.setattr(stream_v1, "MOST", MOST)
        bench.clock.ms = db.now + REST_MS
        whole = bench.read_once()
        way(patch)
        assert shown(bench.read_once()) == shown(whole)


def test_odd_parts_cost_themselves_and_nothing_else(bench: Bench) -> None:
    """The calls before and behind them count, and so do the messages around, once."""
    with write(bench.source, odd) as db:
        bench.clock.ms = db.now + REST_MS
        for page in readings(bench, lambda: db.session(project="more")):
            found = counted(page)
            assert found["grep", "completed"] == 2 * len(SPOILT)
            assert found["read", "completed"] == 3 * len(SPOILT)
            assert found["glob", "completed"] + page.total(REJECTED) >= len(SPOILT)
            assert page.by("opencode_steps_total", "finish") == {("tool-calls",): 4 * len(SPOILT)}


def test_odd_messages_cost_themselves_and_nothing_else(bench: Bench) -> None:
    """The steps before and behind them count, and so do their calls, once."""
    with write(bench.source, odd_messages) as db:
        bench.clock.ms = db.now + REST_MS
        for page in readings(bench, lambda: db.session(project="more")):
            found = counted(page)
            assert found["grep", "completed"] == 2 * len(SPOILT_MESSAGES)
            assert found["read", "completed"] == 3 * len(SPOILT_MESSAGES)
            assert found["glob", "completed"] == len(SPOILT_MESSAGES)


def test_what_the_user_typed_is_no_call_of_a_history(bench: Bench) -> None:
    """Whether it is over or runs; and when it ends it is none either."""
    with write(bench.source, typed) as db:
        bench.clock.ms = db.now + REST_MS
        expected = {("read", "completed"): 6, ("shell", "completed"): 1, ("shell", "error"): 1}
        exporter = bench.exporter()
        exporter.poll()
        page = bench.read_once()
        assert counted(page) == expected
        assert page.total(RUNNING) == 0
        running = "SELECT id FROM part WHERE data ->> '$.state.status' = 'running'"
        for (part,) in db.db.execute(running).fetchall():
            db.rewrite(str(part), status="completed", metadata={"output": "done"})
        exporter.poll()
        assert counted(bench.read_once()) == expected
        exporter.close()


@pytest.mark.parametrize("aside", [False, True])
def test_all_calls_of_a_heavy_message_count_in_one_poll(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, aside: bool
) -> None:
    """Those beyond what is kept of a message are looked at by themselves, at once, and once."""
    monkeypatch.setattr(message_parts_v1, "MOST", MOST)
    monkeypatch.setattr(stream_v1, "MOST", MOST)
    if aside:
        by_others(monkeypatch)
    expected = {("read", "completed"): 6, ("grep", "completed"): 3 * MOST}
    with write(bench.source, heavy) as db:
        bench.clock.ms = db.now + REST_MS
        assert counted(bench.read_once()) == expected
        for page in readings(bench, lambda: db.session(id=fresh("ses"))):
            assert counted(page) == expected
            assert page.total("opencode_tokens_total") == 7 * 15
    forget_cursors(bench.ledger)
