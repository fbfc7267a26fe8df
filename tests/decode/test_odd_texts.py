"""Half an emoji, or bytes that are no text, spoil no more than the text that they are in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from harness.databases import BEGIN_MS, V1, V2, call, schema, tool_part
from harness.exporters import Bench, Exposed
from harness.pages import counted, polled
from harness.row_shapes import timed

HALF: Final = "\ud83d"
ODD: Final[dict[str, Callable[[str], bytes]]] = {
    "half an emoji": lambda text: text.replace("@", "\\ud83d").encode(),
    "no UTF-8": lambda text: text.encode().replace(b"@", b"\xff"),
    "UTF-16": lambda text: text.replace("@", "\\ud83d").encode("utf-16-le"),
}
ODDLY = pytest.mark.parametrize("odd", ODD)
DIFF: Final = {"file": "a.py", "additions": 3, "deletions": 1, "note": "@"}


def reread(bench: Bench, name: str, odd: str) -> Exposed:
    """Return what is read where each ``@`` of the data of all rows is something odd."""
    generation: type[V1 | V2] = V1 if name == "part" else V2
    with generation(bench.source, ddl="") as db:
        tables = ("message", "part") if name == "part" else ("session_message",)
        for table in tables:
            rows: list[Any] = db.db.execute(f"SELECT id, data FROM {table}").fetchall()
            for row, data in rows:
                sql = f"UPDATE {table} SET data = CAST(? AS TEXT) WHERE id = ?"
                db.db.execute(sql, (ODD[odd](data), row))
    return bench.read_once()


def old_work(bench: Bench) -> None:
    """Write a turn of 1.x in which every text that is not read ends oddly."""
    with V1(bench.source) as db:
        session = db.session()
        db.message(session, role="user", note="@")
        step = db.message(session, agent="plan", note="@")
        db.raw_part(step, json.dumps({"type": "step-start", "snapshot": "@"}))
        for tool, more in (
            ("bash", {"input": {"command": "git log", "description": "@"}, "output": "@"}),
            ("edit", {"input": {"filePath": "a.py", "n": "@"}, "metadata": {"filediff": DIFF}}),
            ("skill", {"input": {"name": "commit", "n": "@"}, "metadata": {"name": "commit"}}),
        ):
            db.tool(step, call=f"call_{tool}", tool=tool, **more)
        used = {"input": 10, "output": 2, "reasoning": 0, "cache": {"read": 0, "write": 0}}
        done = {"type": "step-finish", "tokens": used, "cost": 0.5, "snapshot": "@"}
        db.raw_part(step, json.dumps(done))
        error = {"name": "APIError", "data": {"message": "@"}}
        db.rewrite_message(step, completed=db.tick(), finish="stop", error=error)


def new_work(bench: Bench) -> None:
    """Write the same of 2.x."""
    with V2(bench.source) as db:
        session = db.session()
        db.user(session)
        edited = {"path": "a.py", "n": "@"}
        files = [DIFF | {"status": "modified"}]
        calls = [
            call("a", "shell", input={"command": "git log", "n": "@"}, output="@"),
            call("b", "edit", input=edited, metadata={"files": files}),
            call("c", "skill", input={"id": "commit", "n": "@"}, metadata={"name": "commit"}),
        ]
        used = {"input": 10, "output": 2, "reasoning": 0, "cache": {"read": 0, "write": 0}}
        error = {"type": "APIError", "message": "@"}
        facts = {"finish": "stop", "tokens": used, "cost": 0.5, "error": error, "note": "@"}
        db.assistant(session, calls, agent="plan", facts=facts)
        db.idle(session)


def shown(page: Exposed) -> dict[str, object]:
    """Return what the page says of OpenCode, but for the sizes of texts."""
    return {
        name: series
        for name, series in page.samples.items()
        if name.startswith("opencode_")
        and not name.startswith(("opencode_exporter_", "opencode_source_"))
        and "bytes" not in name
    }


@ODDLY
@pytest.mark.parametrize(
    ("name", "write"), [("part", old_work), ("session_message", new_work)], ids=["1.x", "2.x"]
)
def test_odd_text_that_is_not_read_changes_nothing(
    bench: Bench, name: str, write: Callable[[Bench], None], odd: str
) -> None:
    """A call lost its agent, its program or itself by a text beside them that was cut."""
    write(bench)
    plain = bench.read_once()
    page = reread(bench, name, odd)
    assert plain.by("opencode_tool_usage_total", "agent") == {("plan",): 3}
    assert page.total("opencode_exporter_rows_rejected_total") == 0
    assert shown(page) == shown(plain)


@pytest.mark.parametrize(("odd", "agent"), [("half an emoji", "b?"), ("no UTF-8", "b\ufffd")])
def test_odd_name_of_an_agent_is_the_same_for_its_calls_and_its_step(
    bench: Bench, odd: str, agent: str
) -> None:
    """The agent of the calls was unknown, and that of the step was not."""
    with V1(bench.source) as db:
        db.tool(db.message(db.session(), agent="b@", mode="b@"))
    page = reread(bench, "part", odd)
    assert page.by("opencode_tool_usage_total", "agent") == {(agent,): 1}
    bench.clock.advance(hours=7)
    assert bench.read_once().by("opencode_messages_total", "agent") == {(agent,): 1}


@ODDLY
def test_damaged_name_of_a_tool_is_none(bench: Bench, odd: str) -> None:
    """Bytes that are no text make no name; half an emoji does, as JavaScript has it."""
    with V1(bench.source) as db:
        db.tool(db.message(db.session()), tool="re@d")
    page = reread(bench, "part", odd)
    if odd == "no UTF-8":
        assert page.by("opencode_exporter_rows_rejected_total", "cause") == {("json",): 1}
        assert counted(page) == {}
    else:
        assert counted(page) == {("re?d", "completed"): 1}


@pytest.mark.parametrize("generation", [V1, V2])
def test_odd_text_of_a_later_step_hides_it_not(bench: Bench, generation: type[V1 | V2]) -> None:
    """That the session went on without a call is seen, also by a step with half an emoji."""
    exporter = bench.exporter()
    with generation(bench.source) as db:
        session = db.session()
        if isinstance(db, V1):
            db.tool(db.message(session), status="running")
            polled(exporter)
            later = db.message(session, note=HALF)
            db.rewrite_message(later, completed=db.tick())
        else:
            running = call(status="running")
            db.assistant(session, [running], completed=None)
            polled(exporter)
            db.assistant(session, [], facts={"note": HALF})
        assert counted(polled(exporter)) == {("read", "abandoned"): 1}
    exporter.close()


def test_whole_database_in_utf_16(bench: Bench) -> None:
    """SQLite may keep its texts in UTF-16: agents and programs are read all the same."""
    with V1(bench.source, ddl="PRAGMA encoding = 'UTF-16'; " + schema("v1")) as db:
        step = db.message(db.session(), agent="plan")
        db.tool(step, tool="bash", input={"command": "git log"}, metadata={"exit": 0})
    page = bench.read_once()
    assert page.by("opencode_tool_usage_total", "tool", "agent") == {("shell", "plan"): 1}
    assert page.by("opencode_shell_exits_total", "program") == {("git",): 1}


def test_large_row_with_bytes_that_are_no_text(bench: Bench) -> None:
    """A row too large to be loaded is read around them as well."""
    output, now = "@" + "x" * 2_000_000, BEGIN_MS + 50
    data = json.dumps(tool_part(now=now, output=output, tool="read"))
    item = timed(call("call_2", output=output), {}, now)
    step = {"time": {"created": now, "completed": now + 900}, "content": [item], "@": 1}
    with V1(bench.source) as db:
        db.raw_part(db.message(db.session()), ODD["no UTF-8"](data))
    other = bench.directory / "opencode-next.db"
    with V2(other) as new:
        new.raw_row(new.session(), ODD["no UTF-8"](json.dumps(step)))
    page = bench.read_once(source_paths=(bench.source, other))
    assert counted(page) == {("read", "completed"): 2}


@pytest.mark.parametrize("more", [0, 3_000, 60_000, 1_100_000], ids=str)
def test_part_of_any_size_says_what_it_is(bench: Bench, more: int) -> None:
    """The end of a step with 2 KB beside its tokens had none, and a compaction was none."""
    used = {"input": 10, "output": 2, "reasoning": 0, "cache": {"read": 0, "write": 0}}
    parts = (
        {"type": "step-start"},
        {"type": "step-finish", "tokens": used, "cost": 0.5},
        {"type": "compaction", "auto": True},
    )
    with V1(bench.source) as db:
        session = db.session()
        step = db.message(session)
        for part in parts[:2]:
            db.raw_part(step, json.dumps({"more": "x" * more} | part))
        db.rewrite_message(step, completed=db.tick(), finish="stop")
        db.raw_part(db.message(session, role="user"), json.dumps({"more": "x" * more} | parts[2]))
    page = bench.read_once()
    assert page.total("opencode_tokens_total") == 12
    assert page.by("opencode_session_compactions_total", "mode") == {("auto",): 1}


@pytest.mark.parametrize("begun", [False, True])
def test_only_the_type_of_a_part_begins_a_step(bench: Bench, *, begun: bool) -> None:
    """A command that the user typed is none of a step for the word in one of its texts."""
    with V1(bench.source) as db:
        message = db.message(db.session())
        word = {"type": "step-start"} if begun else {"type": "text", "text": "step-start"}
        db.raw_part(message, json.dumps(word))
        typed: dict[str, Any] = {"tool": "bash", "metadata": {"output": "x"}}
        db.tool(message, call="01ARZ3NDEKTSV4RRFFQ69G5FAV", **typed)
    assert counted(bench.read_once()) == ({("shell", "completed"): 1} if begun else {})
