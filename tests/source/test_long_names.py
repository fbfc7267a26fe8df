"""
Names and ids may be of any length, and of none more is kept than a name has.

A row of less than a megabyte is read as it is: what of it went into events was kept, up
to ten thousand rows at once, and of calls that run for as long as they run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import pytest

from harness.clock import FakeClock
from harness.databases import V1, V2, call
from harness.exporters import Bench, exposed
from harness.rereading import CALLS, REJECTED, forget_cursors
from opencode_exporter.chunk import Chunk
from opencode_exporter.decode.values import id_of
from opencode_exporter.demo.rows import text
from opencode_exporter.events import LONGEST_NAME
from opencode_exporter.source.opencode.source import Source
from opencode_exporter.source.opencode.tables import tables
from opencode_exporter.source.opencode.tables.table import WITHOUT_BOUNDS

LONG: Final = 50_000


def long(name: str) -> str:
    """Return a name that begins as it should, and goes on."""
    return name + "x" * LONG


def texts(thing: Any) -> Iterator[str]:
    """Yield every text in something that was decoded."""
    if isinstance(thing, str):
        yield thing
    elif isinstance(thing, dict):
        for key, value in thing.items():
            yield from texts(key)
            yield from texts(value)
    elif isinstance(thing, list | tuple | set):
        for one in thing:
            yield from texts(one)


def chunks(bench: Bench) -> Iterator[Chunk]:
    """Yield what each table of the source has to say."""
    with Source(bench.source, "").open() as reader:
        for table in tables(reader, FakeClock(bench.clock.ms), with_paths=True):
            yield table.read_after(0, WITHOUT_BOUNDS, {}).chunk


def fill_v1(database: V1) -> None:
    """Write steps of 1.x in which every name and id that a program chooses is long."""
    facts: dict[str, Any] = {"modelID": long("m"), "providerID": long("p"), "finish": long("f")}
    facts |= {"error": {"name": long("e")}, "parentID": long("u"), "mode": long("a")}
    message = database.message(database.session(), agent=long("a"), **facts)
    database.message(database.session(), agent=long("a"), role="user")
    given = {"name": long("s"), "filePath": long("/home/dev/demo/")}
    for number, tool in enumerate((long("t"), "skill", "task", "write", "invalid")):
        metadata = {"name": long("s"), "sessionId": long("ses")}
        asked = {**given, "tool": long("t"), "error": "Invalid input for tool "}
        for status in ("completed", "running"):
            name = f"{number} {status}" + long("c")
            kinds: dict[str, Any] = {"status": status, "metadata": metadata, "input": asked}
            database.tool(message, call=name, tool=tool, **kinds)


def fill_v2(database: V2) -> None:
    """Do the same in 2.x."""
    session = database.session()
    facts: dict[str, Any] = {"finish": long("f"), "error": {"type": long("e")}}
    facts["model"] = {"id": long("m"), "providerID": long("p")}
    named = {"name": long("s"), "id": long("s"), "path": long("/home/dev/demo/")}
    meta = {"name": long("s"), "sessionID": long("ses")}
    inner = {"toolCalls": [{"tool": long("t"), "status": "completed"}]}
    asked = [(long("t"), meta), ("skill", meta), ("subagent", meta), ("execute", inner)]
    for status, completed in (("completed", 1_794_990_010_000), ("running", None)):
        calls = [
            call(f"{number} {status}" + long("c"), tool, status, input=named, metadata=more)
            for number, (tool, more) in enumerate(asked)
        ]
        database.assistant(session, calls, agent=long("a"), completed=completed, facts=facts)
    database.user(session, skills=(long("s"),))
    database.skill_row(session, long("s"))
    database.raw_row(session, text({"status": "failed", **facts}), kind="compaction")


@pytest.mark.parametrize(("generation", "fill"), [(V1, fill_v1), (V2, fill_v2)])
def test_no_event_has_a_long_text(
    generation: type[V1 | V2], fill: Callable[[V1 | V2], None], bench: Bench
) -> None:
    """Three hundred rows with long names took 300 to 800 MB."""
    with generation(bench.source) as database, database.db:
        fill(database)
    bench.clock.ms = database.now + 100_000
    found = [*chunks(bench)]
    assert sum(len(chunk.events) + len(chunk.open_rows) for chunk in found) > 8
    longest = max(texts(msgspec.to_builtins(found)), key=len)
    assert len(longest) < 2 * LONGEST_NAME  # calls inside others have a number more


@pytest.mark.parametrize("generation", [V1, V2])
def test_calls_with_long_ids_are_told_apart(generation: type[V1 | V2], bench: Bench) -> None:
    """What two ids begin with may be all that is kept of them, but for a hash."""
    with generation(bench.source) as database, database.db:
        session = database.session()
        ids = [long("call") + str(number) for number in range(3)]
        if isinstance(database, V1):
            message = database.message(session)
            for one in ids:
                database.tool(message, call=one)
        else:
            database.assistant(session, [call(one) for one in ids])
    bench.clock.ms = database.now + 1000
    for _ in range(2):
        exporter = bench.exporter()
        exporter.poll()
        assert exposed(exporter).total(CALLS) == 3
        exporter.close()
        forget_cursors(bench.ledger)


@pytest.mark.parametrize("table", ["part", "message", "session_message"])
def test_a_row_whose_id_is_too_long_is_set_aside(table: str, bench: Bench) -> None:
    """Ids are kept by the thousand: of a megabyte each, they took a gigabyte."""
    with (V2 if table == "session_message" else V1)(bench.source) as database, database.db:
        session = database.session()
        if isinstance(database, V2):
            database.assistant(session, [call("first")])
            database.assistant(session, [call("second")], id=long("msg"))
        elif table == "part":
            message = database.message(session)
            database.tool(message, call="first")
            database.tool(message, call="second", part=long("prt"))
        else:
            database.tool(database.message(session), call="first")
            database.message(session, id=long("msg"))
    bench.clock.ms = database.now + 1000
    exporter = bench.exporter()
    exporter.poll()
    page = exposed(exporter)
    exporter.close()
    assert page.total(CALLS) == 1
    assert page.by(REJECTED, "table") == {(table,): 1}
    assert max(map(len, texts(msgspec.to_builtins([*chunks(bench)])))) <= LONGEST_NAME


def test_an_id_of_usual_length_is_kept_as_it_is() -> None:
    """The keys of what has been counted are made of it."""
    usual = "c" * LONGEST_NAME
    assert id_of(usual) == usual
    assert len(id_of(usual + "d")) == LONGEST_NAME


def test_a_path_that_is_too_long_to_be_one_is_not_read(bench: Bench) -> None:
    """Those of 2 000 sessions are in memory at once, and were up to 64 KB each."""
    with V1(bench.source) as database, database.db:
        session = database.session(directory=long("/home/"))
        database.tool(database.message(session))
    bench.clock.ms = database.now + 1000
    exporter = bench.exporter()
    exporter.poll()
    assert exposed(exporter).total(CALLS) == 1
    assert max(map(len, texts(exporter.poller.installed._directories)), default=0) < LONG
    exporter.close()
